"""From an HTTP request to a handler and back: the checks of Azure Resource Manager before a provider is reached.

In this order: api-version given, token (401), known route, throttling (429), subscription, role assignment (403), type and
api-version, registration of the namespace, then the engine. The providers are arguments of `Arm`.
"""

from __future__ import annotations

import json
import re
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from azuresandbox import trees
from azuresandbox.arm import access, engine, errors, locations, not_emulated, operation_records, operations, records, retry
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.operation_records import Operation
from azuresandbox.arm.provider import Answer, Caller, Provider, Request, ResourceType, Route
from azuresandbox.arm.resource_id import ResourceId, provider_at
from azuresandbox.arm.throttle import Throttle
from azuresandbox.arm.tokens import Verifier
from azuresandbox.context import ASGIApp, Receive, Sandbox, Scope, Send
from azuresandbox.http import TooLarge, read_body, send_bytes
from azuresandbox.store import Store

VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}


@dataclass
class Arm:
    """The resource manager of one sandbox: its providers and ARM's own routes."""

    sandbox: Sandbox
    providers: tuple[Provider, ...]
    routes: tuple[Route, ...]
    registered: Callable[[Store, str], bool]
    types: dict[str, tuple[Provider, ResourceType]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for provider in self.providers:
            for kind in provider.types:
                self.types[provider.full_name(kind).lower()] = (provider, kind)
        self._verifier = Verifier(self.sandbox)
        self._throttle = Throttle(self.sandbox)
        self._compiled = [(_compile(route.pattern), route) for route in self.routes]

    def type_of(self, full_name: str) -> ResourceType:
        return self.types[full_name.lower()][1]

    def app(self) -> ASGIApp:
        return self._handle

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body, refused = await read_body(receive), None
        except TooLarge:
            body, refused = b"", errors.too_large()
        call = _Call.read(scope, body)
        try:
            if refused is not None:
                raise refused
            answer = await self._answer(call)
        except ArmError as error:
            answer = Answer(error.status, {"error": error.body()}, error.headers)
        except Exception as error:
            self.sandbox.log("arm", f"{call.method} {call.path}: {traceback.format_exc()}")
            failure = ArmError(500, "InternalServerError", f"The sandbox failed: {type(error).__name__}. Its log says where.")
            answer = Answer(500, {"error": failure.body()})
        await self._send(send, call, answer)

    async def _send(self, send: Send, call: _Call, answer: Answer) -> None:
        found = {
            "cache-control": "no-cache",
            "pragma": "no-cache",
            "expires": "-1",
            "x-content-type-options": "nosniff",
            "strict-transport-security": "max-age=31536000; includeSubDomains",
            "x-ms-request-id": call.request_id,
            "x-ms-correlation-request-id": call.correlation_id,
            "x-ms-routing-request-id": f"SANDBOX:{call.request_id}",
            **call.limits,
            **answer.headers,
        }
        if call.headers.get("x-ms-return-client-request-id", "").lower() == "true" and "x-ms-client-request-id" in call.headers:
            found["x-ms-client-request-id"] = call.headers["x-ms-client-request-id"]
        if answer.operation is not None:
            found |= operations.headers(self.sandbox, answer.operation)
        if isinstance(answer.body, dict) and "error" in answer.body:
            found["x-ms-failure-cause"] = "gateway"
            found["x-ms-error-code"] = str(answer.body["error"].get("code", ""))
        content = b"" if answer.body is None or call.method == "HEAD" else trees.dump(answer.body)
        await send_bytes(send, answer.status, content, "application/json; charset=utf-8", found)

    async def _answer(self, call: _Call) -> Answer:
        route, values = self._match(call)
        if route is not None and route.open:
            return await route.handler(self._request(call, ResourceId(call.path), route.type, route.namespace, _NOBODY))
        if not call.version:
            raise errors.api_version_missing()
        caller = self._verifier.caller(call.headers)
        if isinstance(call.body, _Malformed):
            raise errors.content_invalid("Unexpected character encountered while parsing value: path '', line 0, position 0.")
        subscription = values.get("subscription", call.subscription)
        self._strike(call, caller, subscription)
        if subscription:
            self._check_subscription(subscription)
        if route is not None:
            return await self._answer_route(call, route, values, caller)
        return await self._answer_resource(call, caller)

    def _strike(self, call: _Call, caller: Caller, subscription: str) -> None:
        faults = self.sandbox.faults
        if faults.take("throttled", call.path) is not None:
            raise self._throttle.refused(
                caller.object_id, subscription, "writes" if call.method not in ("GET", "HEAD") else "reads", 10
            )
        if faults.take("server-error", call.path) is not None:
            raise ArmError(
                500,
                "InternalServerError",
                "Encountered internal server error. Diagnostic information: timestamp "
                f"'{self.sandbox.clock.now():%Y%m%dT%H%M%SZ}', subscription id '{subscription}'.",
            )
        if subscription:
            call.limits = self._throttle.take(caller.object_id, subscription, call.method)

    def _check_subscription(self, subscription: str) -> None:
        if re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", subscription) is None:
            raise errors.subscription_invalid(subscription)
        if subscription.lower() != self.sandbox.subscription_id:
            raise errors.subscription_not_found(subscription)

    # --- ARM's own routes --------------------------------------------------------------------------------------------

    def _match(self, call: _Call) -> tuple[Route | None, dict[str, str]]:
        others: list[Route] = []
        for pattern, route in self._compiled:
            match = pattern.fullmatch(call.path)
            if match is not None and route.method == (
                "GET" if call.method == "HEAD" and route.method == "GET" else call.method
            ):
                return route, match.groupdict()
            if match is not None:
                others.append(route)
        if others:
            raise errors.method_not_allowed(call.method, f"{others[0].namespace}/{others[0].type.name}")
        return None, {}

    async def _answer_route(self, call: _Call, route: Route, values: Mapping[str, str], caller: Caller) -> Answer:
        narrowed, scope = False, ResourceId(route.scope.format(**values))
        action = route.action.format(**values)
        if route.listing:
            narrowed = access.require_list(self.sandbox.store, caller, action, scope)
        elif action:
            access.require(self.sandbox.store, caller, action, scope)
        if call.version not in route.type.api_versions:
            if route.namespace != "Microsoft.Resources":
                raise errors.type_invalid(route.type.name, route.namespace, call.version, route.type.api_versions)
            raise errors.api_version_invalid(call.version, route.type.api_versions)
        identifier = ResourceId(route.id.format(**values) if route.id else call.path)
        return await route.handler(self._request(call, identifier, route.type, route.namespace, caller, narrowed))

    # --- resources of providers --------------------------------------------------------------------------------------

    async def _answer_resource(self, call: _Call, caller: Caller) -> Answer:
        if call.path.lower().startswith(not_emulated.MANAGEMENT_GROUPS):
            raise errors.not_emulated("management groups: the subscription is the highest scope")
        at = provider_at(call.path)
        if at < 0:
            raise errors.not_emulated(f"the path '{call.path}'")
        parts = call.path[at + len("/providers/") :].split("/")
        if len(parts) == 3 + (len(parts) > 1 and parts[1].lower() == "locations") * 2 and parts[-2].lower() in _POLLED:
            return self._poll(call, caller, parts)
        if len(parts) < 2:
            raise errors.not_emulated(f"the path '{call.path}'")
        whole = len(parts) % 2 == 1
        action = "" if whole or call.method != "POST" else parts[-1]
        identifier = ResourceId(call.path.rpartition("/")[0] if action or not whole else call.path)
        kind_name = "/".join((parts[0], *parts[1 : len(parts) - bool(action) : 2]))
        return await self._dispatch(call, caller, identifier, kind_name, action, whole)

    async def _dispatch(
        self, call: _Call, caller: Caller, identifier: ResourceId, type_name: str, action: str, whole: bool
    ) -> Answer:
        if not whole and not action:
            identifier = _collection_scope(call.path, type_name)
        provider, kind = self._find_type(call, type_name)
        known = provider.full_name(kind)
        permission = f"{known}/{action}/action" if action else f"{known}/{VERBS.get(call.method, 'read')}"
        narrowed = False
        if whole or action or kind.lists is not None:
            access.require(self.sandbox.store, caller, permission, identifier)
        else:
            narrowed = access.require_list(self.sandbox.store, caller, permission, identifier)
        self._check_version(call, provider, kind, identifier)
        self._check_registered(provider)
        self._check_extends(kind, provider, identifier, whole or bool(action), call)
        request = self._request(call, identifier, kind, provider.namespace, caller, narrowed)
        if action:
            return await engine.act(request, action)
        if whole:
            return await engine.handle(request)
        if call.method != "GET":
            raise errors.method_not_allowed(call.method, known)
        return await engine.list_all(request, known)

    def _find_type(self, call: _Call, type_name: str) -> tuple[Provider, ResourceType]:
        found = self.types.get(type_name.lower())
        if found is not None:
            return found
        namespace, _, kind = type_name.partition("/")
        why = not_emulated.reason(namespace, kind or call.path.rpartition("/")[2])
        if why:
            raise errors.not_emulated(why)
        if namespace.lower() not in {provider.namespace.lower() for provider in self.providers}:
            raise errors.namespace_invalid(namespace)
        raise errors.type_invalid(kind, namespace, call.version)

    def _check_version(self, call: _Call, provider: Provider, kind: ResourceType, identifier: ResourceId) -> None:
        if call.version in kind.api_versions:
            return
        stored = records.get(self.sandbox.store, identifier)
        place = locations.normalize(str(call.body.get("location") or (stored.location if stored else "")))
        regions = kind.regions or locations.NAMES
        raise errors.no_registered_provider(place, call.version, kind.name, kind.api_versions, regions)

    def _check_registered(self, provider: Provider) -> None:
        if not provider.always_registered and not self.registered(self.sandbox.store, provider.namespace):
            raise errors.not_registered(provider.namespace)

    def _check_extends(self, kind: ResourceType, provider: Provider, identifier: ResourceId, whole: bool, call: _Call) -> None:
        """Refuse an extension of a type that the extension's resource type does not name in `extends`."""
        scope = identifier.scope if whole else identifier
        if not kind.extends:
            return
        if scope.type.lower() not in {name.lower() for name in kind.extends}:
            raise errors.type_invalid(kind.name, provider.namespace, call.version)

    def _poll(self, call: _Call, caller: Caller, parts: list[str]) -> Answer:
        operation = operation_records.get(self.sandbox.store, parts[-1])
        if operation is None or operation.namespace.lower() != parts[0].lower():
            message = f"The operation '{parts[-1]}' could not be found."
            raise ArmError(404, "OperationNotFound", message)
        if not operations.may_read(operation, caller):
            access.require(self.sandbox.store, caller, f"{operation.type}/read", ResourceId(operation.resource_id))
        return self.state(call, operation) if parts[-2].lower() != "operationresults" else self.result(call, operation)

    def state(self, call: _Call, operation: Operation) -> Answer:
        """Return the answer of `Azure-AsyncOperation`: always 200, the state in the body."""
        busy = operation.status == operation_records.IN_PROGRESS
        return Answer(200, operation.body(), retry.after(self.sandbox, operation.retry_after) if busy else {})

    def result(self, call: _Call, operation: Operation) -> Answer:
        """Return the answer of `Location`: 202 until the operation is done, then the answer of a synchronous request."""
        if operation.status == operation_records.IN_PROGRESS:
            where = {"Location": operation.url(self.sandbox.base, "operationresults")}
            return Answer(202, None, where | retry.after(self.sandbox, operation.retry_after))
        if operation.error is not None:
            raise ArmError(409, operation.error["code"], operation.error["message"])
        if operation.deletes:
            return Answer(204)
        resource = records.get(self.sandbox.store, operation.resource_id)
        return Answer(200, resource.document) if resource else Answer(204)

    def _request(
        self, call: _Call, identifier: ResourceId, kind: ResourceType, namespace: str, caller: Caller, narrowed: bool = False
    ) -> Request:
        return Request(
            sandbox=self.sandbox,
            method=call.method,
            id=identifier,
            type=kind,
            api_version=call.version,
            caller=caller,
            query=call.query,
            headers=call.headers,
            body=call.body,
            namespace=namespace,
            path=call.path,
            narrowed=narrowed,
        )


_NOBODY = Caller("", "", "")
_POLLED = ("operations", "operationresults", "operationstatuses")


@dataclass
class _Call:
    """An HTTP request, read."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    request_id: str
    correlation_id: str
    limits: dict[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        return self.query.get("api-version", "")

    @property
    def subscription(self) -> str:
        parts = self.path.split("/")
        return parts[2] if len(parts) > 2 and parts[1].lower() == "subscriptions" else ""

    @classmethod
    def read(cls, scope: Scope, content: bytes) -> _Call:
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = str(uuid.uuid4())
        path = re.sub("/{2,}", "/", scope["path"]).rstrip("/")
        query = {name.lower().removeprefix("$"): value for name, value in pairs}
        correlation = headers.setdefault("x-ms-correlation-request-id", request_id)
        return cls(
            method=scope["method"],
            path=path,
            query=query,
            headers=headers,
            body=_parse(content),
            request_id=request_id,
            correlation_id=correlation,
        )


class _Malformed(dict[str, Any]):
    """A body that is not a JSON object. The error is sent only once the caller is known."""


def _parse(content: bytes) -> dict[str, Any]:
    if not content.strip():
        return {}
    try:
        parsed = json.loads(content)
    except ValueError:
        return _Malformed()
    return parsed if isinstance(parsed, dict) else _Malformed()


def _compile(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"(\{\w+\})", pattern)
    text = "".join(f"(?P<{p[1:-1]}>[^/]+)" if p.startswith("{") else re.escape(p) for p in pieces)
    return re.compile(text, re.IGNORECASE)


def _collection_scope(path: str, type_name: str) -> ResourceId:
    """Return the scope of a collection: the parent resource of a nested type, the scope of others."""
    if type_name.count("/") > 1:
        return ResourceId(path.rpartition("/")[0])
    return ResourceId(path[: provider_at(path)])
