"""Azure Resource Manager, as far as a fleet of AKS clusters needs it. `docs/sandbox.md` lists what is emulated.

The core is the same for all providers; a provider is a package that exports `provider()`. Providers do not import each other
(but AKS counts with Compute's sizes and quotas), nor Entra, nor the data plane: goals and reports go through `sandbox/fabric.py`.
"""

from __future__ import annotations

from fleetlib.sandbox.arm import (
    authorization,
    compute,
    containerservice,
    kubernetesconfiguration,
    managedidentity,
    operations,
    resources,
)
from fleetlib.sandbox.arm.authorization import assignments
from fleetlib.sandbox.arm.provider import Provider
from fleetlib.sandbox.arm.resources import registrations
from fleetlib.sandbox.arm.router import Arm
from fleetlib.sandbox.context import OPERATOR_OBJECT_ID, ASGIApp, Sandbox


def _providers() -> tuple[Provider, ...]:
    parts = (resources, authorization, managedidentity, compute, containerservice, kubernetesconfiguration)
    return tuple(part.provider() for part in parts)


def _arm(sandbox: Sandbox) -> Arm:
    """The one resource manager of a sandbox."""
    if "arm" not in sandbox.extras:
        providers = _providers()
        types = {provider.full_name(kind).lower(): kind for provider in providers for kind in provider.types}
        routes = resources.routes(lambda: providers, lambda name: types[name.lower()])
        sandbox.extras["arm"] = Arm(sandbox, providers, routes, registrations.registered)
    arm: Arm = sandbox.extras["arm"]
    return arm


def app(sandbox: Sandbox) -> ASGIApp:
    """The resource manager's HTTP interface. On the first start the sandbox's operator becomes the subscription's owner."""
    assignments.ensure_owner(sandbox, OPERATOR_OBJECT_ID)
    return _arm(sandbox).app()


async def run(sandbox: Sandbox) -> None:
    """Work off long-running operations until cancelled."""
    await operations.run(sandbox, _arm(sandbox).type_of)
