"""Both wheels, as a user installs them: fleetlib alone runs every stage; `cloud: sandbox` says what else to install."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from azuresandbox import lifecycle

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
MINUTES = 60


def run(*command: str | Path, home: Path, status: int = 0) -> str:
    """Run a command of the second environment in the checkout; return its output. `status`: the expected exit status."""
    hidden = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in hidden} | {"FLEET_HOME": str(home)}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * MINUTES,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


pytestmark = pytest.mark.timeout(10 * MINUTES)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the wheel of each distribution, by name."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in ("fleetlib", "azuresandbox"):
        # -P: the folder of a package is its project's, and must not be searched for modules
        command = [sys.executable, "-P", "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
        subprocess.run(command, cwd=ROOT / name, check=True, capture_output=True, timeout=MINUTES)
    return {path.name.partition("-")[0]: path for path in folder.glob("*.whl")}


@pytest.fixture(scope="module")
def second(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the `bin` of an environment with fleetlib alone, installed with the versions of the lock."""
    folder = tmp_path_factory.mktemp("second")
    lock = (ROOT / "requirements.lock").read_text()
    pins = re.findall(r"^([\w.-]+==[^\s\\]+(?: ; [^\\\n]+)?)", lock, re.M)
    (folder / "constraints.txt").write_text("\n".join(pins))
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True, timeout=MINUTES)
    python = folder / "venv" / "bin" / "python"
    install = [str(UV), "pip", "install", "--quiet", "--python", str(python), "--constraint", str(folder / "constraints.txt")]
    subprocess.run([*install, str(wheels["fleetlib"])], check=True, timeout=5 * MINUTES)
    yield python.parent
    shutil.rmtree(folder)  # tens of thousands of files: pytest would delete them at the end of a later run


@pytest.mark.parametrize("name", ["fleetlib", "azuresandbox"])
def test_a_wheel_is_typed_and_holds_nothing_but_its_package(wheels: dict[str, Path], name: str) -> None:
    with zipfile.ZipFile(wheels[name]) as wheel:
        names = wheel.namelist()
    assert f"{name}/py.typed" in names
    assert {path.partition("/")[0] for path in names} == {name, f"{name}-0.1.0.dist-info"}
    assert not [path for path in names if path.endswith((".pyc", "pyproject.toml", "PKG-INFO", ".gitignore"))]


def test_every_module_is_imported_without_the_sandbox(second: Path, tmp_path: Path) -> None:
    modules = (path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / "fleetlib").rglob("*.py")))
    names = [".".join(path.parts).removesuffix(".__init__") for path in modules if path.name != "__main__"]
    program = f"import importlib; [importlib.import_module(name) for name in {names}]; import azuresandbox"
    said = run(second / "python", "-I", "-c", program, home=tmp_path, status=1)
    assert said.strip().splitlines()[-1] == "ModuleNotFoundError: No module named 'azuresandbox'"


@pytest.mark.parametrize(
    "command",
    [
        ("run", "00", "-f", "parameters/sandbox.yaml"),
        ("clusters", "-f", "parameters/sandbox.yaml"),
        ("sandbox", "up"),
        ("sandbox", "status"),
        ("sandbox", "env"),
    ],
    ids=" ".join,
)
def test_the_sandbox_is_asked_for_by_name(second: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    said = run(second / "fleet", *command, home=tmp_path, status=2)
    assert "the sandbox is not installed" in said and "pip install 'fleetlib[sandbox]'" in said
    assert "Traceback" not in said


def test_every_stage_runs_without_the_sandbox_installed(second: Path, tmp_path: Path) -> None:
    """The sandbox runs in this Python; the other one gets only an endpoint, an authority, a CA and a credential."""
    state = tmp_path / "sandbox"
    where = lifecycle.up(state, project=ROOT)
    try:
        cloud = {
            "name": "sovereign",
            "resource_manager": where.base,
            "authority": where.base,
            "home": str(tmp_path),
            "ca_file": str(where.ca_file),
            "tenant_id": where.tenant_id,
            "client_id": where.client_id,
            "client_secret": where.client_secret,
            "mirrors": where.mirrors,
            "pace": where.pace,
        }
        description = tmp_path / "cloud.json"
        description.touch(0o600)
        description.write_text(
            json.dumps({"cloud": cloud, "parameters": {"staging_cluster_count": 1, "prod_cluster_count": 1}})
        )
        said = run(second / "python", ROOT / "tests" / "distributions" / "every_stage.py", description, home=tmp_path)
    finally:
        lifecycle.down(state)
    assert said.split()[-9:] == [
        "Prerequisites",
        "ControlPlane",
        "AsoIdentity",
        "BootstrapFlux",
        "PrepareFleet",
        "PublishChart",
        "DeployWorkloads",
        "ScaleEnvironments",
        "TearDown",
    ]


def test_with_the_second_wheel_the_sandbox_starts(second: Path, wheels: dict[str, Path], tmp_path: Path) -> None:
    """Run last: it installs into the environment of the tests above."""
    assert "Usage: fleet" in run(second / "fleet", "--help", home=tmp_path)
    constraints = second.parents[1] / "constraints.txt"
    install = [str(UV), "pip", "install", "--quiet", "--python", str(second / "python"), "--constraint", str(constraints)]
    both = [f"fleetlib[sandbox] @ {wheels['fleetlib'].as_uri()}", str(wheels["azuresandbox"])]
    subprocess.run([*install, *both], check=True, timeout=5 * MINUTES)
    try:
        assert "started: https://127.0.0.1:" in run(second / "fleet", "sandbox", "up", home=tmp_path)
        assert "00_check_prerequisites" in run(second / "fleet", "run", "00", "--runs", tmp_path / "runs", home=tmp_path)
    finally:
        run(second / "fleet", "sandbox", "down", home=tmp_path)
