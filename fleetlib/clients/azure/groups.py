"""Resource groups. Source: Microsoft.Resources/resourceGroups."""

from __future__ import annotations

from typing import Any

from fleetlib.change import Step
from fleetlib.clients.azure.calls import ArmRequest, collect, read
from fleetlib.clients.azure.clients import Azure
from fleetlib.errors import FinalError


def get(azure: Azure, name: str) -> dict[str, Any] | None:
    """Return the resource group; `None` if it does not exist."""
    return read(lambda: azure.resources.resource_groups.get(name), name)


def ensure(azure: Azure, name: str, location: str) -> Step:
    """Return the step that creates the group. It raises `FinalError` if the group is in another region, which cannot change."""

    def compare(current: dict[str, Any]) -> list[str]:
        if current["location"] != location:
            raise FinalError(
                f"the resource group is in {current['location']}, not in {location}",
                target=name,
                fix="set the parameter location to the group's, choose another group, or tear down first",
            )
        return []

    def create(current: Any) -> ArmRequest:
        return ArmRequest(
            lambda **options: azure.resources.resource_groups.create_or_update(name, {"location": location}, **options),
            "create the resource group",
            name,
        )

    return Step("resource group", name, lambda: get(azure, name), create, compare)


def contents(azure: Azure, name: str) -> list[dict[str, Any]]:
    """Return all resources in the group."""
    return collect(lambda: azure.resources.resources.list_by_resource_group(name), name)


def delete(azure: Azure, name: str, timeout: float) -> Step:
    """Return the step that deletes the group with all resources in it."""

    def remove(current: Any) -> ArmRequest:
        return ArmRequest(
            lambda **options: azure.resources.resource_groups.begin_delete(name, **options),
            f"delete the resource group {name}",
            name,
            timeout,
        )

    return Step("resource group", name, lambda: get(azure, name), remove, absent=True)


def list_all(azure: Azure) -> list[dict[str, Any]]:
    """Return all resource groups of the subscription."""
    return collect(lambda: azure.resources.resource_groups.list(), azure.subscription_id)
