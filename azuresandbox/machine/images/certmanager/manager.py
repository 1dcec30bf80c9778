"""The parts that cert-manager's reconcilers share: its names, the client, conditions, and Secrets with a key pair."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from azuresandbox.clock import Clock, rfc3339
from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.objects import condition
from azuresandbox.machine.types import Object

API = "cert-manager.io/v1"
PREFIX = "cert-manager.io/"


@dataclass(frozen=True)
class Manager:
    """The controller's client and clock. `namespace`: its own, where the Secrets of ClusterIssuers are."""

    kube: KubeClient
    clock: Clock
    namespace: str

    def set_condition(self, obj: Object, kind: str, status: str, reason: str, message: str) -> None:
        """Set a condition of an object, in place. Its transition time changes only with its status."""
        conditions = obj.setdefault("status", {}).setdefault("conditions", [])
        old = condition(obj, kind)
        new = {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": rfc3339(self.clock.now()),
        }
        if obj["kind"] != "CertificateRequest":
            new["observedGeneration"] = obj["metadata"].get("generation", 1)
        if old is None:
            conditions.append(new)
            return
        if old["status"] == status:
            new["lastTransitionTime"] = old.get("lastTransitionTime", new["lastTransitionTime"])
        old.update(new)

    async def store(self, before: Object, after: Object) -> None:
        """Write the status, if it has changed."""
        if after.get("status") != before.get("status"):
            await self.kube.update(after, "status")

    def secrets_of(self, issuer: Object) -> str:
        """Return the namespace of an issuer's Secrets: its own, or cert-manager's for a ClusterIssuer."""
        return issuer["metadata"].get("namespace") or self.namespace


def key_pair(secret: Object) -> tuple[bytes, bytes] | None:
    """Return (certificate, private key) of a Secret in PEM, or `None` if one is missing."""
    data = secret.get("data") or {}
    if not data.get("tls.crt") or not data.get("tls.key"):
        return None
    return base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"])


def encoded(data: bytes) -> str:
    """Return base64, as Secrets and requests have it."""
    return base64.b64encode(data).decode()
