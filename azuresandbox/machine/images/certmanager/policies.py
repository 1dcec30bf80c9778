"""The policies by which cert-manager decides whether a Certificate must be issued.

Source: cert-manager `internal/controller/certificates/policies`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from azuresandbox.clock import rfc3339
from azuresandbox.machine.images.certmanager import pki
from azuresandbox.machine.images.certmanager.manager import PREFIX, key_pair
from azuresandbox.machine.types import Object

Violation = tuple[str, str]
"""The reason and the message for which a Certificate must be issued."""


def violation(secret: Object | None, certificate: Object, now: datetime) -> Violation | None:
    """Return the first of cert-manager's policies that the Secret violates, or `None` if the Certificate is issued."""
    if secret is None:
        return "DoesNotExist", "Issuing certificate as Secret does not exist"
    pair = key_pair(secret)
    if pair is None:
        return "MissingData", "Issuing certificate as Secret does not contain a certificate"
    try:
        if not pki.same_key(*pair):
            return "InvalidKeyPair", "Issuing certificate as Secret contains a private key that does not match the certificate"
        differing = pki.differences(pair[0], certificate["spec"])
        starts, ends = pki.validity(pair[0])
    except ValueError as error:
        return "InvalidCertificate", f"Issuing certificate as Secret contains an invalid certificate: {error}"
    present = secret["metadata"].get("annotations") or {}
    issuer = [present.get(f"{PREFIX}issuer-{part}") for part in ("name", "kind", "group")]
    if issuer != [secret_annotations(certificate)[f"{PREFIX}issuer-{part}"] for part in ("name", "kind", "group")]:
        name, kind, group = (part or "" for part in issuer)
        return "IncorrectIssuer", f'Issuing certificate as Secret was previously issued by "{kind}.{group}/{name}"'
    if differing:
        shown = " ".join(differing)
        return "SecretMismatch", f"Issuing certificate as Existing issued Secret is not up to date for spec: [{shown}]"
    if ends <= now:
        return "Expired", f"Certificate expired on {ends:%a, %d %b %Y %H:%M:%S} UTC"
    due = renewal(certificate["spec"], starts, ends)
    return ("Renewing", f"Renewing certificate as renewal was scheduled at {rfc3339(due)}") if due <= now else None


def renewal(spec: Object, starts: datetime, ends: datetime) -> datetime:
    """Return the time of renewal: `renewBefore` ahead of the end, by default after two thirds of the lifetime."""
    lifetime = (ends - starts).total_seconds()
    before = pki.seconds(spec["renewBefore"]) if spec.get("renewBefore") else lifetime / 3
    if spec.get("renewBeforePercentage"):
        before = lifetime * spec["renewBeforePercentage"] / 100
    return (ends - timedelta(seconds=min(before, lifetime))).astimezone(UTC).replace(microsecond=0)


def secret_annotations(certificate: Object) -> dict[str, str]:
    """Return the annotations of a Certificate's Secret."""
    spec, reference = certificate["spec"], certificate["spec"]["issuerRef"]
    found = {
        "certificate-name": certificate["metadata"]["name"],
        "common-name": spec.get("commonName", ""),
        "alt-names": ",".join(spec.get("dnsNames") or ()),
        "ip-sans": ",".join(spec.get("ipAddresses") or ()),
        "uri-sans": ",".join(spec.get("uris") or ()),
        "issuer-name": reference["name"],
        "issuer-kind": reference.get("kind") or "Issuer",
        "issuer-group": reference.get("group", ""),
    }
    return {PREFIX + name: value for name, value in found.items()}
