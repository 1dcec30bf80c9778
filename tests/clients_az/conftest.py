"""The real Azure CLI in a shell that evaluated `fleet sandbox env`, against sandboxes in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from azuresandbox import lifecycle

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".venv-clients" / "bin"
FLEET = Path(sys.executable).with_name("fleet")

LEFTOVERS = {
    "REQUESTS_CA_BUNDLE": "/nowhere/corporate.pem",
    "SSL_CERT_FILE": "/nowhere/corporate.pem",
    "CURL_CA_BUNDLE": "/nowhere/c.pem",
    "AZURE_CLIENT_ID": "11111111-1111-4111-8111-111111111111",
    "AZURE_CLIENT_SECRET": "somebody-elses",
    "AZURE_CLIENT_CERTIFICATE_PATH": "/nowhere/client.pem",
    "AZURE_FEDERATED_TOKEN_FILE": "/nowhere/token",
    "AZURE_CONFIG_DIR": "/nowhere/azure",
    "AZURE_CLOUD_NAME": "AzureUSGovernment",
    "KUBECONFIG": "/nowhere/config",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "NO_PROXY": "example.org",
}
"""Settings that a user's shell may have. Each would break the commands if it won over `fleet sandbox env`."""


@dataclass
class Shell:
    """bash after `eval "$(fleet sandbox env)"`: `az`, kubectl and jq as a user types them."""

    state: Path
    environment: dict[str, str] = field(repr=False)

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the script and return the result, whether it succeeds or not."""
        command = ["bash", "-euo", "pipefail", "-c", script]
        environment = {**self.environment, **variables}
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=self.state, timeout=300, check=False
        )

    def __call__(self, script: str, **variables: str) -> str:
        """Return the output. Fails the test if the script fails."""
        done = self.run(script, **variables)
        assert done.returncode == 0, f"{script}\n{done.stderr or done.stdout}"
        return done.stdout

    def json(self, script: str, **variables: str) -> Any:
        """Return the output as JSON; `None` if it is empty."""
        printed = self(script, **variables)
        return json.loads(printed) if printed.strip() else None

    def clock(self, name: str) -> None:
        """Restart the sandbox with another clock, at the same address."""
        lifecycle.down(self.state)
        lifecycle.up(self.state, name)

    def fails(self, script: str, **variables: str) -> str:
        """Return the error output. Fails the test if the script succeeds."""
        done = self.run(script, **variables)
        assert done.returncode != 0, done.stdout
        return done.stderr


@contextmanager
def opened(home: Path, clock: str) -> Iterator[Shell]:
    """Open a shell on a sandbox of its own, which ends with the block."""
    home.mkdir(parents=True)
    base = {
        **os.environ,
        **LEFTOVERS,
        "PATH": f"{CLIENTS}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "FLEET_HOME": str(home),
    }
    lifecycle.up(home / "sandbox", clock)
    try:
        script = f'eval "$({FLEET} sandbox env)" && env -0'
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=base, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        yield Shell(home / "sandbox", dict(entry.split("=", 1) for entry in done.stdout.split("\0") if "=" in entry))
    finally:
        lifecycle.down(home / "sandbox")


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    if not (CLIENTS / "az").exists():
        pytest.skip("the Azure CLI is not installed here: `make test-clients` does it")
    missing = [name for name in ("kubectl", "jq", "bash") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"the seed's commands need {', '.join(missing)}")


@pytest.fixture(scope="module")
def shell(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Return a shell on the module's sandbox, whose clock is `instant`."""
    with opened(tmp_path_factory.mktemp("az") / "home", "instant") as found:
        yield found
