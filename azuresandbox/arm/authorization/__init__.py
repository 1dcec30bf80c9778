"""Microsoft.Authorization: role definitions (built in) and role assignments. Source: the Authorization REST API, 2022-04-01.

The core enforces them (`arm/access.py`).
"""

from __future__ import annotations

from azuresandbox.arm.authorization import assignments, definitions, permissions
from azuresandbox.arm.provider import Provider


def provider() -> Provider:
    return Provider("Microsoft.Authorization", (definitions.TYPE, assignments.TYPE, permissions.TYPE), always_registered=True)
