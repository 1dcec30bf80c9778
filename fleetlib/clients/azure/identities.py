"""User-assigned managed identities and their federated credentials. Source: Microsoft.ManagedIdentity."""

from __future__ import annotations

from typing import Any

from fleetlib.change import Step
from fleetlib.clients.azure.calls import ArmRequest, collect, read
from fleetlib.clients.azure.clients import Azure

AUDIENCE = "api://AzureADTokenExchange"
"""The audience of tokens for Entra's federated exchange."""


def get(azure: Azure, group: str, name: str) -> dict[str, Any] | None:
    """Return the identity, with `properties.clientId` and `properties.principalId`; `None` if it does not exist."""
    return read(lambda: azure.identities.user_assigned_identities.get(group, name), name)


def ensure(azure: Azure, group: str, name: str, location: str) -> Step:
    """Return the step that creates the identity."""

    def create(current: Any) -> ArmRequest:
        from azure.mgmt.msi.models import Identity

        body = Identity(location=location)
        return ArmRequest(
            lambda **options: azure.identities.user_assigned_identities.create_or_update(group, name, body, **options),
            "create the identity",
            name,
        )

    return Step("managed identity", name, lambda: get(azure, group, name), create)


def federated_credentials(azure: Azure, group: str, identity: str) -> list[dict[str, Any]]:
    """Return the identity's federated credentials."""
    return collect(lambda: azure.identities.federated_identity_credentials.list(group, identity), identity)


def ensure_federated(azure: Azure, group: str, identity: str, name: str, issuer: str, subject: str) -> Step:
    """Return the step that creates a federated credential for `issuer` and `subject`.

    An existing credential for both is used, even if its name differs: Azure does not allow a second one.
    """

    def find() -> dict[str, Any] | None:
        if get(azure, group, identity) is None:
            return None
        found = federated_credentials(azure, group, identity)
        same = [item for item in found if _trusts(item, issuer, subject)]
        return next((item for item in found if item["name"] == name), same[0] if same else None)

    def compare(current: dict[str, Any]) -> list[str]:
        actual, wanted = current["properties"], {"issuer": issuer, "subject": subject, "audiences": [AUDIENCE]}
        return [f"{key}: {actual.get(key)} -> {value}" for key, value in wanted.items() if actual.get(key) != value]

    def put(current: Any) -> ArmRequest:
        from azure.mgmt.msi.models import FederatedIdentityCredential

        body = FederatedIdentityCredential(issuer=issuer, subject=subject, audiences=[AUDIENCE])
        target = current["name"] if current else name
        return ArmRequest(
            lambda **options: azure.identities.federated_identity_credentials.create_or_update(
                group, identity, target, body, **options
            ),
            "write the federated credential",
            target,
        )

    return Step("federated credential", name, find, put, compare)


def _trusts(credential: dict[str, Any], issuer: str, subject: str) -> bool:
    properties = credential["properties"]
    return bool(properties["issuer"] == issuer and properties["subject"] == subject)
