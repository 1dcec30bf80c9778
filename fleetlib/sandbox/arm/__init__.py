"""Azure Resource Manager, as far as a fleet of AKS clusters needs it. `docs/sandbox.md` lists what is emulated.

The core is the same for all providers; a provider is a package that exports `provider()`. Providers do not import each other
(but AKS counts with Compute's sizes and quotas), nor Entra, nor the data plane: goals and reports go through `sandbox/fabric.py`.
"""

from __future__ import annotations

import asyncio

from fleetlib.sandbox.arm import (
    authorization,
    compute,
    containerservice,
    kubernetesconfiguration,
    managedidentity,
    operations,
    resourcegraph,
    resources,
)
from fleetlib.sandbox.arm.authorization import assignments
from fleetlib.sandbox.arm.provider import Provider, ResourceType
from fleetlib.sandbox.arm.resources import registrations
from fleetlib.sandbox.arm.router import Arm
from fleetlib.sandbox.context import OPERATOR_OBJECT_ID, ASGIApp, Sandbox


def _providers() -> tuple[Provider, ...]:
    parts = (resources, authorization, managedidentity, compute, containerservice, kubernetesconfiguration, resourcegraph)
    return tuple(part.provider() for part in parts)


def _arm(sandbox: Sandbox) -> Arm:
    """The one resource manager of a sandbox."""
    if "arm" not in sandbox.extras:
        providers = _providers()
        types = {provider.full_name(kind).lower(): kind for provider in providers for kind in provider.types}

        def type_of(name: str) -> ResourceType:
            return types[name.lower()]

        routes = (*resources.routes(lambda: providers, type_of), *resourcegraph.routes(sandbox, type_of))
        sandbox.extras["arm"] = Arm(sandbox, providers, routes, registrations.registered)
    arm: Arm = sandbox.extras["arm"]
    return arm


def app(sandbox: Sandbox) -> ASGIApp:
    """The resource manager's HTTP interface. On the first start the sandbox's operator becomes the subscription's owner."""
    assignments.ensure_owner(sandbox, OPERATOR_OBJECT_ID)
    return _arm(sandbox).app()


async def run(sandbox: Sandbox) -> None:
    """Work off long-running operations, and keep Resource Graph's copy, until cancelled."""
    types = _arm(sandbox).type_of
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(operations.run(sandbox, types))
        tasks.create_task(resourcegraph.index(sandbox, types).follow())
