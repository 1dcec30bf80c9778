"""The request handler: authenticates, authorizes, and routes a path and a method to the function that answers.

Plain ASGI, because the requests of every program in every cluster pass through it.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

from azuresandbox.context import ASGIApp, Receive, Sandbox, Scope, Send
from azuresandbox.http import send_json
from azuresandbox.kubernetes.api import admission, discovery, openapi, reviews, subresources
from azuresandbox.kubernetes.api.accept import check_accept, wants_aggregated, wants_yaml
from azuresandbox.kubernetes.api.read.listing import listing, select, version_problem
from azuresandbox.kubernetes.api.read.view import View
from azuresandbox.kubernetes.api.read.watch import watch
from azuresandbox.kubernetes.api.request import Request, Target, query, served, target
from azuresandbox.kubernetes.api.stored import find
from azuresandbox.kubernetes.api.write.body import accept, subresource_body
from azuresandbox.kubernetes.api.write.common import Written
from azuresandbox.kubernetes.api.write.create import create
from azuresandbox.kubernetes.api.write.delete import delete, warn_of_orphans
from azuresandbox.kubernetes.api.write.patch import patch
from azuresandbox.kubernetes.api.write.update import update
from azuresandbox.kubernetes.model import errors
from azuresandbox.kubernetes.model.resources import GROUP_ORDER, Resource
from azuresandbox.kubernetes.model.types import Object, dump
from azuresandbox.kubernetes.state import escalation, tokens
from azuresandbox.kubernetes.state.cluster import Cluster, clusters
from azuresandbox.kubernetes.state.objects import Gone
from azuresandbox.kubernetes.state.rbac import Attributes
from azuresandbox.kubernetes.state.tokens import User

_JSON = (b"content-type", b"application/json")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "GET": "get", "DELETE": "delete"}
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_HEALTH = ("healthz", "livez", "readyz")
_REFUSED = {
    "exec": ("exec into containers", "containers are programs of this process; read their logs"),
    "attach": ("attaching to containers", "read their logs instead"),
    "portforward": ("port forwarding", "containers have no network ports here"),
    "proxy": ("the API server's proxy", "containers have no network ports here"),
    "ephemeralcontainers": ("ephemeral containers", "containers have no file system to debug; read their logs"),
    "resize": ("resizing Pods in place", "change the Pod's template"),
}
"""Subresource -> its name in the refusal, and the alternative."""


def app(sandbox: Sandbox) -> ASGIApp:
    """Return the ASGI app for `/clusters/<id>/...` and `/oidc/<id>/...`."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        parts = [part for part in scope["path"].split("/") if part]
        cluster = clusters(sandbox).get(parts[1]) if len(parts) > 1 else None
        if parts[0] == "oidc":
            await _issuer(cluster, parts[2:], scope["method"], send)
            return
        if cluster is None:
            await _plain(send, 404, b"404 page not found\n")
            return
        try:
            await _answer(cluster, parts[2:], scope, receive, send)
        except errors.StatusError as error:
            await _status(send, error, [])

    return handle


async def _issuer(cluster: Cluster | None, parts: list[str], method: str, send: Send) -> None:
    """Answer with the OIDC issuer's public documents, or 404 while the issuer is disabled."""
    path = "/".join(parts)
    issuer = cluster.goal.oidc_issuer if cluster else ""
    if cluster is None or not issuer or method != "GET":
        await send_json(send, 404, {"error": "not_found"})
    elif path == ".well-known/openid-configuration":
        await send_json(send, 200, tokens.discovery_document(issuer))
    elif path == "openid/v1/jwks":
        await send_json(send, 200, cluster.key.jwks())
    else:
        await send_json(send, 404, {"error": "not_found"})


async def _answer(cluster: Cluster, parts: list[str], scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. `parts`: the path behind the cluster's address."""
    if cluster.stopped:
        text = f"the managed cluster {cluster.goal.cluster_name} is stopped: start it to reach its API server"
        raise errors.unavailable(text)
    headers = dict(scope["headers"])
    user = _authenticate(cluster, headers, scope)
    path = "/" + "/".join(parts)
    request = Request(cluster, scope["method"], path, query(scope), headers, user, receive, send)
    wanted = target(parts)
    try:
        if wanted is not None:
            await _resource(request, wanted)
        else:
            await _other(request, parts)
    except errors.StatusError as error:
        await _status(send, error, request.warnings, request.header(b"accept"))
    except Gone:
        name = wanted.name if wanted else ""
        await _status(send, errors.conflict(wanted.group if wanted else "", wanted.plural if wanted else "", name), [])


def _authenticate(cluster: Cluster, headers: dict[bytes, bytes], scope: Scope) -> User:
    """Return the user of the token or client certificate, or the user to impersonate; raise 401 without credentials."""
    value = headers.get(b"authorization", b"").decode("latin-1")
    user: User | None = None
    if value:
        scheme, _, token = value.partition(" ")
        user = cluster.authenticate(token.strip()) if scheme.lower() == "bearer" else None
    else:
        names = (scope.get("extensions") or {}).get("tls", {}).get("client_cert_subject")
        user = cluster.user_of_certificate([tuple(pair) for pair in names]) if names else None
    if user is None:
        raise errors.unauthorized()
    return escalation.impersonated(cluster.policy, user, scope["headers"])


def _authorize(request: Request, asked: Attributes) -> None:
    escalation.authorize(request.cluster.policy, request.user, asked)


# --- resources -------------------------------------------------------------------------------------------------------


async def _resource(request: Request, wanted: Target) -> None:
    cluster, method = request.cluster, request.method
    resource = served(cluster, wanted)
    asked = wanted.watched or (not wanted.name and request.flag("watch"))
    watching = method == "GET" and not wanted.subresource and asked
    # Authorize before the lookup: its answer shows which resources are served.
    _authorize(request, _attributes(request, wanted, watching))
    if resource is None:
        first = wanted.subresource.split("/")[0]
        if first in _REFUSED and cluster.registry.find(wanted.group, wanted.version, wanted.plural):
            raise errors.not_emulated(*_REFUSED[first])
        await _not_served(request, wanted)
        return
    if resource.custom is None:
        check_accept(request.header(b"accept"))
    if (wanted.group, wanted.plural) in admission.DEPRECATED:
        request.warnings.append(admission.DEPRECATED[wanted.group, wanted.plural])
    if request.method in _WRITES:
        request.check_options()
    if wanted.subresource:
        await _subresource(request, resource, wanted)
    elif watching:
        await watch(request, resource, wanted.namespace, wanted.name)
    elif wanted.name:
        await _one(request, resource, wanted)
    else:
        await _collection(request, resource, wanted)


async def _not_served(request: Request, wanted: Target) -> None:
    """Answer 404 with the words of the part of the API server that the path leads to."""
    custom = request.cluster.registry.find(wanted.group, wanted.version, wanted.plural)
    if wanted.group in GROUP_ORDER:
        raise errors.no_such_resource()
    if custom is not None and wanted.subresource:
        raise errors.not_found(wanted.group, wanted.plural, wanted.name)
    await _plain(request.send, 404, b"404 page not found\n")


def _attributes(request: Request, wanted: Target, watching: bool) -> Attributes:
    verb = _VERBS.get(request.method, request.method.lower())
    name = wanted.name
    if not name and verb in ("get", "delete"):
        verb = "list" if verb == "get" else "deletecollection"
        selector = request.query.get("fieldSelector", "")
        if selector.startswith("metadata.name=") and "," not in selector:
            name = selector.removeprefix("metadata.name=").lstrip("=")
    if watching:
        verb = "watch"
    namespace = wanted.name if (wanted.group, wanted.plural) == ("", "namespaces") else wanted.namespace
    return Attributes(verb, wanted.group, wanted.plural, wanted.subresource, namespace, name)


async def _one(request: Request, resource: Resource, wanted: Target) -> None:
    method, namespace, name = request.method, wanted.namespace, wanted.name
    if method == "GET":
        view = View(request, resource)
        version = request.query.get("resourceVersion", "")
        if version and not version.isdigit():
            raise errors.plain(500, version_problem(version))
        await _send(request, 200, view.one(find(request.cluster, resource, namespace, name).value))
        return
    if method == "PATCH":
        written = patch(request, resource, namespace, name, "", await request.body())
    elif method == "PUT":
        obj = accept(request, resource, await _sent(request, resource), namespace, name)
        written = update(request, resource, find(request.cluster, resource, namespace, name), obj)
    elif method == "DELETE":
        options = await _options(request)
        warn_of_orphans(request, resource, options)
        code, data = delete(request, resource, find(request.cluster, resource, namespace, name), options)
        await _send(request, code, data)
        return
    elif method == "POST" and resource.custom is not None:
        await _collection(request, resource, wanted)
        return
    else:
        raise errors.method_not_allowed()
    await _send_written(request, resource, written)


async def _sent(request: Request, resource: Resource) -> Object:
    """Return the object in the body."""
    return await request.document(resource.kind, typed=resource.custom is None)


async def _send_written(request: Request, resource: Resource, written: Written) -> None:
    view = View(request, resource)
    data = view.one(written.data) if view.kind else written.data
    await _send(request, 201 if written.created else 200, data)


async def _options(request: Request) -> Object:
    """Return the DeleteOptions of the body, completed from the query."""
    options = await request.document()
    request.check_dry_run(options.get("dryRun") or [])
    for name in ("propagationPolicy", "gracePeriodSeconds", "orphanDependents"):
        if name in request.query and options.get(name) is None:
            text = request.query[name]
            options[name] = int(text) if text.isdigit() else text == "true" if text in ("true", "false") else text
    return options


async def _collection(request: Request, resource: Resource, wanted: Target) -> None:
    method, namespace = request.method, wanted.namespace
    if method == "GET":
        if resource.verbs == ("create",):
            raise errors.method_not_allowed()
        await _send(request, 200, listing(request, resource, namespace))
        return
    if method == "POST" and (namespace or not resource.namespaced):
        document = await _sent(request, resource)
        if resource.verbs == ("create",):
            await _send(request, 201, dump(reviews.review(request, resource, document, namespace)))
            return
        obj = accept(request, resource, document, namespace)
        await _send_written(request, resource, create(request, resource, obj, namespace))
        return
    if method in ("PUT", "PATCH") and resource.custom is not None:
        raise errors.bad_request("name must be provided")
    if method == "DELETE" and "deletecollection" in resource.verbs:
        options = await _options(request)
        warn_of_orphans(request, resource, options)
        found, metadata = select(request, resource, namespace)
        deleted = [_delete_each(request, resource, record.key, options) for record in found]
        await _send(request, 200, View(request, resource).many([data for data in deleted if data], metadata))
        return
    raise errors.method_not_allowed()


def _delete_each(request: Request, resource: Resource, key: str, options: Object) -> bytes:
    """Delete one object of a collection. Returns its bytes, or b"" if it no longer exists."""
    record = request.cluster.objects.get(key)
    if record is None:
        return b""
    delete(request, resource, record, dict(options))
    return record.value


_ASKED = {
    "token": ("TokenRequest", subresources.token),
    "binding": ("Binding", subresources.bind),
    "eviction": ("Eviction", subresources.evict),
}
"""Subresources that take a POST -> the kind of the body, and the function that answers."""


async def _subresource(request: Request, resource: Resource, wanted: Target) -> None:
    method, name, namespace, part = request.method, wanted.name, wanted.namespace, wanted.subresource
    if part == "status" and method in ("GET", "PUT", "PATCH"):
        await _status_part(request, resource, namespace, name)
    elif part == "scale" and method in ("GET", "PUT", "PATCH"):
        await _send(request, 200, await subresources.scale(request, resource, namespace, name))
    elif part == "log" and method == "GET":
        await subresources.log(request, resource, namespace, name)
    elif part in _ASKED and method == "POST":
        kind, answer = _ASKED[part]
        body = await subresource_body(request, resource, kind)
        await _send(request, 201, dump(answer(request, resource, namespace, name, body)))
    elif part == "finalize" and method == "PUT":
        await _send(request, 200, subresources.finalize(request, resource, name, await request.document("Namespace")))
    elif resource.custom is not None:
        raise errors.not_supported(_VERBS.get(method, method.lower()), resource.group, resource.plural)
    else:
        raise errors.method_not_allowed()


async def _status_part(request: Request, resource: Resource, namespace: str, name: str) -> None:
    if request.method == "GET":
        record = find(request.cluster, resource, namespace, name)
        await _send(request, 200, View(request, resource).one(record.value))
        return
    if request.method == "PATCH":
        written = patch(request, resource, namespace, name, "status", await request.body())
    else:
        obj = accept(request, resource, await _sent(request, resource), namespace, name)
        written = update(request, resource, find(request.cluster, resource, namespace, name), obj, "status")
    await _send(request, 200, written.data)


# --- everything else -------------------------------------------------------------------------------------------------


async def _other(request: Request, parts: list[str]) -> None:
    """Answer a path that is not a resource's: discovery, health, version, OpenAPI."""
    _authorize(request, Attributes("get" if request.method == "GET" else request.method.lower(), path=request.path))
    cluster, first = request.cluster, parts[0] if parts else ""
    if first in _HEALTH:
        await _plain(request.send, 200, b"ok")
        return
    if request.method != "GET":
        raise errors.method_not_allowed()
    if first in ("api", "apis") and len(parts) == 1 and wants_aggregated(request.header(b"accept")):
        found: dict[str, Any] | None = discovery.aggregated(cluster, core=first == "api")
        await _send(request, 200, json.dumps(found).encode(), discovery.AGGREGATED)
        return
    if first == "version":
        check_accept(request.header(b"accept"), ("application/json",))
    found = _document(cluster, parts)
    if found is None and (first == "api" or len(parts) > 1 and parts[0] == "apis" and parts[1] in GROUP_ORDER):
        raise errors.no_such_resource()
    if found is None:
        await _plain(request.send, 404, b"404 page not found\n")
    else:
        await _send(request, 200, json.dumps(found).encode())


def _document(cluster: Cluster, parts: list[str]) -> dict[str, Any] | None:
    """Return the document at a path, or `None` if the path is unknown."""
    match parts:
        case []:
            return {"paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]}
        case ["version"]:
            return discovery.version(cluster)
        case ["api"]:
            return discovery.api_versions(cluster)
        case ["apis"]:
            return discovery.api_groups(cluster)
        case ["api", version]:
            return discovery.resource_list(cluster, "", version)
        case ["apis", group]:
            return discovery.api_group(cluster, group)
        case ["apis", group, version]:
            return discovery.resource_list(cluster, group, version)
        case ["openapi", "v2"]:
            return openapi.v2()
        case ["openapi", "v3"]:
            return openapi.index(cluster)
        case ["openapi", "v3", "api", version]:
            return openapi.group_version(cluster, "", version)
        case ["openapi", "v3", "apis", group, version]:
            return openapi.group_version(cluster, group, version)
    return None


# --- answers ---------------------------------------------------------------------------------------------------------


async def _send(request: Request, status: int, body: bytes, content_type: str = "") -> None:
    if not content_type and wants_yaml(request.header(b"accept")):
        body, content_type = _as_yaml(body), "application/yaml"
    headers = [
        (b"content-type", content_type.encode()) if content_type else _JSON,
        (b"content-length", str(len(body)).encode()),
    ]
    headers += _warning_headers(request.warnings)
    await request.send({"type": "http.response.start", "status": status, "headers": headers})
    await request.send({"type": "http.response.body", "body": body})


def _as_yaml(body: bytes) -> bytes:
    return yaml.dump(json.loads(body), Dumper=_Dumper, allow_unicode=True).encode()


def _warning_headers(warnings: list[str]) -> list[tuple[bytes, bytes]]:
    """Return Warning headers (RFC 7234) in the form that client-go reads; each warning once."""
    return [(b"warning", f"299 - {json.dumps(text)}".encode("latin-1", "replace")) for text in dict.fromkeys(warnings)]


async def _status(send: Send, error: errors.StatusError, warnings: list[str], accept: str = "") -> None:
    body, media = error.dump(), _JSON
    if wants_yaml(accept):
        body, media = _as_yaml(body), (b"content-type", b"application/yaml")
    headers = [media, (b"content-length", str(len(body)).encode()), *_warning_headers(warnings)]
    headers += [(name.encode(), value.encode()) for name, value in error.headers.items()]
    await send({"type": "http.response.start", "status": error.code, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _plain(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
