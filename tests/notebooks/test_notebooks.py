"""The notebooks as readers and CI run them: nbval compares stored outputs, papermill passes parameters, no secret is stored."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

pytestmark = [pytest.mark.xdist_group("notebooks"), pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("notebooks") / "home"
    yield folder
    _fleet(folder, "sandbox", "down")


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "FLEET_HOME": str(home), "FLEET_PROGRESS": "off"}


def _fleet(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "fleet"), *arguments],
        cwd=ROOT,
        env=_environment(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )


def test_stored_outputs_are_those_of_this_code(home: Path) -> None:
    """Run nbval over all notebooks in order, on one fresh sandbox."""
    notebooks = sorted(str(path) for path in (ROOT / "notebooks").glob("*.ipynb"))
    nbval = ["--nbval", "--nbval-sanitize-with", "notebooks/sanitize.cfg", "--nbval-cell-timeout=300", "--nbval-current-env"]
    plugins = ["-p", "tests.notebooks.unix_sockets", "-p", "no:cacheprovider", "-p", "no:xdist"]
    settings = ["-q", "-W", "default", "--override-ini", "addopts="]
    command = [sys.executable, "-m", "pytest", *nbval, *plugins, *settings, *notebooks]
    done = subprocess.run(command, cwd=ROOT, env=_environment(home), capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert re.search(r"\d+ passed", done.stdout)


def test_fleet_run_then_again_changes_nothing_and_leaks_nothing(tmp_path: Path) -> None:
    """Run the demo twice with counts of one, then search every file it left for every secret of the sandbox."""
    home, runs = tmp_path / "home", tmp_path / "runs"
    counts = {"staging_cluster_count": "1", "prod_cluster_count": "1", "prod_cluster_count_scaled": "2"}
    arguments = ["run", *(word for pair in counts.items() for word in ("-p", *pair)), "--runs", str(runs)]
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
        _plain_papermill(home, tmp_path)
        _assert_no_secrets(
            home, [runs, home / "git", home / "sandbox/git", home / "sandbox/sandbox.log", home / "sandbox/start.log"]
        )
    finally:
        _fleet(home, "sandbox", "down")


def _plain_papermill(home: Path, folder: Path) -> None:
    """Run a notebook by plain papermill, with a whole parameters file and one parameter besides."""
    values = {**yaml.safe_load((ROOT / "parameters/sandbox.yaml").read_text()), "staging_cluster_count": 1}
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    command = [
        *(str(BIN / "papermill"), "notebooks/08_inspect_fleet.ipynb", str(folder / "out.ipynb")),
        *("-f", str(folder / "values.yaml"), "-p", "location", "eastus2", "--cwd", "notebooks", "--no-progress-bar"),
    ]
    done = subprocess.run(command, cwd=ROOT, env=_environment(home), capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 clusters: declared, provisioned, compliant" in (folder / "out.ipynb").read_text()


def test_plain_papermill_refuses_a_parameter_that_does_not_exist_before_anything_starts(tmp_path: Path) -> None:
    command = [
        *(str(BIN / "papermill"), "notebooks/06_deploy_workload_clusters.ipynb", str(tmp_path / "out.ipynb")),
        *("-f", "parameters/sandbox.yaml", "-p", "prod_count", "5", "--cwd", "notebooks", "--no-progress-bar"),
    ]
    home = tmp_path / "home"
    done = subprocess.run(command, cwd=ROOT, env=_environment(home), capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 1
    assert "there is no parameter 'prod_count' (did you mean 'prod_cluster_count'?)" in done.stderr
    assert not (home / "sandbox").exists()


def test_a_run_that_failed_goes_on_where_it_stopped(tmp_path: Path) -> None:
    home, runs = tmp_path / "home", tmp_path / "runs"
    run = ["run", "00", "01", "--runs", str(runs)]
    try:
        assert _fleet(home, "sandbox", "up").returncode == 0
        assert _fleet(home, "sandbox", "fault", "lro-failed", "--target", "*/managedClusters/asocluster-aks*").returncode == 0
        failed = _fleet(home, *run)
        assert failed.returncode == 1, failed.stdout + failed.stderr
        assert re.search(r"✓ 00_check_prerequisites .*\n✗ 01_create_control_plane", failed.stdout)
        assert "could not create the cluster asocluster-aks" in failed.stderr
        assert "could not create the cluster asocluster-aks (after 1 change)" in failed.stdout, (
            "the change before the failure is counted"
        )
        stored = json.loads((runs / "latest/report.json").read_text())
        assert stored["run"]["stages"][1]["changes"][0][:3] == ["resource group", "controlplane-rg", "create"]
        assert (runs / "latest/junit.xml").exists()
        resumed = _fleet(home, *run, "--resume")
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        assert re.search(r"- 00_check_prerequisites .*\n✓ 01_create_control_plane", resumed.stdout)
        other = _fleet(home, *run, "--resume", "-p", "location", "westus3")
        assert other.returncode == 2
        assert "the last run cannot be resumed: it had other parameters" in other.stderr
    finally:
        _fleet(home, "sandbox", "down")


def test_stored_outputs_hold_no_secret_and_no_path_of_a_machine() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        text = path.read_text()
        assert not re.search(r"eyJ[\w-]{10,}\.eyJ|BEGIN [A-Z ]*PRIVATE KEY|client_secret", text), path.name
        assert not re.search(r"(/root/|/home/\w+/|/tmp/)", text), path.name


SIGNED_TOKEN = re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}")
"""A signed token. Service-account and Entra tokens are never stored, so any match is a leak."""


def _assert_no_secrets(home: Path, places: list[Path]) -> None:
    secrets = _secrets(home)
    assert len(secrets) > 10, "the scan must know the secrets it looks for"
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()]
    texts = {str(file): file.read_bytes() for file in files} | _histories(home) | _pod_logs(home)
    assert len(texts) > 20
    for name, content in texts.items():
        found = [secret[:6].decode() + "..." for secret in secrets if secret in content]
        assert not found, f"{name} holds {found}"
        assert not SIGNED_TOKEN.search(content), f"{name} holds a token"


def _histories(home: Path) -> dict[str, bytes]:
    """Every commit with its changes, of every repository on the sandbox's Git host (objects on disk are compressed)."""
    repositories = [path.parent for path in (home / "sandbox/git").rglob("HEAD")]
    assert repositories
    command = ["git", "log", "--all", "--patch", "--format=fuller"]
    return {
        str(path): subprocess.run(command, cwd=path, capture_output=True, check=True, timeout=1500).stdout
        for path in repositories
    }


def _pod_logs(home: Path) -> dict[str, bytes]:
    """The logs of the programs in the clusters."""
    from azuresandbox.store import Store

    store = Store(home / "sandbox/sandbox.db")
    logs = {record.key: record.value for record in store.list("machine", "log/").records}
    store.close()
    assert logs
    return logs


def _secrets(home: Path) -> set[bytes]:
    """The secrets that the sandbox issued and still knows: the operator's, cluster credentials, private keys."""
    from azuresandbox.store import Store

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
