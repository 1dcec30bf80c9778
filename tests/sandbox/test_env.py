"""`fleet sandbox env`: a POSIX shell that evaluates it reaches the sandbox, whatever the user's own settings are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from azuresandbox import lifecycle, shell
from azuresandbox.context import OPERATOR_CLIENT_ID, SUBSCRIPTION_ID, TENANT_ID
from azuresandbox.lifecycle import Endpoint

HOSTILE = {
    "AZURE_CLIENT_ID": "somebody-else",
    "AZURE_CLIENT_SECRET": "else's secret",
    "AZURE_CLIENT_CERTIFICATE_PATH": "/nowhere.pem",
    "AZURE_FEDERATED_TOKEN_FILE": "/nowhere",
    "AZURE_USERNAME": "me@example.org",
    "AZURE_PASSWORD": "p",
    "NO_PROXY": "example.org",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "KUBECONFIG": "/home/me/.kube/config",
}
ASKS = """
import os, requests
from azure.identity import DefaultAzureCredential
with DefaultAzureCredential(authority=os.environ["AZURE_AUTHORITY_HOST"], disable_instance_discovery=True) as credential:
    token = credential.get_token(os.environ["ARM_ENDPOINT"] + "/.default").token
url = os.environ["ARM_ENDPOINT"] + "/subscriptions?api-version=2022-12-01"
print(requests.get(url, headers={"Authorization": "Bearer " + token}).json()["value"][0]["subscriptionId"])
"""


def _state(live: Endpoint) -> Path:
    return live.ca_file.parent


def _evaluated(lines: list[str], environment: dict[str, str], script: str) -> str:
    """Return the output of the script in a shell that evaluated the lines. The Azure CLI is not on its path."""
    bare = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", **environment}
    command = ["sh", "-euc", "\n".join(lines) + "\n" + script]
    return subprocess.run(command, env=bare, capture_output=True, text=True, check=True, timeout=60).stdout


def test_it_overrides_the_shells_settings(live: Endpoint, tmp_path: Path) -> None:
    corporate = tmp_path / "corporate.pem"
    corporate.write_text("-----BEGIN CERTIFICATE-----\ncorporate\n-----END CERTIFICATE-----\n")
    before = {**HOSTILE, "REQUESTS_CA_BUNDLE": str(corporate)}
    printed = _evaluated(shell.lines(_state(live), live, before), before, "env")
    after = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    assert (after["AZURE_CLIENT_ID"], after["AZURE_TENANT_ID"]) == (OPERATOR_CLIENT_ID, TENANT_ID)
    assert after["AZURE_CLIENT_SECRET"] == live.client_secret
    assert after.keys().isdisjoint(shell.UNSET)
    assert after["NO_PROXY"] == after["no_proxy"] == "127.0.0.1,localhost,example.org"
    assert after["KUBECONFIG"].startswith(str(_state(live))) and after["AZURE_CONFIG_DIR"].startswith(str(_state(live)))
    bundle = Path(after["REQUESTS_CA_BUNDLE"]).read_text()
    assert bundle == corporate.read_text() + live.ca_file.read_text()
    assert {after[name] for name in shell.CA_VARIABLES} == {after["REQUESTS_CA_BUNDLE"]}


def test_an_unmodified_client_signs_in_with_it(live: Endpoint) -> None:
    lines = shell.lines(_state(live), live, HOSTILE)
    assert _evaluated(lines, HOSTILE, f"exec '{sys.executable}' -W ignore -c '{ASKS}'").strip() == SUBSCRIPTION_ID


def test_evaluating_it_twice_changes_nothing(live: Endpoint) -> None:
    once = shell.lines(_state(live), live, {"NO_PROXY": "example.org"})
    bundle = (_state(live) / "ca-bundle.pem").read_text()
    within = {
        "NO_PROXY": "127.0.0.1,localhost,example.org",
        "no_proxy": "127.0.0.1,localhost,example.org",
        "REQUESTS_CA_BUNDLE": str(_state(live) / "ca-bundle.pem"),
    }
    assert shell.lines(_state(live), live, within) == once
    assert (_state(live) / "ca-bundle.pem").read_text() == bundle


@pytest.mark.parametrize("home", ["plain", "with space and 'quote'"])
def test_the_command_prints_no_secret_and_leaves_it_in_a_private_file(tmp_path: Path, home: str) -> None:
    folder = tmp_path / home
    fleet = Path(sys.executable).with_name("fleet")
    where = lifecycle.up(folder / "sandbox")
    try:
        environment = {**os.environ, "FLEET_HOME": str(folder), "PATH": "/usr/bin:/bin"}
        printed = subprocess.run(
            [fleet, "sandbox", "env"], env=environment, capture_output=True, text=True, check=True, timeout=300
        ).stdout
        assert where.client_secret not in printed
        secret = folder / "sandbox" / "operator.secret"
        assert (secret.read_text(), secret.stat().st_mode & 0o777) == (where.client_secret, 0o600)
        assert _evaluated(printed.splitlines(), {}, 'printf %s "$AZURE_CLIENT_SECRET"') == where.client_secret
    finally:
        lifecycle.down(folder / "sandbox")
