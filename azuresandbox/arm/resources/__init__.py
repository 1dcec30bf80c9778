"""Microsoft.Resources: subscriptions, resource groups, the registration of providers, resources of any type, ARM's metadata."""

from __future__ import annotations

from collections.abc import Callable

from azuresandbox.arm.provider import Provider, Route, Types
from azuresandbox.arm.resources import generic, groups, metadata, registrations, subscriptions, tags


def provider() -> Provider:
    """Return the types that long-running operations and locations look up; the paths of Microsoft.Resources are `routes`."""
    return Provider("Microsoft.Resources", (groups.TYPE, registrations.TYPE, tags.TYPE), always_registered=True)


def routes(providers: Callable[[], tuple[Provider, ...]], types: Types) -> tuple[Route, ...]:
    return (
        *metadata.routes(),
        *subscriptions.routes(),
        *registrations.routes(providers),
        *groups.routes(),
        *generic.routes(types),
    )
