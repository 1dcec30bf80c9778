"""Microsoft.ManagedIdentity: user-assigned identities and their federated credentials. Source: its REST API, 2024-11-30.

Identities and their trusts are written to the directory, where Entra reads them.
"""

from __future__ import annotations

from azuresandbox.arm.managedidentity import federated, identities
from azuresandbox.arm.provider import Provider


def provider() -> Provider:
    return Provider("Microsoft.ManagedIdentity", (identities.TYPE, federated.TYPE))
