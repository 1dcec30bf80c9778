"""A small Kubernetes API, to test the source-controller without the emulated API server.

It has objects, generations, finalizers, status, merge patches and watches.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from typing import Any

from azuresandbox.http import read_body, send_json
from azuresandbox.machine.images.flux.crds import flux_crds

Object = dict[str, Any]
PATH = re.compile(r"/clusters/[^/]+/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)(?:/(?P<rest>.*))?")
CORE = {"secrets": "Secret", "events": "Event", "serviceaccounts": "ServiceAccount", "configmaps": "ConfigMap"}


class LittleApi:
    """Serve with `await api(scope, receive, send)`; look at `objects[(kind, namespace, name)]`."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.watches: list[tuple[str, asyncio.Queue[Object]]] = []
        self.version = 0
        self.kinds = dict(CORE)
        self.kinds |= {crd["spec"]["names"]["plural"]: crd["spec"]["names"]["kind"] for crd in flux_crds()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        match = PATH.fullmatch(scope["path"])
        assert match, scope["path"]
        parts = (match["rest"] or "").split("/") if match["rest"] else []
        if not parts:
            await send_json(send, 200, {"resources": self.discovery(match["group"])})
            return
        namespace = ""
        if parts[0] == "namespaces":
            namespace, parts = parts[1], parts[2:]
        kind = self.kinds[parts[0]]
        name = parts[1] if len(parts) > 1 else ""
        status = len(parts) > 2
        body = await read_body(receive)
        document = json.loads(body) if body else {}
        if scope["method"] == "GET" and not name:
            await self.list(scope, send, kind)
            return
        key = (kind, namespace, name or document.get("metadata", {}).get("name", ""))
        if scope["method"] == "POST":
            if key in self.objects:
                await send_json(send, 409, {"code": 409, "reason": "AlreadyExists", "message": f"{key} already exists"})
                return
            await send_json(send, 201, self.put(kind, namespace, document))
        elif key not in self.objects:
            text = f'{parts[0]}{"." + match["group"] if match["group"] else ""} "{name}" not found'
            await send_json(send, 404, {"code": 404, "reason": "NotFound", "message": text})
        elif scope["method"] == "PATCH":
            await send_json(send, 200, self.patch(key, document, status))
        else:
            await send_json(send, 200, self.objects[key])

    def discovery(self, group: str | None) -> list[Object]:
        chosen = {plural: kind for plural, kind in self.kinds.items() if (plural in CORE) == (group is None)}
        return [{"kind": kind, "name": plural, "namespaced": True} for plural, kind in chosen.items()]

    async def list(self, scope: Any, send: Any, kind: str) -> None:
        if b"watch=true" not in scope["query_string"]:
            items = [obj for (found, _, _), obj in self.objects.items() if found == kind]
            await send_json(send, 200, {"items": items, "metadata": {"resourceVersion": str(self.version)}})
            return
        queue: asyncio.Queue[Object] = asyncio.Queue()
        self.watches.append((kind, queue))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            line = json.dumps(await queue.get()).encode() + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})

    def tell(self, event: str, obj: Object) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        for kind, queue in self.watches:
            if kind == obj["kind"]:
                queue.put_nowait({"type": event, "object": copy.deepcopy(obj)})

    def put(self, kind: str, namespace: str, obj: Object) -> Object:
        """Create an object, or replace its spec. Returns the object."""
        name = obj["metadata"]["name"]
        old = self.objects.get((kind, namespace, name))
        new = copy.deepcopy(obj) | {"kind": kind}
        metadata = {"namespace": namespace, "uid": f"uid-{kind}-{name}", **new["metadata"]}
        metadata["generation"] = 1
        if old:
            metadata = {**old["metadata"], **metadata}
            metadata["generation"] = old["metadata"]["generation"] + (old.get("spec") != new.get("spec"))
            new["status"] = old.get("status", {})
        elif "spec" in new:
            new.setdefault("status", {"observedGeneration": -1})
        new["metadata"] = metadata
        self.objects[(kind, namespace, name)] = new
        self.tell("MODIFIED" if old else "ADDED", new)
        return new

    def patch(self, key: tuple[str, str, str], patch: Object, status: bool) -> Object:
        obj = self.objects[key]
        expected = patch.get("metadata", {}).pop("resourceVersion", None)
        assert expected in (None, obj["metadata"]["resourceVersion"])
        _merge(obj, {"status": patch["status"]} if status else patch)
        if obj["metadata"].get("deletionTimestamp") and not obj["metadata"].get("finalizers"):
            del self.objects[key]
            self.tell("DELETED", obj)
        else:
            self.tell("MODIFIED", obj)
        return obj

    def delete(self, kind: str, namespace: str, name: str) -> None:
        obj = self.objects[(kind, namespace, name)]
        obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        self.tell("MODIFIED", obj)


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
