"""Resource ids: compared without regard to case, and returned in the case in which they were sent.

`/subscriptions/{s}/resourceGroups/{g}/providers/{namespace}/{type}/{name}/{type}/{name}`, followed by a second
`/providers/...` for a resource that extends another one (`.../providers/Microsoft.KubernetesConfiguration/extensions/flux`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

GROUPS = "Microsoft.Resources/resourceGroups"
SUBSCRIPTIONS = "Microsoft.Resources/subscriptions"


_PROVIDERS = re.compile(r".*(/providers/)[^/]+\.[^/]", re.IGNORECASE)


def provider_at(path: str) -> int:
    """Return the position in a path of the last `/providers/` that is followed by a namespace, or -1.

    Groups and resources may be named `providers`, too.
    """
    match = _PROVIDERS.match(path)
    return match.start(1) if match else path.lower().rfind("/providers/")


@dataclass(frozen=True)
class ResourceId:
    """An id as written; `key` is the form for storing and comparing. "" is the tenant."""

    text: str

    @cached_property
    def key(self) -> str:
        return self.text.lower()

    @cached_property
    def _parts(self) -> tuple[str, ...]:
        return tuple(part for part in self.text.split("/") if part)

    @cached_property
    def subscription(self) -> str:
        return self._parts[1] if len(self._parts) > 1 and self._parts[0].lower() == "subscriptions" else ""

    @cached_property
    def group(self) -> str:
        """The resource group's name, or ""."""
        parts = self._parts
        return parts[3] if len(parts) > 3 and parts[2].lower() == "resourcegroups" else ""

    @cached_property
    def _provider_at(self) -> int:
        """The position of the last `providers` that is followed by a namespace, or -1."""
        for at in range(len(self._parts) - 2, -1, -1):
            if self._parts[at].lower() == "providers" and "." in self._parts[at + 1]:
                return at
        return -1

    @cached_property
    def namespace(self) -> str:
        """`Microsoft.ContainerService`, or "" for a group, a subscription or the tenant."""
        return self._parts[self._provider_at + 1] if self._provider_at >= 0 else ""

    @cached_property
    def kind(self) -> str:
        """The type without its namespace: `managedClusters/agentPools`."""
        if self._provider_at < 0:
            return ""
        return "/".join(self._parts[self._provider_at + 2 :: 2])

    @cached_property
    def type(self) -> str:
        """The whole type, as written in the id: `Microsoft.ContainerService/managedClusters`."""
        if self.namespace:
            return f"{self.namespace}/{self.kind}"
        return GROUPS if self.group else SUBSCRIPTIONS if self.subscription else ""

    @cached_property
    def name(self) -> str:
        return self._parts[-1] if self._parts else ""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names behind the last provider: (cluster, pool)."""
        return self._parts[self._provider_at + 3 :: 2] if self._provider_at >= 0 else (self.name,)

    @cached_property
    def scope(self) -> ResourceId:
        """The scope in which the resource lives or which it extends: all before its provider. A group's is its subscription."""
        if self._provider_at >= 0:
            return ResourceId(_join(self._parts[: self._provider_at]))
        return ResourceId(_join(self._parts[:2])) if self.group else ResourceId("")

    @cached_property
    def parent(self) -> ResourceId:
        """The resource in which it is nested; for other resources, the scope."""
        if self._provider_at >= 0 and len(self._parts) > self._provider_at + 4:
            return ResourceId(_join(self._parts[:-2]))
        return self.scope

    @cached_property
    def ancestors(self) -> tuple[ResourceId, ...]:
        """The resource and every scope above it, the tenant last: the places of its role assignments."""
        found: list[ResourceId] = [self]
        while found[-1].text:
            found.append(found[-1].parent)
        return tuple(found)

    @cached_property
    def label(self) -> str:
        """The name in ResourceNotFound's message: `Microsoft.ContainerService/managedClusters/name`."""
        return "/".join(self._parts[self._provider_at + 1 :]) if self._provider_at >= 0 else self.name

    def child(self, *parts: str) -> ResourceId:
        return ResourceId("/".join((self.text, *parts)))

    def __str__(self) -> str:
        return self.text


def _join(parts: tuple[str, ...]) -> str:
    return "/" + "/".join(parts) if parts else ""
