"""The request that a notebook shows is the request that goes over the wire: ARM, Kubernetes, Git and the registry."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from azure.core.pipeline.transport import RequestsTransport

from azuresandbox import lifecycle
from fleetlib.change import Change
from fleetlib.clients.gitops import CHART_LAYER, ChartRegistry, Repository
from fleetlib.clients.session import Session, connect
from fleetlib.parameters import Parameters
from fleetlib.request import Shown, masked
from fleetlib.stages.aso_identity import AsoIdentity
from fleetlib.stages.bootstrap_flux import BootstrapFlux
from fleetlib.stages.control_plane import ControlPlane
from fleetlib.stages.deploy_workloads import DeployWorkloads
from fleetlib.stages.prepare_fleet import PrepareFleet
from fleetlib.stages.prerequisites import Prerequisites
from fleetlib.stages.publish_chart import PublishChart
from fleetlib.stages.stage import Stage

pytestmark = pytest.mark.xdist_group("runbook")

ROOT = Path(__file__).parents[2]
WRITES = ("PUT", "PATCH", "DELETE", "POST")
READS_BY_POST = re.compile(r"/(listCluster\w+Credential|oauth2/v2\.0/token)")


@dataclass(frozen=True)
class Sent:
    """A write as it went over the wire."""

    method: str
    path: str
    body: Any


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    """All writes that azure-core and the Kubernetes client send, in order."""
    sent: list[Sent] = []
    azure, pool = RequestsTransport.send, urllib3.PoolManager.request

    def note(method: str, url: str, content: Any) -> None:
        path = "/" + url.split("/", 3)[3]
        if method in WRITES and not READS_BY_POST.search(path):
            sent.append(Sent(method, path, yaml.safe_load(content) if content else None))

    def send(self: Any, request: Any, **options: Any) -> Any:
        note(request.method, request.url, getattr(request, "content", None) or getattr(request, "body", None))
        return azure(self, request, **options)

    def request(self: Any, method: str, url: str, *arguments: Any, **options: Any) -> Any:
        note(method, url, options.get("body"))
        return pool(self, method, url, *arguments, **options)

    monkeypatch.setattr(RequestsTransport, "send", send)
    monkeypatch.setattr(urllib3.PoolManager, "request", request)
    return sent


def _show_and_apply(stage: Stage, name: str, wire: list[Sent]) -> tuple[Shown, Change, list[Sent]]:
    """Show a step, then apply it; the writes of `apply`. Showing must not write."""
    wire.clear()
    shown = stage.show(name)
    assert wire == [], f"showing {name} sent a write"
    change = stage.apply(name)
    return shown, change, list(wire)


def _assert_arm(shown: Shown, sent: list[Sent]) -> None:
    body = json.loads(shown.body) if shown.body else None
    assert (shown.head, body) == (f"{sent[0].method} {sent[0].path}", masked(sent[0].body))


def _assert_manifest(shown: Shown, sent: list[Sent]) -> None:
    assert sent[0].method == "PATCH"
    assert yaml.safe_load(shown.body) == masked(sent[0].body)


def _assert_commit(shown: Shown, repository: Repository) -> None:
    command = ["git", "show", "--format=%s", "--unified=2", "HEAD"]
    done = subprocess.run(command, cwd=repository.folder, capture_output=True, text=True, check=True)
    subject, _, diff = done.stdout.partition("\n")
    assert shown.head.endswith(f": {subject}")
    changed = [line for line in diff.splitlines() if re.match(r"[-+](?!\+\+ |-- )", line)]
    assert [line for line in shown.body.splitlines() if re.match(r"[-+](?!\+\+ |-- )", line)] == changed


def _assert_artifact(shown: Shown, registry: ChartRegistry) -> None:
    client, base = registry._client()
    name = shown.head.rpartition("/")[2]
    found = client.get_manifest(f"{base}/{name}", allowed_media_type=["application/vnd.oci.image.manifest.v1+json"])
    manifest = yaml.safe_load(shown.body)
    assert manifest["config"]["mediaType"] == found["config"]["mediaType"]
    layers = [{key: layer[key] for key in ("mediaType", "digest", "size")} for layer in found["layers"]]
    assert manifest["layers"] == layers
    assert layers[0]["mediaType"] == CHART_LAYER


ARM: dict[type[Stage], tuple[str, ...]] = {
    Prerequisites: ("Microsoft.ManagedIdentity",),
    ControlPlane: ("group", "cluster"),
    AsoIdentity: ("identity", "role", "trust"),
    BootstrapFlux: ("extension", "configuration"),
    PrepareFleet: ("group", "role", "kustomization"),
}
MANIFESTS: dict[type[Stage], tuple[str, ...]] = {AsoIdentity: ("namespace", "secret")}


@pytest.fixture
def blank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session on a sandbox in which nothing has been created."""
    home = tmp_path / "home"
    monkeypatch.setenv("FLEET_HOME", str(home))
    lifecycle.up(home / "sandbox", project=ROOT)
    yield connect(Parameters.check({"staging_cluster_count": 1, "prod_cluster_count": 1}))
    lifecycle.down(home / "sandbox")


def test_every_step_sends_what_it_shows(blank: Session, wire: list[Sent]) -> None:
    session = blank
    for kind in (Prerequisites, ControlPlane, AsoIdentity, BootstrapFlux, PrepareFleet):
        stage = kind(session)
        for name in stage.steps():
            shown, change, sent = _show_and_apply(stage, name, wire)
            if name in ARM[kind]:
                assert change
                _assert_arm(shown, sent)
            if name in MANIFESTS.get(kind, ()):
                _assert_manifest(shown, sent)
            assert "***" in shown.body if name == "secret" else "***" not in shown.body
        if isinstance(stage, BootstrapFlux | PrepareFleet):
            stage.wait()
    chart = PublishChart(session)
    shown, _, _ = _show_and_apply(chart, "publish", wire)
    _assert_artifact(shown, session.registry)
    workloads = DeployWorkloads(session)
    shown, _, _ = _show_and_apply(workloads, "podinfo-prod", wire)
    _assert_commit(shown, session.repository)


def test_a_second_run_shows_that_its_requests_are_not_sent(fleet: Callable[[str], Any], wire: list[Sent]) -> None:
    session = fleet("04").session
    for kind in (ControlPlane, AsoIdentity, BootstrapFlux, PrepareFleet):
        stage = kind(session)
        for name in stage.steps():
            shown, change, sent = _show_and_apply(stage, name, wire)
            assert shown.action.endswith("(the request is not sent)"), shown
            assert not change
            assert not sent


def test_every_step_has_its_command_beside_it(fleet: Callable[[str], Any]) -> None:
    session = fleet("04").session
    for kind in (Prerequisites, ControlPlane, AsoIdentity, BootstrapFlux, PrepareFleet, PublishChart, DeployWorkloads):
        stage = kind(session)
        assert stage.commands().keys() == stage.steps().keys(), kind.__name__
