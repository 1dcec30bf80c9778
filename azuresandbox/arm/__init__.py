"""Azure Resource Manager, as far as a fleet of AKS clusters needs it. `docs/sandbox.md` lists what is emulated.

The core is the same for all providers; a provider is a package that exports `provider()`. Providers do not import each other,
except that AKS reads Compute's sizes and quotas. Providers write goals and read reports in `azuresandbox.fabric`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from azuresandbox.arm import (
    authorization,
    compute,
    containerservice,
    kubernetesconfiguration,
    managedidentity,
    operations,
    resourcegraph,
    resources,
)
from azuresandbox.arm.authorization import assignments
from azuresandbox.arm.provider import Provider, ResourceType
from azuresandbox.arm.resourcegraph.index import Index
from azuresandbox.arm.resources import registrations
from azuresandbox.arm.router import Arm
from azuresandbox.context import OPERATOR_OBJECT_ID, ASGIApp, Memory, Sandbox


def _providers() -> tuple[Provider, ...]:
    parts = (resources, authorization, managedidentity, compute, containerservice, kubernetesconfiguration, resourcegraph)
    return tuple(part.provider() for part in parts)


@dataclass(frozen=True)
class _Manager:
    """The resource manager of a sandbox, and Resource Graph's copy of its resources."""

    arm: Arm
    graph: Index


def _manager(sandbox: Sandbox) -> _Manager:
    providers = _providers()
    types = {provider.full_name(kind).lower(): kind for provider in providers for kind in provider.types}

    def type_of(name: str) -> ResourceType:
        return types[name.lower()]

    graph = Index(sandbox, type_of)
    routes = (*resources.routes(lambda: providers, type_of), *resourcegraph.routes(sandbox, graph))
    return _Manager(Arm(sandbox, providers, routes, registrations.registered), graph)


_MANAGER = Memory(_manager)


def app(sandbox: Sandbox) -> ASGIApp:
    """Return the resource manager's application. On the first start the sandbox's operator becomes the subscription's owner."""
    assignments.ensure_owner(sandbox, OPERATOR_OBJECT_ID)
    return _MANAGER.of(sandbox).arm.app()


async def run(sandbox: Sandbox) -> None:
    """Run long-running operations and update Resource Graph's copy until cancelled."""
    manager = _MANAGER.of(sandbox)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(operations.run(sandbox, manager.arm.type_of))
        tasks.create_task(manager.graph.follow())
