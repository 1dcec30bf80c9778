"""Drills on a running fleet: break one thing through a public interface (kubectl, Azure's SDK, Git), and run the doctor.

A drill names the finding that must appear: layer, object, message and fix. After the fix there must be no findings. All drills
share one fleet, which is healthy before and after each of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest

from fleetlib.clients.azure.roles import find
from fleetlib.inspect.fleet import Fleet as Tables
from fleetlib.stages.aso_identity import ROLE, AsoIdentity
from fleetlib.stages.prepare_fleet import PrepareFleet
from fleetlib.stages.rollout import GIT_REPOSITORY, HELM_RELEASE, MANAGED_CLUSTER, reconcile_now

pytestmark = pytest.mark.xdist_group("runbook")

PROD, STAGING, HUB = "podinfo-prod-0-aks", "podinfo-staging-0-aks", "asocluster-aks"
FLEET, CONTROL_PLANE = "myfleet-rg", "controlplane-rg"
LIMIT = 30.0
"""Seconds after which a fault, or its fix, must be visible."""


class Ward:
    """The fleet, with changes to it and waits for findings."""

    def __init__(self, home: Any) -> None:
        self.session = home.session
        self.tables = Tables(home.session)
        self.p = home.session.parameters

    def edit(self, path: str, old: str, new: str) -> None:
        """Commit one replacement, and let Flux fetch it now."""
        git = self.session.repository
        git.sync()
        text = git.read(path)
        assert text is not None and old in text, f"{path} has no {old!r}"
        git.commit({path: text.replace(old, new)}, f"{old} becomes {new}")
        self.fetch()

    def fetch(self) -> None:
        reconcile_now(self.session.hub, GIT_REPOSITORY, self.p.flux_configuration, self.p.flux_namespace)

    def until(self, seen: Callable[[pd.DataFrame], bool], what: str) -> pd.DataFrame:
        """Return the findings as soon as they are as expected; fail after `LIMIT` seconds."""
        end = time.monotonic() + LIMIT
        while True:
            frame = self.tables.doctor()
            if seen(frame):
                return frame
            assert time.monotonic() < end, f"{what}; the doctor says:\n{frame.T.to_string()}\n{frame.attrs['unread']}"


@pytest.fixture(scope="module")
def ward(shared: Any) -> Ward:
    return Ward(shared)


@dataclass(frozen=True)
class Drill:
    """A fault, its repair, and the finding between them. Each text must be contained in the finding's column."""

    spoil: Callable[[Ward], object]
    repair: Callable[[Ward], object]
    layer: str
    object: str
    reason: str
    message: str
    fix: str
    status: str = "broken"
    cluster: str = HUB


def delete_credential(w: Ward) -> None:
    w.session.azure.identities.federated_identity_credentials.delete(
        CONTROL_PLANE, w.p.aso_identity, w.p.aso_federated_credential
    )


def delete_role(w: Ward) -> None:
    stage = PrepareFleet(w.session)
    found = find(w.session.azure, stage._scope(), stage._principal(), ROLE)
    assert found is not None
    w.session.azure.authorization.role_assignments.delete_by_id(found["id"])


def suspend(on: bool) -> Callable[[Ward], None]:
    return lambda w: w.session.hub.merge(*HELM_RELEASE, "podinfoprod", w.p.flux_namespace, {"spec": {"suspend": on}}) and None


def annotate(value: str | None) -> Callable[[Ward], None]:
    marks = {"metadata": {"annotations": {"serviceoperator.azure.com/reconcile-policy": value}}}
    return lambda w: w.session.hub.merge(*MANAGED_CLUSTER, PROD, w.p.cluster_namespace, marks) and None


def tag(old: str, new: str) -> Callable[[Ward], None]:
    return lambda w: w.edit("flux/clusters/charts.yaml", f"tag: {old}", f"tag: {new}")


def stop(w: Ward) -> None:
    w.session.azure.containers.managed_clusters.begin_stop(FLEET, STAGING).result()


def start(w: Ward) -> None:
    w.session.azure.containers.managed_clusters.begin_start(FLEET, STAGING).result()


def power(on: bool) -> Callable[[Ward], object]:
    def switch(w: Ward) -> None:
        clusters = w.session.azure.containers.managed_clusters
        (clusters.begin_start if on else clusters.begin_stop)(CONTROL_PLANE, HUB).result(timeout=LIMIT)

    return switch


DRILLS: dict[str, Drill] = {
    "credential deleted": Drill(
        delete_credential,
        lambda w: AsoIdentity(w.session).apply_all(),
        "aso",
        "identity aso-controlplane-identity",
        "PromiseNotKept",
        "",
        "run 02_create_aso_identity again",
    ),
    "role removed": Drill(
        delete_role,
        lambda w: PrepareFleet(w.session).apply("role"),
        "aso",
        "role Contributor on myfleet-rg",
        "RoleAssignmentMissing",
        "ASO's identity does not have the role Contributor",
        "run notebook 04 again",
    ),
    "release suspended": Drill(
        suspend(True),
        suspend(False),
        "release",
        "HelmRelease/podinfoprod",
        "Suspended",
        "",
        "flux resume",
        "stopped",
    ),
    "object left alone": Drill(
        annotate("skip"),
        annotate(None),
        "aso",
        f"ManagedCluster/{PROD}",
        "LeftAlone",
        "reconcile-policy: skip",
        "remove the annotation",
        "stopped",
    ),
    "chart tag absent": Drill(
        tag("0.1.0", "9.9.9"),
        tag("9.9.9", "0.1.0"),
        "source",
        "OCIRepository/aso-cluster-charts",
        "OCIArtifactPullFailed",
        "MANIFEST_UNKNOWN",
        "05_publish_cluster_chart",
    ),
    "control plane stopped": Drill(power(False), power(True), "arm", HUB, "Stopped", "", "az aks start", "stopped"),
    "cluster stopped": Drill(stop, start, "arm", STAGING, "Stopped", "", "az aks start", "stopped", STAGING),
}


@pytest.mark.parametrize("name", DRILLS)
def test_the_doctor_finds_the_fault_and_nothing_after_its_repair(ward: Ward, name: str) -> None:
    drill = DRILLS[name]
    try:
        drill.spoil(ward)
        frame = ward.until(
            lambda frame: bool(((frame.reason == drill.reason) & (frame.status == drill.status)).any()), drill.reason
        )
        found = frame[frame.reason == drill.reason].iloc[0]
        assert (found.cluster, found.layer, found.object) == (drill.cluster, drill.layer, drill.object), frame.T.to_string()
        assert drill.message in (found.message or ""), found.message
        assert drill.fix in found.fix, found.fix
    finally:
        drill.repair(ward)
        ward.until(lambda frame: frame.empty, "no findings after the repair")
