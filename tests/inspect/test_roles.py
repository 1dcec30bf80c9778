"""The table of role assignments; a missing one that the runbook needs is a broken row."""

from __future__ import annotations

from typing import Any

from fleetlib.errors import FinalError
from fleetlib.inspect.fleet import Fleet
from fleetlib.inspect.roles import Roles
from fleetlib.parameters import Parameters
from tests.inspect.fleet_documents import SUBSCRIPTION, Documents

SCOPE = f"/subscriptions/{SUBSCRIPTION}"
ASO, OPERATOR, STRANGER = ("aaaaaaaa-0000", "bbbbbbbb-0000", "cccccccc-0000")


def assignment(scope: str, role: str, principal: str) -> dict[str, Any]:
    name = f"{abs(hash((scope, role, principal))):x}"
    properties = {
        "roleDefinitionId": f"{SCOPE}/providers/Microsoft.Authorization/roleDefinitions/{role}",
        "principalId": principal,
        "principalType": "ServicePrincipal",
        "scope": scope,
        "createdOn": "2026-01-02T03:04:05.1Z",
    }
    return {"id": f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}", "name": name, "properties": properties}


def fleet(*assignments: dict[str, Any]) -> Fleet:
    found = Documents(parameters=Parameters(subscription_id=SUBSCRIPTION)).fleet()
    principals = {ASO: "aso-controlplane-identity", OPERATOR: "(you)"}
    reading: Any = found._reading
    reading._parts["roles"] = Roles(list(assignments), {"c0": "Contributor", "00": "Owner"}, principals, ASO)
    return found


def groups(*names: str) -> list[str]:
    return [f"{SCOPE}/resourceGroups/{name}" for name in names]


def test_needed_inherited_and_foreign_assignments() -> None:
    hub, ours = groups("Controlplane-RG", "myfleet-rg")  # ARM returns ids in the case of the request
    frame = fleet(
        assignment(hub, "c0", ASO),
        assignment(ours, "c0", ASO),
        assignment(SCOPE, "00", OPERATOR),
        assignment(ours, "00", STRANGER),
    ).roles()
    assert set(frame.status) == {"ok"} and len(frame) == 4
    needed = frame[frame.needed]
    assert set(needed.scope) == {"Controlplane-RG", "myfleet-rg"} and set(needed.principal) == {"aso-controlplane-identity"}
    above = frame[frame.inherited].iloc[0]
    assert (above.scope, above.role, above.principal, above.needed) == ("subscription", "Owner", "(you)", False)
    stranger = frame[frame.principal_id == STRANGER].iloc[0]
    assert stranger[["principal"]].isna().all() and not stranger.needed


def test_a_missing_assignment_is_a_broken_row_that_names_its_notebook() -> None:
    hub, ours = groups("controlplane-rg", "myfleet-rg")
    frame = fleet(assignment(hub, "c0", ASO), assignment(ours, "00", ASO), assignment(ours, "c0", STRANGER)).roles()
    [missing] = [row for _, row in frame[frame.status == "broken"].iterrows()]
    assert (missing.scope, missing.role, missing.needed) == ("myfleet-rg", "Contributor", True)
    assert missing.message == "ASO's identity does not have the role Contributor on it: run notebook 04 again"


def test_roles_that_cannot_be_read_are_unread_and_not_missing() -> None:
    found = fleet()
    reading: Any = found._reading
    del reading._parts["roles"]
    reading.unread["roles"] = FinalError("could not read from Azure", said="AuthorizationFailed: no")
    frame = found.roles()
    assert frame.empty and "AuthorizationFailed" in frame.attrs["unread"]["roles"]
