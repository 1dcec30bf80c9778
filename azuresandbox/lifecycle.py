"""Start, stop and describe the sandbox from outside its process. `fleetlib.clients.sandbox` calls this.

It imports no heavy module, because the server is another process.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azuresandbox.context import SUBSCRIPTION_ID, TENANT_ID


class SandboxError(Exception):
    """The sandbox could not be started, reached or changed. The text says why and, where it is known, what to do next."""


class Refused(SandboxError):
    """The running sandbox refused the request as invalid."""


@dataclass(frozen=True)
class Endpoint:
    """How a running sandbox is reached.

    `mirrors` maps public URL prefixes to where the sandbox serves them; `pace` is how many real seconds a second of its timers
    takes.
    """

    base: str
    ca_file: Path
    tenant_id: str
    subscription_id: str
    client_id: str
    client_secret: str
    mirrors: dict[str, str]
    pace: float = 1.0

    def __repr__(self) -> str:
        return f"Endpoint({self.base})"


def up(state: Path, clock: str = "instant", project: Path | None = None) -> Endpoint:
    """Start the sandbox of this state folder unless it runs already. Return its endpoint once it answers.

    `project` is the checkout whose charts/, flux/ and workloads/ fill the sandbox's Git host at the first start.
    """
    if running(state) is None:
        _start(state, clock, project)
    return endpoint(state)


def running(state: Path) -> int | None:
    """Return the process id of the sandbox that serves this folder, 0 while it is starting, or `None`."""
    try:
        descriptor = os.open(state / "lock", os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).decode()
        return int(text) if text else 0
    finally:
        os.close(descriptor)
    return None


def _start(state: Path, clock: str, project: Path | None) -> None:
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [sys.executable, "-m", "azuresandbox.server", "--state", str(state), "--clock", clock]
    if project is not None:
        command += ["--project", str(project)]
    errors_path = state / "start.log"
    with os.fdopen(os.open(errors_path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
    assert process.stdout is not None
    with process.stdout:
        answer = process.stdout.readline()
    if answer.strip() != b"ready":
        process.wait()
        if running(state) is not None:  # another process started the same sandbox a moment earlier
            return
        raise SandboxError(f"the sandbox did not start: {errors_path.read_text().strip() or 'it printed no error'}")
    process.returncode = 0  # it is a daemon from here on, so this process must not wait for it


def endpoint(state: Path) -> Endpoint:
    """Return how the sandbox of this folder is reached. Raises `SandboxError` if it has never been started."""
    try:
        settings = json.loads((state / "settings.json").read_text())
        credential = json.loads((state / "credential.json").read_text())
    except FileNotFoundError:
        raise SandboxError(f"there is no sandbox in {state}: start one with `fleet sandbox up`") from None
    port = settings["port"]
    base = f"https://127.0.0.1:{port}"
    mirrors = {"https://": f"{base}/git/", "oci://": f"oci://127.0.0.1:{port}/"}
    return Endpoint(
        base=base,
        ca_file=state / "ca.pem",
        tenant_id=TENANT_ID,
        subscription_id=SUBSCRIPTION_ID,
        client_id=credential["client_id"],
        client_secret=credential["client_secret"],
        mirrors=mirrors,
        pace=settings.get("pace", 1.0),
    )


def ask(state: Path, method: str, path: str, body: Any = None) -> Any:
    """Send one request to the operator's interface of a running sandbox (`/sandbox/...`). Return the answer's JSON.

    Raises `Refused` for an invalid request, `SandboxError` for any other failure.
    """
    if running(state) is None:
        raise SandboxError(f"no sandbox runs in {state}: start it with `fleet sandbox up`")
    where = endpoint(state)
    token = base64.b64encode(f"{where.client_id}:{where.client_secret}".encode()).decode()
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(where.base + path, data, {"authorization": f"Basic {token}"}, method=method)
    context = ssl.create_default_context(cafile=str(where.ca_file))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=60) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise (Refused if error.code == 400 else SandboxError)(_reason(error)) from None
    except urllib.error.URLError as error:
        raise SandboxError(f"the sandbox at {where.base} does not answer: {error.reason}") from None


def _reason(error: urllib.error.HTTPError) -> str:
    """Return the reason that the operator's interface gave for a refusal, or the HTTP status if the answer is not readable."""
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error}: see `fleet sandbox logs`"


def down(state: Path) -> bool:
    """Stop the sandbox and keep its state. Return whether one was running."""
    process = running(state)
    if not process:
        return False
    os.kill(process, signal.SIGTERM)
    descriptor = os.open(state / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # granted when the process has ended
    finally:
        os.close(descriptor)
    return True


def reset(state: Path) -> None:
    """Stop the sandbox and delete its state. Raises `SandboxError` for a folder that is not a sandbox's."""
    down(state)
    if state.exists() and not (state / "settings.json").exists() and any(state.iterdir()):
        raise SandboxError(f"{state} is not a sandbox's folder: nothing was deleted")
    shutil.rmtree(state, ignore_errors=True)
