"""Certificates: issued to their Secrets by CertificateRequests, and renewed.

Source: cert-manager `pkg/controller/certificates`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

from azuresandbox import trees
from azuresandbox.clock import rfc3339
from azuresandbox.machine.images.certmanager import pki
from azuresandbox.machine.images.certmanager.manager import API, PREFIX, Manager, encoded
from azuresandbox.machine.images.certmanager.policies import renewal, secret_annotations, violation
from azuresandbox.machine.objects import condition, owner_reference
from azuresandbox.machine.types import Object

UP_TO_DATE = "Certificate is up to date and has not expired"
ISSUED = "The certificate has been successfully issued"


class Certificates:
    """Reconciles Certificates."""

    def __init__(self, manager: Manager, log: Callable[[str], None]) -> None:
        self._manager, self._log = manager, log

    async def reconcile(self, certificate: Object) -> float | None:
        """Issue the Certificate if needed. Returns the seconds until its renewal, or `None` before it is issued."""
        spec, metadata, work = certificate["spec"], certificate["metadata"], trees.copy(certificate)
        secret = await self._manager.kube.find("v1", "Secret", spec["secretName"], metadata["namespace"])
        why = violation(secret, certificate, self._manager.clock.now())
        if why is None:
            assert secret is not None
            return await self._settled(certificate, work, secret)
        self._manager.set_condition(work, "Ready", "False", *why)
        self._manager.set_condition(work, "Issuing", "True", *why)
        revision = certificate.get("status", {}).get("revision", 0) + 1
        next_key = f"{metadata['name']}-{_suffix(metadata['uid'], revision)}"
        work["status"]["nextPrivateKeySecretName"] = next_key
        try:
            request = await self._ask(certificate, secret, next_key, revision)
        except ValueError as error:
            text = f"Failed to generate CSR: {error} - will not retry"
            self._manager.set_condition(work, "Issuing", "False", "RequestFailed", text)
            await self._manager.store(certificate, work)
            return None
        ready = condition(request, "Ready")
        if ready is not None and ready["reason"] == "Issued":
            return await self._issue(certificate, work, secret, request, next_key)
        if ready is not None and ready["reason"] == "Failed":
            text = f"The certificate request has failed to complete and will be retried: {ready.get('message', '')}"
            self._manager.set_condition(work, "Issuing", "False", "Failed", text)
        await self._manager.store(certificate, work)
        return None

    async def _ask(self, certificate: Object, secret: Object | None, next_key: str, revision: int) -> Object:
        """Return the CertificateRequest of this revision; create it and its private key if they do not exist."""
        metadata, spec = certificate["metadata"], certificate["spec"]
        name, namespace = f"{metadata['name']}-{revision}", metadata["namespace"]
        found = await self._manager.kube.find(API, "CertificateRequest", name, namespace)
        if found is not None:
            return found
        key = await self._next_key(certificate, secret, next_key)
        annotations = {
            "certificate-name": metadata["name"],
            "certificate-revision": str(revision),
            "private-key-secret-name": next_key,
        }
        optional = {key: spec[key] for key in ("duration", "isCA", "usages") if key in spec}
        self._log(f'"Created new CertificateRequest resource" certificate="{namespace}/{metadata["name"]}" request="{name}"')
        return await self._manager.kube.create(
            {
                "apiVersion": API,
                "kind": "CertificateRequest",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "ownerReferences": [owner_reference(certificate)],
                    "annotations": {PREFIX + part: value for part, value in annotations.items()},
                },
                "spec": {"request": encoded(pki.request(spec, key)), "issuerRef": spec["issuerRef"], **optional},
            }
        )

    async def _next_key(self, certificate: Object, secret: Object | None, name: str) -> bytes:
        """Return the private key of the next revision from its Secret; create the Secret if it does not exist."""
        namespace, spec = certificate["metadata"]["namespace"], certificate["spec"]
        found = await self._manager.kube.find("v1", "Secret", name, namespace)
        if found is not None:
            return base64.b64decode(found["data"]["tls.key"])
        kept = (secret or {}).get("data", {}).get("tls.key")
        never = (spec.get("privateKey") or {}).get("rotationPolicy", "Always") == "Never"
        key = base64.b64decode(kept) if kept and never else pki.new_key(spec)
        await self._manager.kube.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "Opaque",
                "data": {"tls.key": encoded(key)},
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "ownerReferences": [owner_reference(certificate)],
                    "labels": {f"{PREFIX}next-private-key": "true", "controller.cert-manager.io/fao": "true"},
                },
            }
        )
        return key

    async def _issue(
        self, certificate: Object, work: Object, secret: Object | None, request: Object, next_key: str
    ) -> float | None:
        """Write the request's certificate to the Secret."""
        metadata, spec = certificate["metadata"], certificate["spec"]
        key = await self._next_key(certificate, secret, next_key)
        status = request["status"]
        data = {"tls.crt": status["certificate"], "tls.key": encoded(key)}
        if status.get("ca"):
            data["ca.crt"] = status["ca"]
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
                "annotations": {**secret_annotations(certificate), **(template.get("annotations") or {})},
            },
        }
        stored = await (
            self._manager.kube.create(wanted)
            if secret is None
            else self._manager.kube.patch(
                wanted,
                {"data": data, "metadata": {part: wanted["metadata"][part] for part in ("labels", "annotations")}},
            )
        )
        await self._manager.kube.delete("v1", "Secret", next_key, metadata["namespace"])
        work["status"]["revision"] = certificate.get("status", {}).get("revision", 0) + 1
        self._log(f'"{ISSUED}" certificate="{metadata["namespace"]}/{metadata["name"]}"')
        return await self._settled(certificate, work, stored)

    async def _settled(self, certificate: Object, work: Object, secret: Object) -> float:
        """Report that the Certificate is ready. Returns the seconds until its renewal."""
        status = work.setdefault("status", {})
        starts, ends = pki.validity(base64.b64decode(secret["data"]["tls.crt"]))
        due = renewal(certificate["spec"], starts, ends)
        status |= {"notBefore": rfc3339(starts), "notAfter": rfc3339(ends), "renewalTime": rfc3339(due)}
        status.pop("nextPrivateKeySecretName", None)
        status["conditions"] = [c for c in status.get("conditions") or () if c["type"] != "Issuing"]
        self._manager.set_condition(work, "Ready", "True", "Ready", UP_TO_DATE)
        await self._manager.store(certificate, work)
        return max((due - self._manager.clock.now()).total_seconds(), 1.0)


def _suffix(uid: str, revision: int) -> str:
    """Return five characters that are the same after a restart."""
    return hashlib.sha256(f"{uid}/{revision}".encode()).hexdigest()[:5]
