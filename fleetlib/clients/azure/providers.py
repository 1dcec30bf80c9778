"""Resource providers and their registration with the subscription. Source: Microsoft.Resources/providers."""

from __future__ import annotations

from typing import Any

from fleetlib.change import Step
from fleetlib.clients.azure.calls import ArmRequest, read, required
from fleetlib.clients.azure.clients import Azure
from fleetlib.progress import waiting

NEEDED = (
    "Microsoft.ContainerService",
    "Microsoft.ManagedIdentity",
    "Microsoft.Authorization",
    "Microsoft.KubernetesConfiguration",
    "Microsoft.Compute",
)


def get(azure: Azure, namespace: str) -> dict[str, Any]:
    """Return the resource provider. Raises `FinalError` if Azure does not have it."""
    return required(read(lambda: azure.resources.providers.get(namespace), namespace), f"provider {namespace}", "00")


def ensure(azure: Azure, namespace: str, timeout: float) -> Step:
    """Return the step that registers the provider."""

    def compare(current: dict[str, Any]) -> list[str]:
        state = current["registrationState"]
        return [] if state == "Registered" else [f"registrationState: {state} -> Registered"]

    def register(current: Any) -> ArmRequest:
        return ArmRequest(
            lambda **options: azure.resources.providers.register(namespace, **options), "register the provider", namespace
        )

    def await_registered(answer: Any) -> None:
        with waiting(f"register {namespace}", timeout) as wait:
            while (state := get(azure, namespace)["registrationState"]) != "Registered":
                wait.update(0, 1, state)
                pause(min(wait.remaining(), 2))

    return Step("provider", namespace, lambda: get(azure, namespace), register, compare, settle=await_registered)


def pause(seconds: float) -> None:
    """Wait between two reads of a state for which Azure has neither a watch nor an operation."""
    import time

    time.sleep(seconds)


def locations(azure: Azure, namespace: str, resource_type: str) -> set[str]:
    """Return the regions that offer a resource type, by ARM's short names (`eastus2`)."""
    types = get(azure, namespace).get("resourceTypes") or []
    offered = [item["locations"] for item in types if item["resourceType"].lower() == resource_type.lower()]
    return {name.replace(" ", "").lower() for names in offered for name in names}
