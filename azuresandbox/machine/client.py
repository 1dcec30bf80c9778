"""A Kubernetes client for the programs that run in the sandbox's clusters: plain HTTP over the Wire, no shortcuts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from azuresandbox import trees
from azuresandbox.machine.types import Object, Objects
from azuresandbox.wire import Response, Wire

Strings = list[str]
"""The type `list[str]` in a class whose method `list` hides the built-in."""


class ApiError(Exception):
    """The API answered with a Status. `str()` is its message, which controllers quote."""

    def __init__(self, response: Response) -> None:
        self.code = response.status
        try:
            self.status: Object = response.json()
        except ValueError:
            self.status = {}
        self.reason: str = self.status.get("reason", "")
        super().__init__(self.status.get("message") or response.text or f"HTTP {self.code}")

    @property
    def not_found(self) -> bool:
        return self.code == 404

    @property
    def conflict(self) -> bool:
        """Whether this is a conflict of resourceVersions or field managers (409 Conflict, not AlreadyExists)."""
        return self.code == 409 and self.reason == "Conflict"


class NoMatch(Exception):
    """The API server has no such kind: its CRD is not installed. The message is that of client-go's RESTMapper."""

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(f'no matches for kind "{kind}" in version "{api_version}"')
        self.api_version = api_version
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as discovery describes it. `path` is `/api/v1` or `/apis/<group>/<version>`."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def path(self) -> str:
        return ("/apis/" if "/" in self.api_version else "/api/") + self.api_version

    @property
    def group(self) -> str:
        return self.api_version.rpartition("/")[0]


class KubeClient:
    """One identity at one cluster. `server`: the cluster's URL; `token`: a bearer token, or a function that returns it."""

    def __init__(self, wire: Wire, server: str, token: str | Callable[[], str], user_agent: str = "sandbox") -> None:
        self.wire = wire
        self.server = server.rstrip("/")
        self._token = token
        self._user_agent = user_agent
        self._mappings: dict[str, dict[str, Resource]] = {}

    def as_token(self, token: str) -> KubeClient:
        """Return a client of the same cluster for another identity."""
        return KubeClient(self.wire, self.server, token, self._user_agent)

    def headers(self, content_type: str = "application/json") -> dict[str, str]:
        token = self._token() if callable(self._token) else self._token
        return {
            "authorization": f"Bearer {token}",
            "accept": "application/json",
            "content-type": content_type,
            "user-agent": self._user_agent,
        }

    async def raw(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Any:
        """Send one request and return the decoded answer. Raises `ApiError` for a status of 400 or more."""
        query = "?" + urlencode({k: v for k, v in params.items() if v not in (None, "")}) if params else ""
        data = b"" if body is None else body if isinstance(body, bytes) else trees.dump(body)
        response = await self.wire.request(method, self.server + path + query, headers=self.headers(content_type), body=data)
        if response.status >= 400:
            raise ApiError(response)
        return response.json() if response.headers.get("content-type", "").startswith("application/json") else response.text

    # --- discovery ---------------------------------------------------------------------------------------------------

    async def mapping(self, api_version: str, kind: str) -> Resource:
        """Return the resource of a kind. Discovery is asked once, and again for an unknown kind. Raises `NoMatch`."""
        known = self._mappings.get(api_version, {}).get(kind)
        if known is None:
            await self._discover(api_version)
            known = self._mappings.get(api_version, {}).get(kind)
        if known is None:
            raise NoMatch(api_version, kind)
        return known

    async def _discover(self, api_version: str) -> None:
        path = ("/apis/" if "/" in api_version else "/api/") + api_version
        try:
            found = await self.raw("GET", path)
        except ApiError as error:
            if not error.not_found:
                raise
            found = {"resources": []}
        self._mappings[api_version] = {
            item["kind"]: Resource(api_version, item["kind"], item["name"], item["namespaced"])
            for item in found["resources"]
            if "/" not in item["name"]
        }

    def forget_mappings(self) -> None:
        """Ask discovery again: definitions were installed or removed."""
        self._mappings.clear()

    async def path(self, api_version: str, kind: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
        resource = await self.mapping(api_version, kind)
        path = resource.path
        if resource.namespaced and namespace:
            path += f"/namespaces/{quote(namespace)}"
        path += f"/{resource.plural}"
        if name:
            path += f"/{quote(name)}"
        return path + (f"/{subresource}" if subresource else "")

    # --- objects -----------------------------------------------------------------------------------------------------

    async def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object:
        """Return an object. Raises `ApiError`, also when it does not exist, and `NoMatch`."""
        found: Object = await self.raw("GET", await self.path(api_version, kind, namespace, name))
        return found

    async def find(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, or `None` if it does not exist."""
        try:
            return await self.get(api_version, kind, name, namespace)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def list(self, api_version: str, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Objects:
        """Return the objects, each with its apiVersion and kind."""
        objects, _ = await self.snapshot(api_version, kind, namespace, labels=labels, fields=fields)
        return objects

    async def snapshot(
        self, api_version: str, kind: str, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> tuple[Objects, str]:
        """Return what `list` returns, and the resourceVersion from which a watch of it continues."""
        path = await self.path(api_version, kind, namespace)
        found = await self.raw("GET", path, params={"labelSelector": labels, "fieldSelector": fields})
        objects = [{**item, "apiVersion": api_version, "kind": kind} for item in found["items"]]
        return objects, found["metadata"]["resourceVersion"]

    async def create(self, obj: Object, *, dry_run: bool = False) -> Object:
        path = await self._path_of(obj, with_name=False)
        created: Object = await self.raw("POST", path, params=_dry(dry_run), body=obj)
        return created

    async def update(self, obj: Object, subresource: str = "") -> Object:
        updated: Object = await self.raw("PUT", await self._path_of(obj, subresource), body=obj)
        return updated

    async def patch(self, obj: Object, patch: Any, *, subresource: str = "", kind: str = "merge", manager: str = "") -> Object:
        """Patch the object that `obj` names. `kind`: json, merge or strategic."""
        content_type = {
            "json": "application/json-patch+json",
            "merge": "application/merge-patch+json",
            "strategic": "application/strategic-merge-patch+json",
        }[kind]
        path = await self._path_of(obj, subresource)
        params = {"fieldManager": manager}
        patched: Object = await self.raw("PATCH", path, params=params, body=patch, content_type=content_type)
        return patched

    async def apply(
        self, obj: Object, manager: str, *, force: bool = False, subresource: str = "", dry_run: bool = False
    ) -> Object:
        """Apply an object server-side, as the field manager `manager`."""
        params = {"fieldManager": manager, "force": "true" if force else "", **_dry(dry_run)}
        path = await self._path_of(obj, subresource)
        applied: Object = await self.raw("PATCH", path, params=params, body=obj, content_type="application/apply-patch+yaml")
        return applied

    async def delete(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str = "",
        *,
        propagation: str = "Background",
        uid: str = "",
    ) -> bool:
        """Delete an object. Returns False if it did not exist."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self.raw("DELETE", await self.path(api_version, kind, namespace, name), body=options)
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return True

    async def token(self, service_account: str, namespace: str, audiences: Strings, seconds: int = 3600) -> str:
        """Return a service-account token by TokenRequest. Without `audiences`, it is for the API server."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": audiences, "expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{quote(namespace)}/serviceaccounts/{quote(service_account)}/token"
        answer: Object = await self.raw("POST", path, body=body)
        return str(answer["status"]["token"])

    async def watch(
        self, api_version: str, kind: str, namespace: str = "", *, since: str = "", labels: str = ""
    ) -> AsyncIterator[tuple[str, Object]]:
        """Yield (type, object) for each change, until the server ends the watch. Raises `ApiError` (410: list again)."""
        params = {"watch": "true", "resourceVersion": since, "allowWatchBookmarks": "true", "labelSelector": labels}
        path = await self.path(api_version, kind, namespace)
        url = self.server + path + "?" + urlencode({k: v for k, v in params.items() if v})
        async with self.wire.stream("GET", url, headers=self.headers()) as stream:
            if stream.status >= 400:
                body = b"".join([chunk async for chunk in stream])
                raise ApiError(Response(stream.status, stream.headers, body))
            async for line in stream.lines():
                event = trees.parse(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(Response(status.get("code", 500), {}, json.dumps(status).encode()))
                yield event["type"], event["object"]

    async def _path_of(self, obj: Object, subresource: str = "", with_name: bool = True) -> str:
        metadata = obj["metadata"]
        resource = await self.mapping(obj["apiVersion"], obj["kind"])
        namespace = (metadata.get("namespace") or "default") if resource.namespaced else ""
        name = metadata["name"] if with_name else ""
        return await self.path(obj["apiVersion"], obj["kind"], namespace, name, subresource)


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}
