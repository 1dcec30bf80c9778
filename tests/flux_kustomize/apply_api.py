"""A small Kubernetes API, to test controllers that apply objects without the emulated API server.

It has namespaces that must exist, kinds that CRDs add, server-side apply (one owner a field, always forced), dry-run, merge
and JSON patches, label selectors, watches, and finalizers. `refuse` makes requests fail.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from azuresandbox.http import read_body, send_json
from azuresandbox.machine.images.flux.crds import flux_crds
from azuresandbox.machine.kustomize.patch import json6902

Object = dict[str, Any]
Key = tuple[str, str, str]
PATH = re.compile(r"/clusters/[^/]+/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))(?:/(?P<rest>.*))?")
BUILT_IN = {
    ("v1", "configmaps"): ("ConfigMap", True),
    ("v1", "secrets"): ("Secret", True),
    ("v1", "events"): ("Event", True),
    ("v1", "services"): ("Service", True),
    ("v1", "pods"): ("Pod", True),
    ("v1", "namespaces"): ("Namespace", False),
    ("v1", "serviceaccounts"): ("ServiceAccount", True),
    ("apps/v1", "deployments"): ("Deployment", True),
    ("batch/v1", "jobs"): ("Job", True),
    ("rbac.authorization.k8s.io/v1", "clusterroles"): ("ClusterRole", False),
    ("apiextensions.k8s.io/v1", "customresourcedefinitions"): ("CustomResourceDefinition", False),
}


class ApplyApi:
    """Serve with `await api(scope, receive, send)`; look at `objects[(kind, namespace, name)]`, count `writes`."""

    def __init__(self) -> None:
        self.kinds = dict(BUILT_IN)
        self.objects: dict[Key, Object] = {}
        self.applied: dict[Key, Object] = {}
        self.watches: list[tuple[str, str, asyncio.Queue[Object]]] = []
        self.version = 0
        self.writes: list[str] = []
        self.refuse: Callable[[str, Key, Object], tuple[int, str, str] | None] = lambda verb, key, obj: None
        for crd in flux_crds():
            self._serve_crd(crd)

    def _serve_crd(self, crd: Object) -> None:
        spec = crd["spec"]
        for version in spec["versions"]:
            plural, namespaced = spec["names"]["plural"], spec["scope"] == "Namespaced"
            self.kinds[f"{spec['group']}/{version['name']}", plural] = (spec["names"]["kind"], namespaced)

    # --- requests ----------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        match = PATH.fullmatch(scope["path"])
        assert match, scope["path"]
        api_version = match["core"] or f"{match['group']}/{match['version']}"
        query = {name: values[-1] for name, values in parse_qs(scope["query_string"].decode()).items()}
        parts = match["rest"].split("/") if match["rest"] else []
        if not parts:
            found = [(plural, kind) for (version, plural), kind in self.kinds.items() if version == api_version]
            resources = [{"kind": k, "name": plural, "namespaced": n} for plural, (k, n) in found]
            code = 200 if resources else 404
            await send_json(send, code, {"resources": resources} if resources else _status(404, "NotFound", "no such group"))
            return
        namespace = ""
        if parts[0] == "namespaces" and len(parts) > 2:
            namespace, parts = parts[1], parts[2:]
        kind, _ = self.kinds[api_version, parts[0]]
        body = await read_body(receive)
        document = json.loads(body) if body else {}
        name = parts[1] if len(parts) > 1 else ""
        if scope["method"] == "GET" and not name:
            await self._list(send, kind, namespace, query)
            return
        if len(parts) > 2 and parts[2] == "token":
            await self._token(send, namespace, name)
            return
        key = (kind, namespace, name or document.get("metadata", {}).get("name", ""))
        verb = scope["method"]
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        if verb == "PATCH" and headers["content-type"].startswith("application/apply-patch"):
            verb = "APPLY"
        code, answer = self._act(verb, key, document, query, parts, headers["content-type"], api_version)
        await send_json(send, code, answer)

    def _act(
        self, verb: str, key: Key, document: Any, query: dict[str, str], parts: list[str], content_type: str, api_version: str
    ) -> tuple[int, Object]:
        refused = self.refuse(verb, key, document)
        if refused:
            return refused[0], _status(*refused)
        existing = self.objects.get(key)
        if verb in ("POST", "APPLY") and key[1] and ("Namespace", "", key[1]) not in self.objects:
            return 404, _status(404, "NotFound", f'namespaces "{key[1]}" not found')
        if verb == "POST" and existing is not None:
            return 409, _status(409, "AlreadyExists", f'{parts[0]} "{key[2]}" already exists')
        if verb not in ("POST", "APPLY") and existing is None:
            group = "." + api_version.partition("/")[0] if "/" in api_version else ""
            return 404, _status(404, "NotFound", f'{parts[0]}{group} "{key[2]}" not found')
        if verb == "GET":
            assert existing is not None
            return 200, existing
        if query.get("dryRun"):
            return 200, self._applied(key, document)
        self.writes.append(f"{verb} {'/'.join(part for part in key if part)}" + (f"/{parts[2]}" if len(parts) > 2 else ""))
        if verb == "APPLY":
            new = self._applied(key, document)
            self.applied[key] = document
            if existing is not None and _without_version(new) == _without_version(existing):
                return 200, existing
            return 200, self.put(new)
        if verb in ("POST", "PUT"):
            return 200, self.put(document)
        assert existing is not None
        if verb == "PATCH":
            return 200, self._patched(key, existing, document, len(parts) > 2, content_type)
        self.delete(key)
        return 200, _status(200, "", "deleted")

    def _applied(self, key: Key, document: Object) -> Object:
        """Return the live object with the document applied: fields of the previous document that it lacks are removed."""
        live = copy.deepcopy(self.objects.get(key) or {"metadata": {}})
        _subtract(live, self.applied.get(key, {}), document)
        return _overlay(live, copy.deepcopy(document))

    def _patched(self, key: Key, existing: Object, patch: Any, status: bool, content_type: str) -> Object:
        if content_type.startswith("application/json-patch"):
            return self.put(json6902(existing, patch))
        expected = patch.get("metadata", {}).pop("resourceVersion", None)
        assert expected in (None, existing["metadata"]["resourceVersion"])
        new = copy.deepcopy(existing)
        _merge(new, {"status": patch["status"]} if status else patch)
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            self._drop(key)
            return new
        return self.put(new)

    async def _token(self, send: Any, namespace: str, name: str) -> None:
        if ("ServiceAccount", namespace, name) in self.objects:
            await send_json(send, 201, {"status": {"token": f"token-of-{namespace}-{name}"}})
        else:
            await send_json(send, 404, _status(404, "NotFound", f'serviceaccounts "{name}" not found'))

    async def _list(self, send: Any, kind: str, namespace: str, query: dict[str, str]) -> None:
        labels = dict(item.split("=") for item in query.get("labelSelector", "").split(",") if item)

        def chosen(obj: Object) -> bool:
            metadata = obj["metadata"]
            found = metadata.get("labels") or {}
            return (not namespace or metadata.get("namespace") == namespace) and all(
                found.get(name) == value for name, value in labels.items()
            )

        items = [obj for (found, _, _), obj in self.objects.items() if found == kind and chosen(obj)]
        if "watch" not in query:
            await send_json(send, 200, {"items": items, "metadata": {"resourceVersion": str(self.version)}})
            return
        queue: asyncio.Queue[Object] = asyncio.Queue()
        if not query.get("resourceVersion"):
            for obj in items:
                queue.put_nowait({"type": "ADDED", "object": copy.deepcopy(obj)})
        watch = (kind, namespace, queue)
        self.watches.append(watch)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                line = json.dumps(await queue.get()).encode() + b"\n"
                await send({"type": "http.response.body", "body": line, "more_body": True})
        finally:
            self.watches.remove(watch)

    # --- objects -----------------------------------------------------------------------------------------------------

    def put(self, obj: Object) -> Object:
        """Create or replace an object. Its generation grows when its spec changes."""
        metadata = obj["metadata"]
        key = (obj["kind"], metadata.get("namespace", ""), metadata["name"])
        old = self.objects.get(key)
        new = copy.deepcopy(obj)
        meta = {**new["metadata"], "uid": f"uid-{'-'.join(key)}"}
        generation = old["metadata"]["generation"] if old else 1
        meta["generation"] = generation + (old is not None and old.get("spec") != new.get("spec"))
        new["metadata"] = meta
        if new["kind"] == "CustomResourceDefinition":
            self._serve_crd(new)
            new["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        self.objects[key] = new
        self._tell("MODIFIED" if old else "ADDED", new)
        return new

    def status(self, kind: str, namespace: str, name: str, status: Object) -> None:
        obj = self.objects[kind, namespace, name]
        self.put({**obj, "status": status})

    def delete(self, key: Key) -> None:
        obj = self.objects[key]
        if obj["metadata"].get("finalizers"):
            self.put({**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
        else:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        self.applied.pop(key, None)
        self._tell("DELETED", self.objects.pop(key))

    def _tell(self, event: str, obj: Object) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        for kind, namespace, queue in list(self.watches):
            if kind == obj["kind"] and namespace in ("", obj["metadata"].get("namespace", "")):
                queue.put_nowait({"type": event, "object": copy.deepcopy(obj)})


def _status(code: int, reason: str, message: str) -> Object:
    return {"kind": "Status", "code": code, "reason": reason, "message": message}


def _without_version(obj: Object) -> Object:
    hidden = ("resourceVersion", "generation", "uid")
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k not in hidden}}


def _subtract(live: Any, before: Any, after: Any) -> None:
    for name, value in before.items():
        if name not in after:
            live.pop(name, None)
        elif isinstance(value, dict) and isinstance(after[name], dict) and isinstance(live.get(name), dict):
            _subtract(live[name], value, after[name])


def _overlay(live: Object, wanted: Object) -> Object:
    for name, value in wanted.items():
        if isinstance(value, dict) and isinstance(live.get(name), dict):
            _overlay(live[name], value)
        else:
            live[name] = value
    return live


def _merge(into: Object, patch: Object) -> None:
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict):
            if not isinstance(into.get(name), dict):
                into[name] = {}
            _merge(into[name], value)
        else:
            into[name] = value
