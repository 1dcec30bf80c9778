"""The Kubernetes API of each managed cluster: `app` serves it, `run` makes clusters of ARM's goals.

May import the sandbox's shared modules; never another part.
"""

from __future__ import annotations

from fleetlib.sandbox.kubernetes.app import app
from fleetlib.sandbox.kubernetes.provision import run

__all__ = ["app", "run"]
