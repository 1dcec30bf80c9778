"""Issuers and ClusterIssuers: whether they can sign. Source: cert-manager `pkg/issuer/{ca,selfsigned}`."""

from __future__ import annotations

from azuresandbox import trees
from azuresandbox.machine.images.certmanager.manager import Manager, key_pair
from azuresandbox.machine.types import Object

SIGNERS = ("selfSigned", "ca")
CHECK_SECONDS = 300.0
"""Seconds until the Secret of a ca issuer is checked again."""


class Issuers:
    """Reconciles issuers. Those of type selfSigned and ca become ready, others report that they are not emulated."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    async def reconcile(self, issuer: Object) -> float | None:
        """Report whether the issuer can sign. Returns the seconds until the next check, or `None`."""
        spec, work = issuer["spec"], trees.copy(issuer)
        if "selfSigned" in spec:
            self._manager.set_condition(work, "Ready", "True", "IsReady", "")
        elif "ca" in spec:
            await self._ca_condition(work, spec["ca"]["secretName"])
        else:
            kinds = ", ".join(kind for kind in spec if kind not in SIGNERS) or "nothing"
            text = f"the sandbox's cert-manager issues by selfSigned and ca only: this issuer asks for {kinds}"
            self._manager.set_condition(work, "Ready", "False", "NotEmulated", text)
        await self._manager.store(issuer, work)
        return CHECK_SECONDS if "ca" in spec else None

    async def _ca_condition(self, issuer: Object, secret_name: str) -> None:
        secret = await self._manager.kube.find("v1", "Secret", secret_name, self._manager.secrets_of(issuer))
        if secret is None:
            text = f'Error getting keypair for CA issuer: secrets "{secret_name}" not found'
            self._manager.set_condition(issuer, "Ready", "False", "ErrGetKeyPair", text)
        elif not key_pair(secret):
            where = f"{self._manager.secrets_of(issuer)}/{secret_name}"
            text = f"Error getting keypair for CA issuer: no data for \"tls.crt\" in secret '{where}'"
            self._manager.set_condition(issuer, "Ready", "False", "ErrInvalidKeyPair", text)
        else:
            self._manager.set_condition(issuer, "Ready", "True", "KeyPairVerified", "Signing CA verified")
