"""The contract between ARM's core and the resource providers: a provider is a namespace and a table of `ResourceType`s.

The core (`router.py`, `engine.py`, `operations.py`) does the work that is the same for every type: authentication, role
assignments, api-version, registration, locations, unknown properties, etags, paging, the envelope, busy resources,
long-running operations and their headers, cascading deletion. A type's entry says how it differs.

A provider is a package `arm/<name>/` with `def provider() -> Provider`, listed in `arm/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from azuresandbox.arm import records
from azuresandbox.arm.errors import ArmError, not_emulated
from azuresandbox.arm.models import Mismatch
from azuresandbox.arm.operation_records import DELETE, PUT, Operation
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import ResourceId
from azuresandbox.context import Sandbox

Document = dict[str, Any]


@dataclass(frozen=True)
class Caller:
    """The principal of a verified token."""

    app_id: str
    object_id: str
    tenant_id: str


@dataclass(frozen=True)
class Request:
    """One authenticated and authorized call.

    `id` is the resource's for GET, PUT, PATCH, DELETE and actions; for a list it is the collection's parent or scope.
    `query` has its names in lower case without `$`; `headers` in lower case; `namespace` is the provider's;
    `narrowed`: a list shows only the items that the caller may read.
    """

    sandbox: Sandbox
    method: str
    id: ResourceId
    type: ResourceType
    api_version: str
    caller: Caller
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Document
    namespace: str
    path: str = ""
    narrowed: bool = False

    @property
    def location(self) -> str:
        """The name of the location in lower case, for types under `locations`."""
        return self.id.name.lower()


@dataclass
class Answer:
    """The answer of a handler. `operation`: the long-running operation that it has just started; the core adds its headers."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    operation: Operation | None = None


@dataclass
class Write:
    """A PUT or PATCH that the core has checked (rights, parent, location, known properties, not busy, etag).

    `current` is the stored resource, `None` for a creation. `document` is the one to store: for PUT the body with id, name,
    type
    (location and tags as sent), for PATCH the stored document with the body's `tags`. The hook `prepare` completes it in place
    (defaults, read-only properties) or raises `ArmError`. `private` is stored beside it.
    """

    request: Request
    current: Resource | None
    document: Document
    private: Document

    @property
    def sandbox(self) -> Sandbox:
        return self.request.sandbox

    @property
    def id(self) -> ResourceId:
        return self.request.id

    @property
    def properties(self) -> Document:
        found: Document = self.document.setdefault("properties", {})
        return found

    @property
    def before(self) -> Document:
        """The stored properties, {} for a creation."""
        return self.current.properties if self.current else {}


@dataclass
class Work:
    """One run of an operation, the argument of its runner. Time passes with `await work.sandbox.clock.work(seconds)`.

    `types`: full name -> resource type, for operations that reach other resources.
    """

    sandbox: Sandbox
    operation: Operation
    type: ResourceType
    types: Types

    def resource(self) -> Resource:
        """Return the resource as stored now. Raises `ArmError` if it has been removed."""
        found = records.get(self.sandbox.store, self.operation.resource_id)
        if found is None:
            raise ArmError(409, "OperationPreempted", "The resource was removed while the operation was running.")
        return found

    def update(self, change: Callable[[Resource], None]) -> Resource:
        """Change the stored resource in one step, and return it. Raises `ArmError` if it has been removed."""
        found = records.update(self.sandbox.store, self.operation.resource_id, change)
        return found if found is not None else self.resource()


@dataclass(frozen=True)
class Runner:
    """A kind of long-running operation: `run` does the work, `name` is stored with the operation.

    A runner is started again after a restart of the sandbox, so it must be able to continue its own half-done work. An
    `ArmError` that it raises ends the operation in Failed.
    """

    name: str
    run: Callable[[Work], Awaitable[None]]


def put(run: Callable[[Work], Awaitable[None]]) -> Runner:
    """Return the runner of a type whose PUT and PATCH are long-running."""
    return Runner(PUT, run)


def delete(run: Callable[[Work], Awaitable[None]]) -> Runner:
    """Return the runner of a type whose DELETE is long-running."""
    return Runner(DELETE, run)


class UnknownRunner(LookupError):
    """A stored operation names a runner that its resource type does not have."""

    def __init__(self, type_name: str, name: str) -> None:
        super().__init__(f"the resource type '{type_name}' has no operation named '{name}'")


Handler = Callable[[Request], Awaitable[Answer]]


def refuse(what: str) -> Handler:
    """Return a handler that refuses `what` as not emulated."""

    async def handle(request: Request) -> Answer:
        raise not_emulated(what)

    return handle


Prepare = Callable[[Write], None]
Show = Callable[[Request, Resource], Document]
Busy = Callable[[Resource, Operation], ArmError]


@dataclass(frozen=True)
class ResourceType:
    """One row of a provider's table.

    name            `managedClusters/agentPools`: without the namespace, in the case documents show it
    api_versions    all that exist, newest first
    model           key of the schema in `arm/data/models.json` (tools/arm_models.py); its unknown properties are refused.
                    "" accepts any body
    patch_model     the same for PATCH bodies; "" means tags only (`{"tags": {...}}`)
    verbs           of GET LIST PUT PATCH DELETE; others are answered 405. Actions are named in `actions`
    tracked         has a location and tags; a PUT without location is refused
    extends         types it may extend ("Microsoft.ContainerService/managedClusters"); () for types in a resource group,
                    a subscription or nested in another type
    prepare         completes a PUT or PATCH, see `Write`
    runners         the type's long-running operations. With a `put()`, PUT and PATCH are long-running (201/200 and
                    `Azure-AsyncOperation`, provisioningState Creating/Updating until done); with a `delete()`, so is DELETE
                    (202). Actions start the others with `operations.begin(request, runner, state)`
    actions         lower-cased last segment of a POST -> handler
    get, lists      replace reading and listing of stored resources, for computed types (kubernetesVersions, skus)
    whole           answers GET, PUT, PATCH and DELETE itself: for types that are not stored as resources of their own
    show            returns the document that GET shows of a stored resource; default: the stored one
    check_delete    called before a DELETE is accepted: refuses it, or returns the input of its runner
    remove          called (synchronously) before the record of a resource is deleted; for types without `delete()` runner
    busy            the 409 while an operation on the resource is in progress; default AnotherOperationInProgress
    malformed       words the refusal of a body that does not fit the model; default InvalidRequestContent, Newtonsoft's words
    rank            order of deletion with the group: lower ranks first
    etag_at         "" or the name under which the document shows its etag ("eTag")
    name_rule       regular expression the last name must match in full; `name_error(name)` words the refusal
    regions         where it is offered, () for everywhere
    retry_after     the seconds that the real provider asks clients to wait between polls
    """

    name: str
    api_versions: tuple[str, ...]
    model: str = ""
    patch_model: str = ""
    verbs: frozenset[str] = frozenset({"GET", "LIST", "PUT", "PATCH", "DELETE"})
    tracked: bool = True
    extends: tuple[str, ...] = ()
    prepare: Prepare | None = None
    runners: tuple[Runner, ...] = ()
    actions: Mapping[str, Handler] = field(default_factory=dict)
    get: Handler | None = None
    lists: Handler | None = None
    whole: Handler | None = None
    show: Show | None = None
    check_delete: Callable[[Request, Resource], Document] | None = None
    remove: Callable[[Sandbox, Resource], None] | None = None
    busy: Busy | None = None
    malformed: Callable[[Mismatch], ArmError] | None = None
    rank: int = 50
    etag_at: str = ""
    name_rule: str = ""
    name_error: Callable[[str], ArmError] | None = None
    regions: tuple[str, ...] = ()
    retry_after: float = 15.0

    @property
    def put_runner(self) -> Runner | None:
        """The runner of PUT and PATCH, `None` if the type answers them at once."""
        return self._find(PUT)

    @property
    def delete_runner(self) -> Runner | None:
        """The runner of DELETE, `None` if the type answers it at once."""
        return self._find(DELETE)

    def runner(self, name: str) -> Runner:
        """Return the runner that a stored operation names. Raises `UnknownRunner`."""
        found = self._find(name)
        if found is None:
            raise UnknownRunner(self.name, name)
        return found

    def _find(self, name: str) -> Runner | None:
        return next((runner for runner in self.runners if runner.name == name), None)


Types = Callable[[str], ResourceType]
"""Full name of a resource type -> the type."""


@dataclass(frozen=True)
class Provider:
    """A namespace with its types. `always_registered`: needs no registration (Authorization, Resources)."""

    namespace: str
    types: tuple[ResourceType, ...]
    always_registered: bool = False

    def full_name(self, kind: ResourceType) -> str:
        return f"{self.namespace}/{kind.name}"


@dataclass(frozen=True)
class Route:
    """A path of ARM's own (Microsoft.Resources) without `providers/{namespace}`, or a provider's path that names no resource.

    `pattern`: the path, `{name}` for a segment; its literals are compared without regard to case. `scope` is where the caller
    needs `action`: a path with the same placeholders; without `action` any caller is allowed. `id`: the handler's `request.id`,
    by
    default the whole path. `open`: without authentication; `listing`: narrowed to the items that the caller may read;
    `namespace`: the path's provider.
    """

    method: str
    pattern: str
    type: ResourceType
    handler: Handler
    action: str = ""
    scope: str = ""
    id: str = ""
    open: bool = False
    listing: bool = False
    namespace: str = "Microsoft.Resources"
