"""The identity that ASO uses for an object: named by the object, by its namespace, or the operator's own.

Source: `v2/internal/identity/credential_provider.go` of Azure/azure-service-operator.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from azuresandbox.machine.client import KubeClient
from azuresandbox.machine.images.aso.azure import Credential, ReadyError
from azuresandbox.machine.types import Object

CREDENTIAL_FROM = "serviceoperator.azure.com/credential-from"
NAMESPACED, GLOBAL = "aso-credential", "aso-controller-settings"
REQUIRED = ("AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID")


class Credentials:
    """Finds credentials. Secrets are read at each use, so that a rotated one is used at once."""

    def __init__(self, kube: KubeClient, env: Mapping[str, str], namespace: str) -> None:
        self._kube = kube
        self._global = _global(env, namespace)

    async def of(self, obj: Object) -> Credential:
        """Return the credential of an object. Raises `ReadyError` if there is none."""
        metadata = obj["metadata"]
        namespace, named = metadata["namespace"], metadata.get("annotations", {}).get(CREDENTIAL_FROM)
        if named:
            return await self._named(namespace, named)
        secret = await self._kube.find("v1", "Secret", NAMESPACED, namespace)
        if secret is not None:
            return _from_secret(secret)
        if self._global is None:
            text = "global credential not configured, you must use either namespaced or per-resource credentials"
            raise ReadyError("Warning", "Failed", text)
        return self._global

    async def _named(self, namespace: str, name: str) -> Credential:
        full = f"{namespace}/{name}"
        if "/" in name:
            cause = f"{CREDENTIAL_FROM} cannot contain '/'. Secret must be in same namespace as resource."
            raise ReadyError("Warning", "Failed", f"{full} does not exist ({cause})")
        secret = await self._kube.find("v1", "Secret", name, namespace)
        if secret is None:
            cause = f'credential secret not found: Secret "{name}" not found'
            raise ReadyError("Warning", "Failed", f"{full} does not exist ({cause})")
        return _from_secret(secret)


def _global(env: Mapping[str, str], namespace: str) -> Credential | None:
    if not env.get("AZURE_SUBSCRIPTION_ID"):
        return None
    workload = env.get("USE_WORKLOAD_IDENTITY_AUTH", "").lower() == "true"
    secret = "" if workload else env.get("AZURE_CLIENT_SECRET", "")
    tenant, client = env.get("AZURE_TENANT_ID", ""), env.get("AZURE_CLIENT_ID", "")
    return Credential(f"{namespace}/{GLOBAL}", tenant, client, env["AZURE_SUBSCRIPTION_ID"], secret)


def _from_secret(secret: Object) -> Credential:
    metadata = secret["metadata"]
    origin = f"{metadata['namespace']}/{metadata['name']}"
    data = {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
    missing = [key for key in REQUIRED if key not in data]
    if missing:
        causes = [f'{origin} does not exist (credential Secret "{origin}" does not contain key "{key}")' for key in missing]
        text = causes[0] if len(causes) == 1 else f"[{', '.join(causes)}]"
        raise ReadyError("Warning", "Failed", f'failed to get credential "{origin}": {text}')
    if "AZURE_CLIENT_CERTIFICATE" in data:
        raise ReadyError("Error", "Failed", f"{origin}: client certificates are not part of the sandbox; use workload identity")
    return Credential(origin, data[REQUIRED[1]], data[REQUIRED[2]], data[REQUIRED[0]], data.get("AZURE_CLIENT_SECRET", ""))
