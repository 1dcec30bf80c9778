"""The Kubernetes API of each managed cluster: `app` serves it, `run` makes clusters of ARM's goals.

May import the sandbox's shared modules; never another part.
"""

from __future__ import annotations

from azuresandbox.context import ASGIApp, Sandbox
from azuresandbox.kubernetes.api import handler
from azuresandbox.kubernetes.life import provision
from azuresandbox.kubernetes.life.provision import run

__all__ = ["app", "run"]


def app(sandbox: Sandbox) -> ASGIApp:
    """Serves `/clusters/<id>/...` and `/oidc/<id>/...`, for the clusters of a former run at once."""
    provision.restore(sandbox)
    return handler.app(sandbox)
