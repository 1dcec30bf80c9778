"""The identity that a Flux controller applies with: its own, a service account of the object's namespace, or a kubeconfig's."""

from __future__ import annotations

import base64
from typing import Any

from azuresandbox.machine.client import ApiError, KubeClient
from azuresandbox.machine.kustomize.documents import MalformedYAML, parse_one
from azuresandbox.machine.node.program import Pod
from azuresandbox.machine.types import Object


class AccessError(Exception):
    """There is no client for the identity in the spec. `not_found` says that the account or kubeconfig does not exist."""

    def __init__(self, message: str, not_found: bool = False) -> None:
        super().__init__(message)
        self.not_found = not_found


class Identities:
    """Makes clients for `spec.serviceAccountName` and `spec.kubeConfig`.

    Real controllers impersonate a service account by a header; here they request a token of it (TokenRequest).
    """

    def __init__(self, pod: Pod) -> None:
        self.pod = pod

    async def client(self, obj: Object, default_service_account: str = "") -> KubeClient:
        """Return the client to apply the objects of `obj` with. Raises `AccessError`."""
        spec, namespace = obj["spec"], obj["metadata"]["namespace"]
        kube = self.pod.kube
        if spec.get("kubeConfig"):
            kube = await self._remote(spec["kubeConfig"], namespace)
        account = spec.get("serviceAccountName") or (default_service_account if not spec.get("kubeConfig") else "")
        if not account:
            return kube
        try:
            return kube.as_token(await kube.token(account, namespace, []))
        except ApiError as error:
            raise AccessError(str(error), error.not_found) from error

    async def _remote(self, reference: Object, namespace: str) -> KubeClient:
        if reference.get("configMapRef") or not reference.get("secretRef"):
            raise AccessError("the sandbox does not support spec.kubeConfig.configMapRef: use secretRef with a kubeconfig")
        name, key = reference["secretRef"]["name"], reference["secretRef"].get("key")
        try:
            secret = await self.pod.kube.get("v1", "Secret", name, namespace)
        except ApiError as error:
            raise AccessError(
                f"unable to read KubeConfig secret '{namespace}/{name}' error: {error}", error.not_found
            ) from error
        data = secret.get("data") or {}
        text = next((data[k] for k in ([key] if key else ["value", "value.yaml"]) if k in data), None)
        if text is None:
            wanted = f"'{key}' key" if key else "'value' key"
            raise AccessError(f"KubeConfig secret '{namespace}/{name}' does not contain a {wanted} with a kubeconfig")
        return self._from_kubeconfig(base64.b64decode(text))

    def _from_kubeconfig(self, text: bytes) -> KubeClient:
        try:
            config = parse_one(text)
            context = _named(config["contexts"], config["current-context"])["context"]
            server = _named(config["clusters"], context["cluster"])["cluster"]["server"]
            user = _named(config["users"], context["user"])["user"]
        except (MalformedYAML, KeyError, TypeError, StopIteration) as error:
            raise AccessError(f"invalid kubeconfig: {error}") from error
        if "token" not in user:
            raise AccessError("the sandbox supports kubeconfigs with a token only: no certificates, no exec plugins")
        return KubeClient(self.pod.wire, server, user["token"])


def _named(items: list[Any], name: str) -> Any:
    return next(item for item in items if item["name"] == name)
