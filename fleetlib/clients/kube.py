"""A cluster's Kubernetes API: the official client with a kubeconfig from AKS. It reads, applies, watches and deletes objects.

All lists are read by one function, `_pages`: page by page, as the server sends them. `items` calls it with a resource's plural
and needs no discovery, so that it sends one request for each page; `list` and `changes` take a kind, as manifests name it,
and look its plural up.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import yaml

from fleetlib.change import Step, differences
from fleetlib.errors import FinalError, FleetError, RetryableError
from fleetlib.progress import Wait
from fleetlib.request import Shown, masked

Object = dict[str, Any]
Objects = list[Object]

PAGE = 500
"""Objects on one page of a list, as kubectl requests them."""

METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""The media type of a list with metadata only. Source: Kubernetes, API concepts."""

_ONE_AT_A_TIME = Lock()
"""Held while a kubeconfig is loaded: the `kubernetes` package shares the files of certificates before it has written them."""

MANAGER = "fleetlib"
"""The field manager of everything that fleetlib applies."""


class Listed(NamedTuple):
    """A list: its items, and the resourceVersion at which it was read; "" if the cluster does not have the resource."""

    items: Objects
    version: str


class Kube:
    """The API of one cluster. Objects are dictionaries, as in YAML.

    Every method raises `RetryableError` if the API does not answer, is overloaded or reports a conflict, else `FinalError`,
    with the API server's reason and message in `said`.
    """

    def __init__(self, kubeconfig: Object, name: str, home: Path) -> None:
        self.name = name
        self.kubeconfig = kubeconfig
        self._home = home
        self._api: Any = None

    @property
    def api(self) -> Any:
        """The client of the `kubernetes` package. It ignores the proxies of the environment."""
        if self._api is None:
            with _ONE_AT_A_TIME:
                self._api = self._api or self._connected()
        return self._api

    def _connected(self) -> Any:
        from kubernetes import client, config

        settings = client.Configuration()
        config.load_kube_config_from_dict(self.kubeconfig, client_configuration=settings, persist_config=False)
        settings.proxy = None
        settings.retries = False
        return client.ApiClient(settings)

    def disconnect(self) -> None:
        """Close the connections. The next call opens a new one."""
        self.api.rest_client.pool_manager.clear()

    @cached_property
    def client(self) -> Any:
        """The dynamic client of the `kubernetes` package. It stores what it discovers under the cloud's `home`."""
        from kubernetes import dynamic

        folder = self._home / "discovery"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return dynamic.DynamicClient(self.api, cache_file=str(folder / f"{self.name}.json"))

    def _resource(self, api_version: str, kind: str) -> Any:
        from kubernetes.dynamic.exceptions import ResourceNotFoundError

        try:
            return self.client.resources.get(api_version=api_version, kind=kind)
        except ResourceNotFoundError:
            raise NoSuchKind(
                f"the cluster {self.name} does not have the kind {kind} of {api_version}",
                target=self.name,
                fix="install its custom resource definition: notebook 03_bootstrap_flux checks the controllers that install it",
            ) from None

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Return the object; `None` if it, or its kind, does not exist."""
        return self._call("read", f"{kind}/{name}", lambda: self._get(api_version, kind, name, namespace))

    def _get(self, api_version: str, kind: str, name: str, namespace: str | None) -> Any:
        from kubernetes.dynamic.exceptions import NotFoundError

        try:
            return self._resource(api_version, kind).get(name=name, namespace=namespace).to_dict()
        except (NotFoundError, NoSuchKind):
            return None

    def list(self, api_version: str, kind: str, namespace: str | None = None, labels: str = "") -> Objects:
        """Return all objects of a kind, with `apiVersion` and `kind`; empty if the cluster does not have the kind."""
        return self._call("list", kind, lambda: self._list(api_version, kind, namespace, labels).items)

    def items(
        self,
        api_version: str,
        plural: str,
        namespace: str | None = None,
        timeout: float = 60,
        *,
        labels: str = "",
        only_metadata: bool = False,
    ) -> Objects:
        """Return all objects of a resource, named by its plural, as the server sends them; empty if the cluster does not have
        it.

        `timeout` is in seconds, for each page. `only_metadata`: the server sends metadata only, so that no content of a Secret
        is read.
        """
        accept = METADATA if only_metadata else "application/json"
        return self._call("list", plural, lambda: self._pages(api_version, plural, namespace, labels, timeout, accept).items)

    def _list(self, api_version: str, kind: str, namespace: str | None, labels: str = "") -> Listed:
        """Look up the plural of a kind, and return its objects with `apiVersion` and `kind`, which servers omit in lists."""
        try:
            resource = self._resource(api_version, kind)
        except NoSuchKind:
            return Listed([], "")
        found = self._pages(api_version, resource.name, namespace if resource.namespaced else None, labels)
        return found._replace(items=[{"apiVersion": api_version, "kind": kind, **item} for item in found.items])

    def _pages(
        self,
        api_version: str,
        plural: str,
        namespace: str | None,
        labels: str = "",
        timeout: float = 60,
        accept: str = "application/json",
    ) -> Listed:
        root = _root(api_version)
        path = f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"
        first = [("limit", str(PAGE)), *([("labelSelector", labels)] if labels else [])]
        found: Objects = []
        query = first
        while True:
            page = self._json(path, query, timeout, accept)
            found += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                return Listed(found, page["metadata"].get("resourceVersion", ""))
            query = [*first, ("continue", token)]

    def resources(self, api_version: str, timeout: float = 60) -> dict[str, tuple[str, bool]]:
        """Return kind -> (plural, whether it is namespaced) for one API version; empty if the cluster does not have it."""
        found = self._call("discover", api_version, lambda: self._json(_root(api_version), (), timeout))
        kinds = [item for item in found.get("resources") or () if "/" not in item["name"]]
        return {item["kind"]: (item["name"], item["namespaced"]) for item in kinds}

    def _json(self, path: str, query: Sequence[tuple[str, str]], timeout: float, accept: str = "application/json") -> Any:
        import orjson
        from kubernetes.client import ApiException

        settings = self.api.configuration
        token = settings.auth_settings().get("BearerToken")
        headers = {
            **self.api.default_headers,
            "Accept": accept,
            **({token["key"]: token["value"]} if token else {}),
        }
        answer = self.api.rest_client.pool_manager.request(
            "GET", settings.host + path, fields=list(query), headers=headers, retries=False, timeout=timeout
        )
        if answer.status == 404:  # the cluster does not have the resource
            return {"items": [], "metadata": {}}
        if answer.status != 200:
            raise ApiException(status=answer.status, reason=answer.reason, body=answer.data)
        return orjson.loads(answer.data)

    def apply(self, obj: Object) -> Object:
        """Apply the object on the server's side as the field manager `fleetlib`, taking over conflicting fields. Returns it."""
        metadata = obj["metadata"]
        resource = self._resource(obj["apiVersion"], obj["kind"])

        def call() -> Any:
            return resource.server_side_apply(
                body=obj,
                name=metadata["name"],
                namespace=metadata.get("namespace"),
                field_manager=MANAGER,
                force_conflicts=True,
            ).to_dict()

        return self._call("apply", describe(obj), call)

    def merge(self, api_version: str, kind: str, name: str, namespace: str | None, patch: Object) -> Object:
        """Patch the object (application/merge-patch+json) and return it. Raises `FinalError` if it does not exist."""
        resource = self._resource(api_version, kind)

        def call() -> Any:
            return resource.patch(
                body=patch, name=name, namespace=namespace, content_type="application/merge-patch+json"
            ).to_dict()

        return self._call("patch", f"{kind}/{name}", call)

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """Delete the object. Returns `False` if it, or its kind, does not exist."""
        from kubernetes.dynamic.exceptions import NotFoundError

        def call() -> bool:
            try:
                self._resource(api_version, kind).delete(name=name, namespace=namespace)
            except (NotFoundError, NoSuchKind):
                return False
            return True

        return self._call("delete", f"{kind}/{name}", call)

    def token(self, account: str, namespace: str, audience: str) -> str:
        """A short-lived token for a service account, as `kubectl create token` gets one (TokenRequest)."""
        from kubernetes import client

        request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[audience]))
        api = client.CoreV1Api(self.api)

        def call() -> str:
            return str(api.create_namespaced_service_account_token(account, namespace, request).status.token)

        return self._call("create a token", f"ServiceAccount/{account}", call)

    def step(self, title: str, obj: Object, *, compare: Callable[[Object], Sequence[str]] | None = None) -> Step:
        """Return the step that applies `obj`. `compare` returns the differences; by default of every field that `obj` has."""
        metadata = obj["metadata"]
        return Step(
            title,
            describe(obj),
            read=lambda: self.get(obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace")),
            request=lambda current: Manifest(self, obj),
            compare=compare or (lambda current: differences({k: v for k, v in obj.items() if k != "stringData"}, current)),
        )

    def changes(
        self, api_version: str, kind: str, wait: Wait, namespace: str | None = None
    ) -> Iterator[dict[tuple[str, str], Object]]:
        """Yield all objects of a kind by (namespace, name), now and after each change, until the wait's timeout.

        While the cluster does not have the kind, wait for its definition. Raises `TimeoutExpired` at the timeout.
        """
        while True:
            found = self._call("list", kind, lambda: self._list(api_version, kind, namespace))
            objects = {_key(item): item for item in found.items}
            yield dict(objects)
            if not found.version:
                self._await_definition(api_version, kind, wait)
                continue
            for event in self._events(api_version, kind, wait, namespace, found.version):
                if event["type"] == "DELETED":
                    objects.pop(_key(event["raw_object"]), None)
                else:
                    objects[_key(event["raw_object"])] = event["raw_object"]
                yield dict(objects)
            wait.remaining()

    def _events(self, api_version: str, kind: str, wait: Wait, namespace: str | None, since: str) -> Iterator[Any]:
        from kubernetes.client import ApiException

        try:
            yield from self._resource(api_version, kind).watch(
                namespace=namespace, resource_version=since, timeout=max(1, int(min(wait.remaining(), wait.heartbeat)))
            )
        except ApiException as error:
            if error.status != 410:  # Expired: the caller lists again
                raise _translated("watch", kind, self.name, error) from error

    def _await_definition(self, api_version: str, kind: str, wait: Wait) -> None:
        group = api_version.partition("/")[0]
        for definitions in self.changes("apiextensions.k8s.io/v1", "CustomResourceDefinition", wait):
            if any(
                d["spec"]["group"] == group and d["spec"]["names"]["kind"] == kind and condition(d, "Established")[0] == "True"
                for d in definitions.values()
            ):
                return

    def _call(self, verb: str, target: str, call: Callable[[], Any]) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return call()
        except ApiException as error:
            raise _translated(verb, target, self.name, error) from error
        except HTTPError as error:
            raise RetryableError(
                f"the API of cluster {self.name} does not answer",
                target=target,
                said=str(error),
                fix="check that the cluster is running (fleet clusters) and that your network reaches its API",
            ) from error


@dataclass(frozen=True)
class Manifest:
    """One object to be applied to a cluster by server-side apply."""

    kube: Kube
    obj: Object

    def send(self) -> Object:
        """The object as the cluster stored it."""
        return self.kube.apply(self.obj)

    def shown(self) -> Shown:
        """The manifest as YAML, the values of Secrets masked."""
        text = yaml.safe_dump(masked(self.obj), sort_keys=False, allow_unicode=True)
        return Shown(f"apply to {self.kube.name} (server-side apply, field manager {MANAGER})", text.rstrip(), "yaml")


class NoSuchKind(FinalError):
    """The cluster does not have this kind."""


def condition(obj: Object | None, kind: str = "Ready") -> tuple[str, str, str]:
    """Return (status, reason, message) of a condition; ("", "", "") if the object does not have it."""
    for item in ((obj or {}).get("status") or {}).get("conditions") or []:
        if item["type"] == kind:
            return item["status"], item.get("reason", ""), item.get("message", "")
    return "", "", ""


def ready(obj: Object | None) -> bool:
    """Return whether the object is Ready with its current spec and is not being deleted."""
    return current(obj) and condition(obj)[0] == "True" and not (obj or {})["metadata"].get("deletionTimestamp")


def current(obj: Object | None) -> bool:
    """Return whether the status is of the current spec (`observedGeneration`); `False` for `None`."""
    if obj is None:
        return False
    observed = (obj.get("status") or {}).get("observedGeneration")
    return observed is None or observed == obj["metadata"].get("generation")


def secret(name: str, namespace: str, values: dict[str, str]) -> Object:
    """Return an Opaque Secret with these values, base64-encoded."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def describe(obj: Object) -> str:
    """Return `kind/namespace/name`, without the namespace for cluster-scoped objects."""
    metadata = obj["metadata"]
    return "/".join(part for part in (obj["kind"], metadata.get("namespace"), metadata["name"]) if part)


def _root(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _translated(verb: str, target: str, cluster: str, error: Any) -> FleetError:
    import json

    try:
        status = json.loads(error.body)
        said = f"{status.get('reason', '')}: {status.get('message', '')}"
    except (TypeError, ValueError):
        said = str(error.body or error.reason)
    kind = RetryableError if error.status in (409, 429, 500, 502, 503, 504) else FinalError
    return kind(f"could not {verb} in cluster {cluster}", target=target, said=said)
