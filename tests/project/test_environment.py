"""environment.yml and pyproject.toml name the same packages with the same bounds; parameters/ equals the defaults."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

from fleetlib.parameters import Parameters, read_file

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = ("fleetlib", "azuresandbox")
RENAMED = {"python-kubernetes": "kubernetes"}


def _bounds(requirements: list[str]) -> dict[str, str]:
    found = [re.fullmatch(r"([\w.-]+)>=([\d.]+)", text.split(";")[0].strip()) for text in requirements]
    return {m.group(1): m.group(2) for m in found if m}


def _all_bounds(projects: list[dict[str, Any]]) -> dict[str, str]:
    return {name: bound for project in projects for name, bound in _bounds(project["dependencies"]).items()}


def test_conda_and_pip_install_the_same_packages() -> None:
    projects = [tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"] for name in DISTRIBUTIONS]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(item["pip"] for item in conda if isinstance(item, dict))
    listed = _bounds([item for item in conda if isinstance(item, str)] + pip)
    assert {f">={listed.pop('python')}"} == {project["requires-python"] for project in projects}
    assert {RENAMED.get(name, name): bound for name, bound in listed.items()} == _all_bounds(projects)


def test_the_lock_has_every_dependency() -> None:
    projects = [tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"] for name in DISTRIBUTIONS]
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = set(_all_bounds(projects)) | set(_bounds(workspace["dependency-groups"]["dev"]))
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    assert {name.lower().replace("_", "-").replace(".", "-") for name in wanted} <= {n.replace(".", "-") for n in locked}


def test_parameter_files_have_all_keys() -> None:
    defaults = Parameters.check({}).model_dump()
    assert read_file(ROOT / "parameters/sandbox.yaml") == defaults
    assert set(read_file(ROOT / "parameters/azure.example.yaml")) == set(defaults)
