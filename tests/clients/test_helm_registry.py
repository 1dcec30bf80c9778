"""The real helm, 4 and 3, at the sandbox's registry and chart repositories: sign in, push, pull, search, render."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from azuresandbox import lifecycle
from tests.clients.helm_binaries import Helm, each_helm

HOST = "contosofleet.azurecr.io"
PODINFO = "stefanprodan.github.io/podinfo"


@pytest.fixture(params=each_helm())
def helm(request: Any, tmp_path: Path) -> Helm:
    return Helm(request.param, tmp_path)


@pytest.fixture
def chart(tmp_path: Path, helm: Helm) -> Path:
    """Return a packed chart with its own name, because pushed charts are kept."""
    folder = tmp_path / helm.program.name
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(f"apiVersion: v2\nname: {helm.program.name}\nversion: 1.2.3\n")
    (folder / "templates/c.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n")
    helm("package", str(folder), f"--destination={tmp_path}")
    return tmp_path / f"{helm.program.name}-1.2.3.tgz"


def test_charts_are_pushed_pulled_and_rendered_from_the_registry(
    helm: Helm, chart: Path, live: lifecycle.Endpoint, tmp_path: Path
) -> None:
    authority, address = f"--ca-file={live.ca_file}", live.base.removeprefix("https://")
    where = f"oci://{address}/{HOST}/charts"
    login = ["registry", "login", address, authority, f"--username={live.client_id}"]
    assert "401: unauthorized: authentication required" in helm.fails("push", str(chart), where, authority)
    assert "401: unauthorized: authentication required" in helm.fails(*login, "--password=wrong")
    helm(*login, f"--password={live.client_secret}")
    helm("push", str(chart), where, authority)
    (tmp_path / "pulled").mkdir()
    helm("pull", f"{where}/{helm.program.name}", "--version=1.x", authority, f"--destination={tmp_path / 'pulled'}")
    assert (tmp_path / "pulled" / chart.name).read_bytes() == chart.read_bytes()
    *_, rendered = yaml.safe_load_all(helm("template", "app", f"{where}/{helm.program.name}", "--version=1.2.3", authority))
    assert rendered["metadata"] == {"name": "app"}
    missing = helm.fails("pull", f"{where}/{helm.program.name}", "--version=9.9.9", authority)
    assert "not found" in missing
    helm("registry", "logout", address)
    assert "401" in helm.fails("show", "chart", f"{where}/{helm.program.name}", authority)


def test_a_repository_is_added_searched_and_pulled_from(helm: Helm, live: lifecycle.Endpoint, tmp_path: Path) -> None:
    authority = f"--ca-file={live.ca_file}"
    add = ["repo", "add", "podinfo", f"{live.base}/helm/{PODINFO}", authority, f"--username={live.client_id}"]
    assert "401 Unauthorized" in helm.fails(*add, "--password=wrong")
    helm(*add, f"--password={live.client_secret}")
    versions = [item["version"] for item in helm.json("search", "repo", "podinfo/podinfo", "--versions")]
    assert len(versions) > 1 and versions == sorted(versions, key=lambda text: [int(n) for n in text.split(".")], reverse=True)
    helm("pull", "podinfo/podinfo", f"--version={versions[-1]}", f"--destination={tmp_path}")
    shown = yaml.safe_load(helm("show", "chart", str(tmp_path / f"podinfo-{versions[-1]}.tgz")))
    assert (shown["name"], shown["version"]) == ("podinfo", versions[-1])
    helm("lint", str(tmp_path / f"podinfo-{versions[-1]}.tgz"))
