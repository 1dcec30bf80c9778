"""The pipelines for fleet repositories: they are valid by their services' schemas, and their script steps work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB, AZURE = ROOT / "ci/github/fleet.yml", ROOT / "ci/azure-pipelines/fleet.yml"
LINTERS = {
    GITHUB: ("--builtin-schema", "vendor.github-workflows"),
    AZURE: (
        "--builtin-schema",
        "vendor.azure-pipelines",
        "--data-transform",
        "azure-pipelines",
        "--regex-variant",
        "nonunicode",
    ),
}
ALWAYS = ("always()",)

pytestmark = pytest.mark.xdist_group("ci")


@dataclass
class Script:
    """A step that runs in a shell. With `always` it runs after a failure too."""

    job: str
    text: str
    always: bool
    environment: dict[str, str] = field(default_factory=dict)


def _lint(path: Path, options: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("check-jsonschema")), *options, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("path", LINTERS, ids=["github", "azure"])
def test_the_templates_pass_their_linter_and_a_wrong_one_does_not(path: Path, tmp_path: Path) -> None:
    good = _lint(path, LINTERS[path])
    assert good.returncode == 0, good.stdout + good.stderr
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(path.read_text().replace("steps:", "stepz:"))
    assert _lint(wrong, LINTERS[path]).returncode == 1


def _github(document: dict[str, Any]) -> Iterator[Script]:
    for name, job in document["jobs"].items():
        for step in job["steps"]:
            if "run" in step:
                environment = {**document["env"], **job.get("env", {})}
                yield Script(name, step["run"], step.get("if") in ALWAYS, environment)


def _azure(document: dict[str, Any]) -> Iterator[Script]:
    for stage in document["stages"]:
        for step in (step for job in stage["jobs"] for step in job["steps"]):
            if "script" in step:
                yield Script(stage["stage"], step["script"], step.get("condition") in ALWAYS, dict(document["variables"]))


def _scripts(path: Path) -> list[Script]:
    document = yaml.safe_load(path.read_text())
    return list((_github if path == GITHUB else _azure)(document))


def _checkout(folder: Path) -> Path:
    """Copy the project's files as a clone has them, with this project's virtual environment and small clusters."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    ).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1], target_is_directory=True)
    small = yaml.safe_load((folder / "parameters/sandbox.yaml").read_text())
    small |= {"staging_cluster_count": 1, "prod_cluster_count": 1, "prod_cluster_count_scaled": 1}
    (folder / "parameters/sandbox.yaml").write_text(yaml.safe_dump(small))
    return folder


@dataclass
class Build:
    """A runner of a job's scripts: in order, after a failure only those with `always`."""

    folder: Path
    summary: Path
    log: str = ""
    failed: list[str] = field(default_factory=list)

    def run(self, scripts: list[Script]) -> None:
        for script in scripts:
            if not self.failed or script.always:
                environment = {
                    **os.environ,
                    **script.environment,
                    "GITHUB_STEP_SUMMARY": str(self.summary),
                    "CHART_CLOUD": "sandbox",
                }
                environment |= {
                    "CHART_REGISTRY": "oci://ContosoFleet.azurecr.io/charts",
                    "FLEET_HOME": str(self.folder / ".fleet"),
                }
                command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script.text]
                done = subprocess.run(
                    command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=300
                )
                self.log += done.stdout + done.stderr
                if done.returncode:
                    self.failed.append(script.text)


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    folder = tmp_path / "checkout"
    folder.mkdir()
    made = Build(_checkout(folder), tmp_path / "summary.md")
    yield made
    subprocess.run(
        [".venv/bin/fleet", "sandbox", "down"],
        cwd=folder,
        check=False,
        capture_output=True,
        env={**os.environ, "FLEET_HOME": str(folder / ".fleet")},
        timeout=300,
    )


def _failures(path: Path) -> list[str]:
    return [
        str(case.get("name")) for case in ElementTree.parse(path).getroot().iter("testcase") if case.find("failure") is not None
    ]


@pytest.mark.parametrize("path", LINTERS, ids=["github", "azure"])
def test_a_good_pull_request_passes_and_its_chart_is_published(build: Build, path: Path) -> None:
    scripts = _scripts(path)
    build.run([script for script in scripts if script.job == "rehearse"])
    assert not build.failed, build.log
    assert json.loads((build.folder / "results/report.json").read_text())["ok"]
    assert not _failures(build.folder / "results/junit.xml")
    assert (build.folder / "runs/latest/report.html").exists() and len(
        list((build.folder / "runs/latest/").glob("*.ipynb"))
    ) == 9
    said = build.summary.read_text() if path == GITHUB else build.log
    assert (
        "## ✓ Fleet run" in said
        if path == GITHUB
        else f"##vso[task.uploadsummary]{build.folder}/runs/latest/summary.md" in said
    )
    assert "stopped" in build.log, "no sandbox may keep running on a self-hosted runner"

    build.run([script for script in scripts if script.job == "publish"])
    assert not build.failed, build.log
    assert "charts/podinfocluster:0.1.0 is already published" in build.log, "notebook 05 had published the same content"


def test_a_new_chart_version_is_published_and_a_changed_published_one_is_refused(build: Build) -> None:
    publish = [script for script in _scripts(GITHUB) if script.job == "publish"]
    build.run(publish)
    assert not build.failed and "create: oci://contosofleet.azurecr.io/charts/podinfocluster:0.1.0" in build.log, build.log
    values = build.folder / "charts/podinfocluster/values.yaml"
    values.write_text(values.read_text() + "\n# another\n")
    build.run(publish)
    assert build.failed and "raise `version` in Chart.yaml" in build.log
    build.failed.clear()
    chart = build.folder / "charts/podinfocluster/Chart.yaml"
    chart.write_text(chart.read_text().replace("0.1.0", "0.2.0"))
    build.run(publish)
    assert not build.failed and "create: oci://contosofleet.azurecr.io/charts/podinfocluster:0.2.0" in build.log, build.log


def test_a_chart_that_helm_refuses_is_not_published(build: Build) -> None:
    (build.folder / "charts/podinfocluster/templates/broken.yaml").write_text("{{ if }}")
    build.run([script for script in _scripts(GITHUB) if script.job == "publish"])
    assert build.failed and "the chart does not pass Helm's lint" in build.log, build.log
    assert "podinfocluster/templates/broken.yaml:1" in build.log and "create:" not in build.log


def test_a_pull_request_that_breaks_the_fleet_fails_with_the_reason_in_summary_and_junit(build: Build) -> None:
    release = build.folder / "flux/controlplane/kustomization.yaml"
    release.write_text(release.read_text() + "  - nowhere.yaml\n")
    parameters = build.folder / "parameters/sandbox.yaml"
    parameters.write_text(parameters.read_text().replace("patience_minutes: 2", "patience_minutes: 0.2"))
    build.run([script for script in _scripts(GITHUB) if script.job == "rehearse"])
    assert len(build.failed) == 1 and "fleet run" in build.failed[0], build.log
    assert "03_bootstrap_flux failed" in build.summary.read_text() and "nowhere.yaml" in build.summary.read_text()
    assert "03_bootstrap_flux" in _failures(build.folder / "results/junit.xml")
