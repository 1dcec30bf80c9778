"""Role assignments, at any scope that exists. They stay when their principal is deleted, as on Azure.

Messages after Azure's: Azure/azure-cli#33586 (PrincipalNotFound), "Troubleshoot Azure RBAC" (limits, updates, replication).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from azuresandbox import directory
from azuresandbox.arm import access, engine, errors, models, records, roles
from azuresandbox.arm.authorization.definitions import VERSIONS, definition_id, definition_missing
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.provider import Answer, Document, Request, ResourceType
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import ResourceId
from azuresandbox.clock import rfc3339_micro
from azuresandbox.context import Sandbox

TYPE_NAME = "Microsoft.Authorization/roleAssignments"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
Test = Callable[[Resource], bool]


def make(scope: str, name: str, principal: str, principal_type: str, role_definition: str, now: str, by: str) -> Resource:
    """Return a new assignment; `scope` "" is the tenant."""
    document: Document = {
        "properties": {
            "roleDefinitionId": role_definition,
            "principalId": principal,
            "principalType": principal_type,
            "scope": scope or "/",
            "condition": None,
            "conditionVersion": None,
            "createdOn": now,
            "updatedOn": now,
            "createdBy": by,
            "updatedBy": by,
            "delegatedManagedIdentityResourceId": None,
            "description": None,
        },
        "id": f"{scope}/providers/{TYPE_NAME}/{name}",
        "type": TYPE_NAME,
        "name": name,
    }
    return Resource(ResourceId(document["id"]), document)


def ensure_owner(sandbox: Sandbox, object_id: str) -> None:
    """Make the sandbox's operator the owner of the subscription, on the first start."""
    store = sandbox.store
    if store.get(records.PARTITION, "meta/owner") is not None:
        return
    scope = f"/subscriptions/{sandbox.subscription_id}"
    owner = roles.by_id(roles.OWNER)
    assert owner is not None
    now = rfc3339_micro(sandbox.clock.now())
    name = "00000000-0000-4000-8000-" + object_id[-12:]
    with store.transaction():
        role = definition_id(owner, sandbox.subscription_id)
        records.put(
            store,
            make(
                scope, name, principal=object_id, principal_type="ServicePrincipal", role_definition=role, now=now, by=object_id
            ),
        )
        store.put(records.PARTITION, "meta/owner", object_id.encode())


async def _handle(request: Request) -> Answer:
    handlers = {"PUT": _put, "DELETE": _delete, "GET": _get, "HEAD": _get}
    return handlers[request.method](request)


def _get(request: Request) -> Answer:
    found = records.get(request.sandbox.store, request.id)
    if found is None:
        raise ArmError(404, "RoleAssignmentNotFound", f"The role assignment '{request.id.name}' is not found.")
    return Answer(200, found.document)


def _delete(request: Request) -> Answer:
    found = records.get(request.sandbox.store, request.id)
    if found is None:
        return Answer(204)
    records.delete(request.sandbox.store, request.id)
    return Answer(200, found.document)


def _put(request: Request) -> Answer:
    store, scope, name = request.sandbox.store, request.id.scope, request.id.name
    if GUID.fullmatch(name) is None:
        raise ArmError(
            400,
            "InvalidRoleAssignmentId",
            f"The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID.",
        )
    _check_scope(request, scope)
    given = _properties(request)
    role = roles.by_id(str(given["roleDefinitionId"]))
    if role is None:
        raise definition_missing(str(given["roleDefinitionId"]).rpartition("/")[2])
    principal_type = _principal_type(request, given)
    existing = records.get(store, request.id)
    if existing is not None:
        return _again(existing, given, role.id)
    for other in access.assignments_at(store, scope):
        if other.properties["principalId"] == given["principalId"] and other.properties["roleDefinitionId"].endswith(role.id):
            raise ArmError(
                409,
                "RoleAssignmentExists",
                "The role assignment already exists. The ID of the existing role assignment is "
                f"{other.id.name.replace('-', '')}.",
            )
    now = rfc3339_micro(request.sandbox.clock.now())
    definition = definition_id(role, scope.subscription)
    made = make(
        str(scope),
        name,
        principal=given["principalId"],
        principal_type=principal_type,
        role_definition=definition,
        now=now,
        by=request.caller.object_id,
    )
    made.properties.update({key: given[key] for key in ("condition", "conditionVersion", "description") if key in given})
    records.put(store, made)
    return Answer(201, made.document)


def _check_scope(request: Request, scope: ResourceId) -> None:
    store = request.sandbox.store
    if scope.group and not records.group_exists(store, scope):
        raise errors.group_not_found(scope.group)
    if scope.namespace and records.get(store, scope) is None:
        raise errors.resource_not_found(scope.label, scope.group)


def _properties(request: Request) -> Document:
    """Return the body's properties, checked against the model, principal id in lower case."""
    mismatch = models.first_mismatch("authorization.RoleAssignmentCreateParameters", request.body)
    if mismatch is not None:
        raise errors.malformed(mismatch)
    given = dict(models.normalized("authorization.RoleAssignmentCreateParameters", request.body).get("properties") or {})
    if not given.get("roleDefinitionId") or not given.get("principalId"):
        raise ArmError(400, "InvalidCreateRoleAssignmentRequest", "Role assignment creation request is not valid.")
    if GUID.fullmatch(given["principalId"]) is None:
        raise ArmError(
            400,
            "InvalidPrincipalId",
            f"A valid principal ID must be provided for role assignment: '{given['principalId']}' is not a GUID.",
        )
    if given.get("condition"):
        raise errors.not_emulated("conditions of role assignments")
    given["principalId"] = given["principalId"].lower()
    return given


def _principal_type(request: Request, given: Document) -> str:
    """Return the principal's type. With `principalType` in the request, Azure does not wait for the directory's replication."""
    sandbox, wanted = request.sandbox, str(given.get("principalType") or "")
    principal = directory.by_object_id(sandbox.store, given["principalId"])
    lagging = not wanted and sandbox.faults.take("principal-not-found", given["principalId"]) is not None
    if lagging or (principal is None and not wanted):
        message = (
            f"Principal {given['principalId'].replace('-', '')} does not exist in the directory {sandbox.tenant_id}. Check "
            "that you "
            "have the correct principal ID. If you are creating this principal and then immediately assigning a role, this "
            "error "
            "might be related to a replication delay. In this case, set the role assignment principalType property to a value, "
            "such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype"
        )
        raise ArmError(400, "PrincipalNotFound", message)
    if wanted and wanted not in ("ServicePrincipal", "User", "Group", "ForeignGroup", "Device"):
        message = (
            f"Error converting value \"{wanted}\" to type 'PrincipalType'. Path 'properties.principalType', line 1, position 1."
        )
        raise errors.content_invalid(message)
    if principal is not None and wanted not in ("", "ServicePrincipal"):
        message = (
            f"The PrincipalId '{given['principalId'].replace('-', '')}' has type 'ServicePrincipal' , which is different from "
            f"specified PrinciaplType '{wanted}'."
        )
        raise ArmError(400, "UnmatchedPrincipalType", message)
    return wanted or "ServicePrincipal"


def _again(existing: Resource, given: Document, role_id: str) -> Answer:
    """Raise the 409 of a PUT on an existing assignment: it exists already, or the PUT would change its principal or role."""
    held = existing.properties
    if held["principalId"] != given["principalId"]:
        message = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
        raise ArmError(409, "RoleAssignmentUpdateNotPermitted", message)
    if not held["roleDefinitionId"].endswith(role_id):
        message = "The role definition of a role assignment is not allowed to be updated."
        raise ArmError(409, "RoleAssignmentUpdateNotPermitted", message)
    raise ArmError(
        409,
        "RoleAssignmentExists",
        f"The role assignment already exists. The ID of the existing role assignment is {existing.id.name.replace('-', '')}.",
    )


async def _list(request: Request) -> Answer:
    """Return the assignments at the scope, above it and below it; `$filter` narrows them."""
    store, scope = request.sandbox.store, request.id
    if scope.group:
        _check_scope(request, scope)
    above = [a for place in scope.ancestors[1:] for a in access.assignments_at(store, place)]
    at = access.assignments_at(store, scope)
    own = {resource.id.key for resource in at}
    below = [a for a in records.under(store, scope, TYPE_NAME) if a.id.key not in own] if scope.text else []
    tests, at_scope = _parse(request.query.get("filter", ""))
    found: Iterable[Resource] = (*at, *above) if at_scope else (*at, *above, *below)
    return engine.paged(request, [a.document for a in found if all(test(a) for test in tests)])


def _parse(expression: str) -> tuple[list[Test], bool]:
    """Return the tests of a filter, and whether it has `atScope()`.

    `atScope()`, `principalId eq 'x'`, `assignedTo('x')`, `roleDefinitionId eq 'x'` are understood, joined by `and`.
    """
    tests: list[Test] = []
    at_scope = False
    for clause in filter(None, re.split(r"\s+and\s+", expression.strip(), flags=re.IGNORECASE)):
        principal = re.fullmatch(r"(?:principalId\s+eq\s+'([^']*)'|assignedTo\('([^']*)'\))", clause, re.IGNORECASE)
        role = re.fullmatch(r"roleDefinitionId\s+eq\s+'([^']*)'", clause, re.IGNORECASE)
        if re.fullmatch(r"atScope\(\)", clause, re.IGNORECASE):
            at_scope = True
        elif principal:
            tests.append(_equals("principalId", (principal[1] or principal[2] or "").lower()))
        elif role:
            tests.append(_equals("roleDefinitionId", role[1].lower()))
        else:
            raise ArmError(400, "InvalidFilter", f"The filter '{expression}' is not supported for role assignments.")
    return tests, at_scope


def _equals(name: str, value: str) -> Test:
    return lambda assignment: str(assignment.properties[name]).lower() == value


TYPE = ResourceType(
    "roleAssignments", VERSIONS, tracked=False, verbs=frozenset({"GET", "LIST", "PUT", "DELETE"}), whole=_handle, lists=_list
)
