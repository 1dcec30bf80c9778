"""The notebooks as readers and CI run them: nbval on the stored outputs, papermill with parameters, no secret anywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.xdist_group("notebooks")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("notebooks") / "home"
    yield folder
    _fleet(folder, "sandbox", "down")


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "FLEET_HOME": str(home), "FLEET_PROGRESS": "off"}


def _fleet(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "fleet"), *arguments], cwd=ROOT, env=_environment(home), capture_output=True, text=True, check=False
    )


def test_stored_outputs_are_those_of_this_code(home: Path) -> None:
    """nbval over all notebooks in order, on one fresh sandbox."""
    notebooks = sorted(str(path) for path in (ROOT / "notebooks").glob("*.ipynb"))
    command = [
        sys.executable, "-m", "pytest", "--nbval", "--nbval-sanitize-with", "notebooks/sanitize.cfg", "--nbval-cell-timeout=300",
        "--nbval-current-env", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-W", "default", "--override-ini", "addopts=", *notebooks,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=_environment(home), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert re.search(r"\d+ passed", done.stdout)


def test_fleet_run_then_again_changes_nothing_and_leaks_nothing(tmp_path: Path) -> None:
    """The demo, twice, with counts of one; then every file it left is searched for every secret there was."""
    home, runs = tmp_path / "home", tmp_path / "runs"
    arguments = [
        "run",
        "-p",
        "staging_cluster_count",
        "1",
        "-p",
        "prod_cluster_count",
        "1",
        "-p",
        "prod_cluster_count_scaled",
        "2",
        "--runs",
        str(runs),
    ]
    try:
        first = _fleet(home, *arguments)
        assert first.returncode == 0, first.stdout + first.stderr
        assert re.search(r"\d+ changes\n", first.stdout)
        assert all(
            name in first.stdout for name in ("podinfo-staging-0-aks", "podinfo-prod-1-aks", "podinfo-dev-0-aks", "Compliant")
        )
        second = _fleet(home, *arguments)
        assert second.returncode == 0, second.stdout + second.stderr
        assert "Nothing changed: everything was as declared." in second.stdout
        _assert_no_secrets(
            home, [runs, home / "git", home / "sandbox/git", home / "sandbox/sandbox.log", home / "sandbox/start.log"]
        )
    finally:
        _fleet(home, "sandbox", "down")


def test_stored_outputs_hold_no_secret_and_no_path_of_a_machine() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        text = path.read_text()
        assert not re.search(r"eyJ[\w-]{10,}\.eyJ|BEGIN [A-Z ]*PRIVATE KEY|client_secret", text), path.name
        assert not re.search(r"(/root/|/home/\w+/|/tmp/)", text), path.name


def _assert_no_secrets(home: Path, places: list[Path]) -> None:
    secrets = _secrets(home)
    assert len(secrets) > 10, "the scan must know the secrets it looks for"
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()]
    assert len(files) > 10
    for file in files:
        content = file.read_bytes()
        found = [secret[:6].decode() + "..." for secret in secrets if secret in content]
        assert not found, f"{file} holds {found}"


def _secrets(home: Path) -> set[bytes]:
    """What the sandbox ever issued and still knows: the operator's secret, cluster credentials, private keys."""
    from fleetlib.sandbox.store import Store

    secrets = {json.loads((home / "sandbox/credential.json").read_text())["client_secret"].encode()}
    store = Store(home / "sandbox/sandbox.db")
    for record in store.list("fabric", "report/cluster/").records:
        for credential in (json.loads(record.value).get("credentials") or {}).values():
            secrets |= {value.encode() for value in credential.values() if value and "CERTIFICATE" not in value}
    for partition in store.partitions():
        for record in store.list(partition).records:
            secrets |= set(re.findall(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\\n([\w+/=]{40,})", record.value))
    store.close()
    return secrets
