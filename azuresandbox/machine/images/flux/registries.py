"""Where the images of Flux's controllers are published."""

from __future__ import annotations

REGISTRIES = ("ghcr.io/fluxcd", "docker.io/fluxcd", "mcr.microsoft.com/oss/v2/fluxcd", "mcr.microsoft.com/oss/fluxcd")
"""Flux's own registries, and those that AKS's extension pulls from."""


def images(controller: str) -> tuple[str, ...]:
    """Return the repositories that hold a controller's image."""
    return tuple(f"{registry}/{controller}" for registry in REGISTRIES)
