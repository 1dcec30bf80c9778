"""The service-account tokens of one Pod: requested for its projected volumes, and renewed before they expire."""

from __future__ import annotations

from azuresandbox.machine.client import ApiError
from azuresandbox.machine.node.pod import PlacedPod
from azuresandbox.machine.types import Object

RENEW_AFTER = 0.8
"""The share of a token's lifetime after which the kubelet requests the next."""


class Tokens:
    """The Pod's tokens, found by audience and lifetime in seconds."""

    def __init__(self, pod: PlacedPod) -> None:
        self._pod = pod
        self._by_request: dict[tuple[str, int], str] = {}

    def of(self, source: Object) -> str:
        """Return the token of a `serviceAccountToken` projection, or "" before it was requested."""
        return self._by_request.get(_request(source), "")

    def wanted(self) -> set[tuple[str, int]]:
        """Return (audience, seconds) of every token that the Pod mounts."""
        return {
            _request(source["serviceAccountToken"])
            for volume in self._pod.obj["spec"].get("volumes") or ()
            for source in (volume.get("projected") or {}).get("sources") or ()
            if "serviceAccountToken" in source
        }

    async def request(self, audience: str, seconds: int) -> None:
        """Request a token that is bound to the Pod. Raises `ApiError`."""
        pod = self._pod
        path = f"/api/v1/namespaces/{pod.namespace}/serviceaccounts/{pod.service_account}/token"
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid},
            },
        }
        answer = await pod.cluster.kubelet.raw("POST", path, body=body)
        self._by_request[audience, seconds] = answer["status"]["token"]

    async def renew(self, audience: str, seconds: int) -> None:
        """Renew a token until cancelled."""
        while True:
            await self._pod.clock.wait(seconds * RENEW_AFTER)
            try:
                await self.request(audience, seconds)
            except ApiError as error:
                self._pod.cluster.log(f"kubelet: token of {self._pod}: {error}")


def _request(source: Object) -> tuple[str, int]:
    return source.get("audience", ""), int(source.get("expirationSeconds", 3600))
