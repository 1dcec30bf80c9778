"""CertificateRequests: approved, then signed by their issuer. Source: cert-manager `pkg/controller/certificaterequests`."""

from __future__ import annotations

import base64

from azuresandbox import trees
from azuresandbox.clock import rfc3339
from azuresandbox.machine.images.certmanager import pki
from azuresandbox.machine.images.certmanager.manager import API, PREFIX, Manager, encoded
from azuresandbox.machine.objects import condition
from azuresandbox.machine.types import Object

APPROVED = "Certificate request has been approved by cert-manager.io"
FETCHED = "Certificate fetched from issuer successfully"
RETRY_SECONDS = 30.0


class Requests:
    """Reconciles CertificateRequests."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    async def reconcile(self, request: Object) -> float | None:
        """Approve the request, and sign it if its issuer is ready. Returns the seconds until a retry, or `None`."""
        ready = condition(request, "Ready")
        if ready is not None and ready["reason"] in ("Issued", "Failed", "Denied"):
            return None
        work = trees.copy(request)
        denied = condition(request, "Denied")
        if denied is not None and denied["status"] == "True":
            text = "The CertificateRequest was denied by an approval controller"
            self._manager.set_condition(work, "Ready", "False", "Denied", text)
            await self._manager.store(request, work)
            return None
        self._manager.set_condition(work, "Approved", "True", "cert-manager.io", APPROVED)
        reference = request["spec"]["issuerRef"]
        kind, group = reference.get("kind") or "Issuer", reference.get("group") or "cert-manager.io"
        if group != "cert-manager.io" or kind not in ("Issuer", "ClusterIssuer"):
            await self._manager.store(request, work)
            return None
        namespace = request["metadata"]["namespace"] if kind == "Issuer" else ""
        issuer = await self._manager.kube.find(API, kind, reference["name"], namespace)
        if issuer is None:
            resource = f'{kind.lower()}.cert-manager.io "{reference["name"]}" not found'
            return await self._pending(request, work, f'Referenced "{kind}" not found: {resource}')
        ready = condition(issuer, "Ready")
        if ready is None or ready["status"] != "True":
            return await self._pending(request, work, "Referenced issuer does not have a Ready status condition")
        try:
            issued = await self._sign(request, issuer)
        except ValueError as error:
            self._manager.set_condition(work, "Ready", "False", "Failed", f"Error signing certificate: {error}")
            work["status"]["failureTime"] = rfc3339(self._manager.clock.now())
        else:
            work["status"] |= {"certificate": encoded(issued.certificate), "ca": encoded(issued.ca)}
            self._manager.set_condition(work, "Ready", "True", "Issued", FETCHED)
        await self._manager.store(request, work)
        return None

    async def _pending(self, request: Object, work: Object, message: str) -> float:
        """Report that the request waits for its issuer. Returns the seconds until a retry."""
        self._manager.set_condition(work, "Ready", "False", "Pending", message)
        await self._manager.store(request, work)
        return RETRY_SECONDS

    async def _sign(self, request: Object, issuer: Object) -> pki.Issued:
        """Sign with the issuer's CA, or with the request's own key. Raises `ValueError`."""
        spec, namespace = request["spec"], request["metadata"]["namespace"]
        if "ca" in issuer["spec"]:
            name, where = issuer["spec"]["ca"]["secretName"], self._manager.secrets_of(issuer)
        else:
            name, where = (request["metadata"].get("annotations") or {}).get(f"{PREFIX}private-key-secret-name", ""), namespace
        if not name:
            raise ValueError(f'Annotation "{PREFIX}private-key-secret-name" missing or reference empty')
        secret = await self._manager.kube.find("v1", "Secret", name, where)
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
            now=self._manager.clock.now().replace(microsecond=0),
        )
