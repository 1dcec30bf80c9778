"""The Kubernetes API of each managed cluster: `app` serves it, `run` creates and removes clusters as ARM's goals say.

`api` answers requests, `state` is one cluster's data, `model` has pure functions on objects, and `life` has the work without
a request: creating clusters and running the controllers of the API server.
"""

from __future__ import annotations

from azuresandbox.context import ASGIApp, Sandbox
from azuresandbox.kubernetes.api import handler
from azuresandbox.kubernetes.life import provision
from azuresandbox.kubernetes.life.provision import run

__all__ = ["app", "run"]


def app(sandbox: Sandbox) -> ASGIApp:
    """Return the ASGI app for `/clusters/<id>/...` and `/oidc/<id>/...`; it serves the clusters of earlier runs at once."""
    provision.restore(sandbox)
    return handler.app(sandbox)
