"""The caller's permissions at a scope: those of all its roles there. Source: the Permissions REST API, 2022-04-01."""

from __future__ import annotations

from azuresandbox.arm import access, engine
from azuresandbox.arm.authorization.definitions import VERSIONS, permissions
from azuresandbox.arm.provider import Answer, Request, ResourceType


async def _list(request: Request) -> Answer:
    held = access.Rights(request.sandbox.store, request.caller.object_id).roles(request.id)
    return engine.paged(request, [permissions(role) for role in dict.fromkeys(held)])


TYPE = ResourceType("permissions", VERSIONS, tracked=False, verbs=frozenset({"LIST"}), lists=_list)
