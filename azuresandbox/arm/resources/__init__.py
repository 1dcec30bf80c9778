"""Microsoft.Resources: subscriptions, resource groups, the registration of providers, resources of any type, ARM's metadata."""

from __future__ import annotations

from collections.abc import Callable

from azuresandbox.arm.provider import Provider, ResourceType
from azuresandbox.arm.resources import generic, groups, metadata, registrations, subscriptions, tags
from azuresandbox.arm.router import Route


def provider() -> Provider:
    """What long-running operations and locations know it by; its paths are `routes`."""
    return Provider("Microsoft.Resources", (groups.TYPE, registrations.TYPE, tags.TYPE), always_registered=True)


def routes(providers: Callable[[], tuple[Provider, ...]], types: Callable[[str], ResourceType]) -> tuple[Route, ...]:
    return (
        *metadata.routes(),
        *subscriptions.routes(),
        *registrations.routes(providers),
        *groups.routes(),
        *generic.routes(types),
    )
