"""Reports on fleets of documents, small and large, good and bad, and a browser that opens them."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fleetlib.execution.run import RecordedChange, RecordedCheck, Run, StageResult
from fleetlib.inspect import versions
from fleetlib.inspect.fleet import Fleet
from fleetlib.inspect.reading import Inside
from fleetlib.inspect.roles import Roles
from fleetlib.parameters import Parameters
from fleetlib.report import gather
from fleetlib.report.model import Report
from tests.inspect.fleet_documents import SUBSCRIPTION, Document, Documents, condition

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
LONG = (
    "the request failed: " + "a sentence that goes on and on, " * 12 + "<script>document.title='taken over'</script> & 'more'"
)
MADE = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


ENVIRONMENTS = ("podinfo-dev", "podinfo-prod", "podinfo-staging")
KUBERNETES: list[Document] = [
    {
        "version": minor,
        "capabilities": {"supportPlan": ["KubernetesOfficial"]},
        "patchVersions": {f"{minor}.1": {}, f"{minor}.8": {}},
    }
    for minor in ("1.34", "1.35", "1.36")
]


def documents(count: int = 9, broken: tuple[int, ...] = ()) -> Documents:
    """Return a fleet of `count` clusters, in turn in three environments; ASO reports those at `broken` as failed."""
    found = Documents({name: len(range(number, count, 3)) for number, name in enumerate(ENVIRONMENTS)})
    for number in range(count):
        cluster = found.clusters[name_of(number)]["properties"]
        cluster["currentKubernetesVersion"] = cluster["agentPoolProfiles"][0]["currentOrchestratorVersion"] = (
            f"1.{34 + number % 3}.1"
        )
        cluster["agentPoolProfiles"][0]["count"] = number % 4 + 1
    for number in broken:
        failed = condition("False", "InternalServerError", LONG, severity="Error")
        found.object("ManagedCluster", name_of(number))["status"]["conditions"] = [failed]
    for number, kind in enumerate(("ManagedCluster", "Extension", "FluxConfiguration")):
        for obj in found.hub[kind]:
            name = obj["metadata"]["name"] if kind == "ManagedCluster" else obj["spec"]["owner"]["name"]
            place = int(name.split("-")[2])
            obj["metadata"]["creationTimestamp"] = f"2026-01-02T03:{place // 60 % 60:02}:{place % 60:02}Z"
            ready = obj["status"]["conditions"][0]
            ready["lastTransitionTime"] = f"2026-01-02T03:{place // 60 % 50 + 4 + 3 * number:02}:{place % 60:02}Z"
    return found


def name_of(number: int) -> str:
    """Return the name of the cluster with this number: the environments take turns."""
    return f"{ENVIRONMENTS[number % 3]}-{number // 3}-aks"


def assignment(group: str) -> dict[str, Any]:
    """Return the assignment of Contributor on the group to ASO's identity."""
    scope = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}"
    properties = {
        "scope": scope,
        "principalId": "aso",
        "principalType": "ServicePrincipal",
        "roleDefinitionId": "/roleDefinitions/c0",
    }
    return {"id": f"{scope}/roleAssignments/{group}", "name": group, "properties": properties}


def fleet(found: Documents) -> Fleet:
    """Return the fleet of these documents. Its snapshot is the fleet itself."""
    made = found.fleet()
    reading: Any = made._reading
    reading._parts["Kubernetes versions of eastus2"] = versions.parse(KUBERNETES)
    reading._parts["roles"] = Roles(
        [assignment("controlplane-rg"), assignment("myfleet-rg")],
        {"c0": "Contributor"},
        {"aso": "aso-controlplane-identity"},
        "aso",
    )
    reading._parts |= {"ASO's identity": [], "quota of eastus2": ({}, {}), "custom resource definitions": []}
    reading.session.azure.subscription_id = SUBSCRIPTION
    reading._inside.setdefault("asocluster-aks", Inside({"Deployment": []}))
    made.snapshot = lambda: made  # type: ignore[method-assign]
    return made


def run(folder: Path, failed: bool = False) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    results = [
        StageResult(
            "00_check_prerequisites",
            "skipped",
            1.5,
            "00_check_prerequisites.ipynb",
            "",
            [RecordedChange("p", "o", "create", "")],
            [RecordedCheck("ok", "yes", True, "")],
        ),
        StageResult(
            "06_deploy_workload_clusters",
            "done",
            9.1,
            "06_deploy_workload_clusters.ipynb",
            "",
            [RecordedChange("commit", "main", "update", "0 -> 3")],
        ),
        StageResult(
            "07_scale_environments",
            "failed" if failed else "done",
            4.0,
            "07_scale_environments.ipynb",
            f"it went wrong\n  answer: {LONG}\x1b[0m\x00" if failed else "",
            [RecordedChange("commit", "main", "update", "3 -> 5")],
            [RecordedCheck("all compliant", LONG if failed else "yes", not failed, "run 06 again")],
        ),
    ]
    return Run(folder, Parameters().model_dump(), results)


def report(folder: Path, count: int = 9, broken: tuple[int, ...] = (), failed: bool = False) -> Report:
    """Return a report on a fleet of `documents` and on a `run`."""
    found = gather.of_fleet(fleet(documents(count, broken)))
    found.made, found.run = MADE, run(folder, failed)
    return found


def dom(page: Path, script: str = "") -> str:
    """Return the page's DOM after its own scripts and `script` have run."""
    if script:
        page = page.with_name("driven.html")
        page.write_text(page.with_name("report.html").read_text().replace("</body>", f"<script>{script}</script></body>"))
    return _chromium(page, "--dump-dom").stdout


def title(page: Path, script: str) -> str:
    """Return the title that `script` has given to the page."""
    found = re.search(r"<title>(.*?)</title>", dom(page, script))
    assert found
    return found[1]


def screenshot(page: Path, name: str, *options: str) -> Path:
    target = page.with_name(f"{name}.png")
    _chromium(page, "--hide-scrollbars", "--window-size=1200,1000", f"--screenshot={target}", *options)
    return target


def pdf(page: Path) -> bytes:
    target = page.with_suffix(".pdf")
    _chromium(page, "--no-pdf-header-footer", f"--print-to-pdf={target}")
    return target.read_bytes()


def _chromium(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM
    profile = page.parent / "profile"
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
        *options,
    ]
    return subprocess.run([*command, page.absolute().as_uri()], capture_output=True, text=True, check=True, timeout=120)
