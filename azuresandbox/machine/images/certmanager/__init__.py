"""cert-manager (quay.io/jetstack/cert-manager-*): Issuers and Certificates made Secrets with real certificates.

Issuers of type selfSigned and ca issue; others say in their condition that the sandbox has none of them. Reasons and messages are
cert-manager's own (`pkg/controller/certificates`, `internal/controller/certificates/policies`). May import `certmanager_pki`
and what programs may.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from azuresandbox.clock import rfc3339
from azuresandbox.machine.client import ApiError, KubeClient, NoMatch
from azuresandbox.machine.controller import Controller, Informers, Key
from azuresandbox.machine.images.certmanager import pki as pki
from azuresandbox.machine.images.flux.common import seconds
from azuresandbox.machine.node.program import Pod, image
from azuresandbox.machine.types import Object

API = "cert-manager.io/v1"
PREFIX = "cert-manager.io/"
APPROVED = "Certificate request has been approved by cert-manager.io"
UP_TO_DATE = "Certificate is up to date and has not expired"
FETCHED = "Certificate fetched from issuer successfully"
ISSUED = "The certificate has been successfully issued"
SIGNERS = ("selfSigned", "ca")

Violation = tuple[str, str]
"""Why a Certificate must be issued: reason and message."""


@image("quay.io/jetstack/cert-manager-controller")
async def controller(pod: Pod) -> None:
    """The controller's container."""
    pod.log(
        f'I{pod.clock.now():%m%d %H:%M:%S.%f}       1 controller.go:284] "starting controller" logger="cert-manager.controller"'
    )
    informers = Informers(pod.kube, pod.clock, pod.log)
    work = Controller("cert-manager", informers, pod.clock, pod.log, backoff=(1.0, 60.0))
    manager = CertManager(pod)
    certificates, requests = informers.cache(API, "Certificate"), informers.cache(API, "CertificateRequest")
    for kind in ("Issuer", "ClusterIssuer", "CertificateRequest", "Certificate"):
        work.watch(API, kind)
    work.watch(API, "CertificateRequest", _certificate_of)
    work.watch("v1", "Secret", _certificates_using(certificates.list))
    for kind in ("Issuer", "ClusterIssuer"):
        work.watch(API, kind, lambda issuer: _requests_for(issuer, requests.list()))
    pod.ready(True)
    try:
        await work.run(manager.reconcile)
    finally:
        await informers.stop()


@image("quay.io/jetstack/cert-manager-webhook", "quay.io/jetstack/cert-manager-cainjector")
async def standby(pod: Pod) -> None:
    """The API server here calls no webhooks, so that there is nothing to answer and no CA to inject."""
    pod.ready(True)
    await asyncio.Event().wait()


@image("quay.io/jetstack/cert-manager-startupapicheck")
async def startup_api_check(pod: Pod) -> None:
    """`check api --wait=1m`: exit 0 as soon as a CertificateRequest would be accepted."""
    namespace = pod.env.get("POD_NAMESPACE") or pod.namespace
    probe = {
        "apiVersion": API,
        "kind": "CertificateRequest",
        "metadata": {"generateName": "cmapichecker-", "namespace": namespace},
        "spec": {"request": _b64(b"probe"), "issuerRef": {"name": "cmapichecker"}},
    }
    ends = pod.clock.now() + timedelta(seconds=seconds(pod.flag("wait", "0s")))
    while True:
        try:
            await pod.kube.create(probe, dry_run=True)
        except (ApiError, NoMatch) as error:
            pod.log(f"Not ready: {error}")
            if pod.clock.now() >= ends:
                raise RuntimeError("error: timed out waiting for the condition") from None
            pod.kube.forget_mappings()
            await pod.clock.wait(5)
        else:
            pod.log("The cert-manager API is ready")
            return


@image("quay.io/jetstack/cert-manager-acmesolver")
async def acme_solver(pod: Pod) -> None:
    raise RuntimeError("the sandbox has no ACME: use an issuer of type selfSigned or ca")


# --- which changes concern what ----------------------------------------------------------------------------------------


def _certificate_of(request: Object) -> list[Key]:
    metadata = request["metadata"]
    name = (metadata.get("annotations") or {}).get(f"{PREFIX}certificate-name")
    return [Key("Certificate", metadata["namespace"], name)] if name else []


def _certificates_using(certificates: Callable[..., Any]) -> Callable[[Object], list[Key]]:
    def keys(secret: Object) -> list[Key]:
        metadata = secret["metadata"]
        using = (c for c in certificates(metadata["namespace"]) if c["spec"]["secretName"] == metadata["name"])
        return [Key("Certificate", metadata["namespace"], c["metadata"]["name"]) for c in using]

    return keys


def _requests_for(issuer: Object, requests: Any) -> list[Key]:
    metadata = issuer["metadata"]
    return [
        Key("CertificateRequest", r["metadata"]["namespace"], r["metadata"]["name"])
        for r in requests
        if r["spec"]["issuerRef"]["name"] == metadata["name"]
        and metadata.get("namespace") in (None, r["metadata"]["namespace"])
    ]


class CertManager:
    """The reconcilers, one a kind."""

    def __init__(self, pod: Pod) -> None:
        self._kube: KubeClient = pod.kube
        self._clock = pod.clock
        self._log = pod.log
        self._own_namespace = pod.env.get("POD_NAMESPACE") or pod.namespace

    async def reconcile(self, key: Key) -> float | None:
        obj = await self._kube.find(API, key.kind, key.name, key.namespace)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return None
        obj = {**obj, "apiVersion": API, "kind": key.kind}
        if key.kind in ("Issuer", "ClusterIssuer"):
            return await self._issuer(obj)
        if key.kind == "CertificateRequest":
            return await self._request(obj)
        return await self._certificate(obj)

    # --- issuers -----------------------------------------------------------------------------------------------------

    async def _issuer(self, issuer: Object) -> float | None:
        spec, work = issuer["spec"], copy.deepcopy(issuer)
        if "selfSigned" in spec:
            self._condition(work, "Ready", "True", "IsReady", "")
        elif "ca" in spec:
            await self._ca_condition(work, spec["ca"]["secretName"])
        else:
            kinds = ", ".join(kind for kind in spec if kind not in SIGNERS) or "nothing"
            text = f"the sandbox's cert-manager issues by selfSigned and ca only: this issuer asks for {kinds}"
            self._condition(work, "Ready", "False", "NotEmulated", text)
        await self._store(issuer, work)
        return None if "ca" not in spec else 300.0

    async def _ca_condition(self, issuer: Object, secret_name: str) -> None:
        secret = await self._kube.find("v1", "Secret", secret_name, self._secrets_of(issuer))
        if secret is None:
            text = f'Error getting keypair for CA issuer: secrets "{secret_name}" not found'
            self._condition(issuer, "Ready", "False", "ErrGetKeyPair", text)
        elif not _pair(secret):
            text = f"Error getting keypair for CA issuer: no data for \"tls.crt\" in secret '{self._secrets_of(issuer)}/{secret_name}'"
            self._condition(issuer, "Ready", "False", "ErrInvalidKeyPair", text)
        else:
            self._condition(issuer, "Ready", "True", "KeyPairVerified", "Signing CA verified")

    def _secrets_of(self, issuer: Object) -> str:
        """Where an issuer's Secrets are: its namespace, or cert-manager's for a ClusterIssuer."""
        return issuer["metadata"].get("namespace") or self._own_namespace

    # --- certificates ------------------------------------------------------------------------------------------------

    async def _certificate(self, certificate: Object) -> float | None:
        spec, metadata, work = certificate["spec"], certificate["metadata"], copy.deepcopy(certificate)
        secret = await self._kube.find("v1", "Secret", spec["secretName"], metadata["namespace"])
        violation = _violation(secret, certificate, self._clock.now())
        if violation is None:
            assert secret is not None
            return await self._settled(certificate, work, secret)
        self._condition(work, "Ready", "False", *violation)
        self._condition(work, "Issuing", "True", *violation)
        revision = certificate.get("status", {}).get("revision", 0) + 1
        next_key = f"{metadata['name']}-{_suffix(metadata['uid'], revision)}"
        work["status"]["nextPrivateKeySecretName"] = next_key
        try:
            request = await self._ask(certificate, secret, next_key, revision)
        except ValueError as error:
            self._condition(work, "Issuing", "False", "RequestFailed", f"Failed to generate CSR: {error} - will not retry")
            await self._store(certificate, work)
            return None
        ready = _condition(request, "Ready")
        if ready is not None and ready["reason"] == "Issued":
            return await self._issue(certificate, work, secret, request, next_key)
        if ready is not None and ready["reason"] == "Failed":
            text = f"The certificate request has failed to complete and will be retried: {ready.get('message', '')}"
            self._condition(work, "Issuing", "False", "Failed", text)
        await self._store(certificate, work)
        return None

    async def _ask(self, certificate: Object, secret: Object | None, next_key: str, revision: int) -> Object:
        """The CertificateRequest of this revision, made with its private key if it is not there yet."""
        metadata, spec = certificate["metadata"], certificate["spec"]
        name, namespace = f"{metadata['name']}-{revision}", metadata["namespace"]
        found = await self._kube.find(API, "CertificateRequest", name, namespace)
        if found is not None:
            return found
        key = await self._next_key(certificate, secret, next_key)
        marks = {
            "certificate-name": metadata["name"],
            "certificate-revision": str(revision),
            "private-key-secret-name": next_key,
        }
        optional = {key: spec[key] for key in ("duration", "isCA", "usages") if key in spec}
        self._log(f'"Created new CertificateRequest resource" certificate="{namespace}/{metadata["name"]}" request="{name}"')
        return await self._kube.create(
            {
                "apiVersion": API,
                "kind": "CertificateRequest",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "ownerReferences": [_owner(certificate)],
                    "annotations": {PREFIX + mark: value for mark, value in marks.items()},
                },
                "spec": {"request": _b64(pki.request(spec, key)), "issuerRef": spec["issuerRef"], **optional},
            }
        )

    async def _next_key(self, certificate: Object, secret: Object | None, name: str) -> bytes:
        namespace, spec = certificate["metadata"]["namespace"], certificate["spec"]
        found = await self._kube.find("v1", "Secret", name, namespace)
        if found is not None:
            return base64.b64decode(found["data"]["tls.key"])
        kept = (secret or {}).get("data", {}).get("tls.key")
        never = (spec.get("privateKey") or {}).get("rotationPolicy", "Always") == "Never"
        key = base64.b64decode(kept) if kept and never else pki.new_key(spec)
        await self._kube.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "Opaque",
                "data": {"tls.key": _b64(key)},
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "ownerReferences": [_owner(certificate)],
                    "labels": {f"{PREFIX}next-private-key": "true", "controller.cert-manager.io/fao": "true"},
                },
            }
        )
        return key

    async def _issue(
        self, certificate: Object, work: Object, secret: Object | None, request: Object, next_key: str
    ) -> float | None:
        """The request's certificate into the Secret."""
        metadata, spec = certificate["metadata"], certificate["spec"]
        key = await self._next_key(certificate, secret, next_key)
        status = request["status"]
        data = {"tls.crt": status["certificate"], "tls.key": _b64(key)}
        if status.get("ca"):
            data["ca.crt"] = status["ca"]
        marks = {PREFIX + name: value for name, value in _marks(certificate).items()}
        template = spec.get("secretTemplate") or {}
        wanted: Object = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "data": data,
            "metadata": {
                "name": spec["secretName"],
                "namespace": metadata["namespace"],
                "labels": {"controller.cert-manager.io/fao": "true", **(template.get("labels") or {})},
                "annotations": {**marks, **(template.get("annotations") or {})},
            },
        }
        stored = await (
            self._kube.create(wanted)
            if secret is None
            else self._kube.patch(
                wanted,
                {
                    "data": data,
                    "metadata": {part: wanted["metadata"][part] for part in ("labels", "annotations")},
                },
            )
        )
        await self._kube.delete("v1", "Secret", next_key, metadata["namespace"])
        work["status"]["revision"] = certificate.get("status", {}).get("revision", 0) + 1
        self._log(f'"{ISSUED}" certificate="{metadata["namespace"]}/{metadata["name"]}"')
        return await self._settled(certificate, work, stored)

    async def _settled(self, certificate: Object, work: Object, secret: Object) -> float | None:
        status = work.setdefault("status", {})
        starts, ends = pki.validity(base64.b64decode(secret["data"]["tls.crt"]))
        renewal = _renewal(certificate["spec"], starts, ends)
        status |= {"notBefore": rfc3339(starts), "notAfter": rfc3339(ends), "renewalTime": rfc3339(renewal)}
        status.pop("nextPrivateKeySecretName", None)
        status["conditions"] = [c for c in status.get("conditions") or () if c["type"] != "Issuing"]
        self._condition(work, "Ready", "True", "Ready", UP_TO_DATE)
        await self._store(certificate, work)
        return max((renewal - self._clock.now()).total_seconds(), 1.0)

    # --- requests ----------------------------------------------------------------------------------------------------

    async def _request(self, request: Object) -> float | None:
        """Approve, then sign once the issuer is ready."""
        ready = _condition(request, "Ready")
        if ready is not None and ready["reason"] in ("Issued", "Failed", "Denied"):
            return None
        work = copy.deepcopy(request)
        denied = _condition(request, "Denied")
        if denied is not None and denied["status"] == "True":
            self._condition(work, "Ready", "False", "Denied", "The CertificateRequest was denied by an approval controller")
            return await self._store(request, work)
        self._condition(work, "Approved", "True", "cert-manager.io", APPROVED)
        reference = request["spec"]["issuerRef"]
        kind, group = reference.get("kind") or "Issuer", reference.get("group") or "cert-manager.io"
        if group != "cert-manager.io" or kind not in ("Issuer", "ClusterIssuer"):
            return await self._store(request, work)
        namespace = request["metadata"]["namespace"] if kind == "Issuer" else ""
        issuer = await self._kube.find(API, kind, reference["name"], namespace)
        if issuer is None:
            resource = f'{kind.lower()}.cert-manager.io "{reference["name"]}" not found'
            self._condition(work, "Ready", "False", "Pending", f'Referenced "{kind}" not found: {resource}')
            await self._store(request, work)
            return 30.0
        ready = _condition(issuer, "Ready")
        if ready is None or ready["status"] != "True":
            self._condition(work, "Ready", "False", "Pending", "Referenced issuer does not have a Ready status condition")
            await self._store(request, work)
            return 30.0
        try:
            issued = await self._sign(request, issuer)
        except ValueError as error:
            self._condition(work, "Ready", "False", "Failed", f"Error signing certificate: {error}")
            work["status"]["failureTime"] = rfc3339(self._clock.now())
            return await self._store(request, work)
        work["status"] |= {"certificate": _b64(issued.certificate), "ca": _b64(issued.ca)}
        self._condition(work, "Ready", "True", "Issued", FETCHED)
        return await self._store(request, work)

    async def _sign(self, request: Object, issuer: Object) -> pki.Issued:
        spec, namespace = request["spec"], request["metadata"]["namespace"]
        if "ca" in issuer["spec"]:
            name, where = issuer["spec"]["ca"]["secretName"], self._secrets_of(issuer)
        else:
            name, where = (request["metadata"].get("annotations") or {}).get(f"{PREFIX}private-key-secret-name", ""), namespace
        if not name:
            raise ValueError(f'Annotation "{PREFIX}private-key-secret-name" missing or reference empty')
        secret = await self._kube.find("v1", "Secret", name, where)
        if secret is None:
            raise ValueError(f"Referenced secret {where}/{name} not found")
        data = {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
        return pki.sign(
            base64.b64decode(spec["request"]),
            key=data["tls.key"],
            ca=data.get("tls.crt") if "ca" in issuer["spec"] else None,
            duration=pki.seconds(spec["duration"]) if spec.get("duration") else pki.DURATION,
            is_ca=bool(spec.get("isCA")),
            usages=tuple(spec.get("usages") or ()),
            now=self._clock.now().replace(microsecond=0),
        )

    # --- writing -----------------------------------------------------------------------------------------------------

    def _condition(self, obj: Object, kind: str, status: str, reason: str, message: str) -> None:
        conditions = obj.setdefault("status", {}).setdefault("conditions", [])
        old = next((c for c in conditions if c["type"] == kind), None)
        new = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": rfc3339(self._clock.now()),
        }
        if obj["kind"] != "CertificateRequest":
            new["observedGeneration"] = obj["metadata"].get("generation", 1)
        if old is None:
            conditions.append(new)
            return
        if old["status"] == status:
            new["lastTransitionTime"] = old.get("lastTransitionTime", new["lastTransitionTime"])
        old.update(new)

    async def _store(self, before: Object, after: Object) -> float | None:
        """Write the status if it differs; nothing more to do."""
        if after.get("status") != before.get("status"):
            await self._kube.update(after, "status")
        return None


def _violation(secret: Object | None, certificate: Object, now: datetime) -> Violation | None:
    """Why the Secret does not hold what the Certificate asks for: the first of cert-manager's policies that fails."""
    if secret is None:
        return "DoesNotExist", "Issuing certificate as Secret does not exist"
    pair = _pair(secret)
    if pair is None:
        return "MissingData", "Issuing certificate as Secret does not contain a certificate"
    try:
        if not pki.same_key(*pair):
            return "InvalidKeyPair", "Issuing certificate as Secret contains a private key that does not match the certificate"
        differing = pki.differences(pair[0], certificate["spec"])
        starts, ends = pki.validity(pair[0])
    except ValueError as error:
        return "InvalidCertificate", f"Issuing certificate as Secret contains an invalid certificate: {error}"
    marks = secret["metadata"].get("annotations") or {}
    issuer = [marks.get(f"{PREFIX}issuer-{part}") for part in ("name", "kind", "group")]
    if issuer != [_marks(certificate)[f"issuer-{part}"] for part in ("name", "kind", "group")]:
        name, kind, group = (part or "" for part in issuer)
        return "IncorrectIssuer", f'Issuing certificate as Secret was previously issued by "{kind}.{group}/{name}"'
    if differing:
        shown = " ".join(differing)
        return "SecretMismatch", f"Issuing certificate as Existing issued Secret is not up to date for spec: [{shown}]"
    if ends <= now:
        return "Expired", f"Certificate expired on {ends:%a, %d %b %Y %H:%M:%S} UTC"
    renewal = _renewal(certificate["spec"], starts, ends)
    return ("Renewing", f"Renewing certificate as renewal was scheduled at {rfc3339(renewal)}") if renewal <= now else None


def _renewal(spec: Object, starts: datetime, ends: datetime) -> datetime:
    """`renewBefore` ahead of the end, by default after two thirds of the lifetime."""
    lifetime = (ends - starts).total_seconds()
    before = pki.seconds(spec["renewBefore"]) if spec.get("renewBefore") else lifetime / 3
    if spec.get("renewBeforePercentage"):
        before = lifetime * spec["renewBeforePercentage"] / 100
    return (ends - timedelta(seconds=min(before, lifetime))).astimezone(UTC).replace(microsecond=0)


def _marks(certificate: Object) -> dict[str, str]:
    """The annotations of an issued Secret, without their prefix."""
    spec, reference = certificate["spec"], certificate["spec"]["issuerRef"]
    return {
        "certificate-name": certificate["metadata"]["name"],
        "common-name": spec.get("commonName", ""),
        "alt-names": ",".join(spec.get("dnsNames") or ()),
        "ip-sans": ",".join(spec.get("ipAddresses") or ()),
        "uri-sans": ",".join(spec.get("uris") or ()),
        "issuer-name": reference["name"],
        "issuer-kind": reference.get("kind") or "Issuer",
        "issuer-group": reference.get("group", ""),
    }


def _pair(secret: Object) -> tuple[bytes, bytes] | None:
    data = secret.get("data") or {}
    if not data.get("tls.crt") or not data.get("tls.key"):
        return None
    return base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"])


def _condition(obj: Object, kind: str) -> Object | None:
    return next((c for c in obj.get("status", {}).get("conditions") or () if c["type"] == kind), None)


def _owner(obj: Object) -> Object:
    metadata = obj["metadata"]
    return {
        "apiVersion": API,
        "kind": obj["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _suffix(uid: str, revision: int) -> str:
    """Five letters, the same again after a restart."""
    return hashlib.sha256(f"{uid}/{revision}".encode()).hexdigest()[:5]


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
