"""The sandbox's one process: it serves all parts on one TLS port of 127.0.0.1.

`azuresandbox.lifecycle` runs it as `python -m azuresandbox.server --state FOLDER`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import fcntl
import gc
import json
import os
import signal
import socket
import ssl
import sys
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from azuresandbox import admin, directory, pki
from azuresandbox.clock import MODES, Clock, ScaledClock
from azuresandbox.context import OPERATOR_CLIENT_ID, OPERATOR_NAME, OPERATOR_OBJECT_ID, ASGIApp, Receive, Sandbox, Scope, Send
from azuresandbox.faults import Faults
from azuresandbox.http import TooLarge, send_json
from azuresandbox.store import Store
from azuresandbox.wire import Wire

ROUTES = {
    "subscriptions": "arm",
    "providers": "arm",
    "tenants": "arm",
    "metadata": "arm",
    "batch": "arm",
    "clusters": "kubernetes",
    "oidc": "kubernetes",
    "git": "sources",
    "v2": "sources",
    "oauth2-registry": "sources",
    "helm": "sources",
    "sandbox": "admin",
}
"""First segment of the path -> part. Other paths start with a tenant and are Entra's."""

FLEET_REPOSITORY = "https://github.com/contoso/aks-fleet"
WORKLOADS_REPOSITORY = "https://github.com/contoso/aks-fleet-workloads"
CHART_REGISTRY = "oci://contosofleet.azurecr.io"
"""The addresses in the project's own GitOps content that the sandbox serves."""

EGRESS_CLIENT_ID = "9d0c6c1e-7f57-4f0c-b7a0-2a4f6c8e0d12"


def build(sandbox: Sandbox) -> tuple[ASGIApp, list[Callable[[], Awaitable[None]]]]:
    """Return the application, and the background work of the parts. Tests call it too, over the Wire alone."""
    from azuresandbox import arm, entra, kubernetes, machine, sources

    apps = {
        "arm": arm.app(sandbox),
        "entra": entra.app(sandbox),
        "kubernetes": kubernetes.app(sandbox),
        "sources": sources.app(sandbox),
        "admin": admin.app(sandbox),
    }

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        first = scope["path"].split("/", 2)[1].lower()
        try:
            await apps[ROUTES.get(first, "entra")](scope, receive, send)
        except TooLarge as error:
            await send_json(send, 413, {"error": f"the request is too large: {error}"}, {"connection": "close"})

    sandbox.wire.app = application
    sandbox.wire.base = sandbox.base
    sandbox.wire.egress_headers = _egress(sandbox.store)
    background = [part.run for part in (arm, kubernetes, machine)]
    return application, [partial(run, sandbox) for run in background]


def open_sandbox(state: Path, port: int, clock: Clock) -> Sandbox:
    """Return the context over a state folder. The first start creates the operator's account."""
    store = Store(state / "sandbox.db")
    log = _logger(state / "sandbox.log")
    base = f"https://127.0.0.1:{port}"
    wire = Wire(store)
    wire.base = base
    sandbox = Sandbox(
        store=store,
        clock=clock,
        faults=Faults(store),
        wire=wire,
        base=base,
        state=state,
        ca_pem=pki.authority(state).pem,
        log=log,
    )
    _ensure_operator(sandbox)
    return sandbox


async def serve(sandbox: Sandbox, port: int, ready: Callable[[], None], *, asleep: bool = False, latency: float = 0.0) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is called when the port answers.

    `asleep`: answer requests without any background work. `latency`: real seconds added to each request, for measuring.
    """
    application, background = build(sandbox)
    server = uvicorn.Server(_config(sandbox, _delayed(application, latency) if latency else application, port))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: setattr(server, "should_exit", True))
    tasks = [asyncio.create_task(_guard(sandbox, run, server)) for run in ([] if asleep else background)]
    serving = asyncio.create_task(server.serve([_listen(port)]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    ready()
    await serving
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    sandbox.store.close()


def _delayed(application: ASGIApp, seconds: float) -> ASGIApp:
    """Return the application behind a network delay. Requests of the Wire do not pass through it."""

    async def delayed(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(seconds)
        await application(scope, receive, send)

    return delayed


async def _guard(sandbox: Sandbox, run: Callable[[], Awaitable[None]], server: uvicorn.Server) -> None:
    """Stop the server if the background work of a part fails: an Azure without one of its parts would mislead its users."""
    try:
        await run()
    except Exception:
        sandbox.log("server", traceback.format_exc())
        server.should_exit = True


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which also gives the application the subject of the client's certificate (ASGI's tls extension)."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        tls = self.transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert() if tls is not None else None
        if certificate:
            names = [pair for part in certificate["subject"] for pair in part]
            self.scope["extensions"] = {"tls": {"client_cert_subject": names}}


def _config(sandbox: Sandbox, application: ASGIApp, port: int) -> uvicorn.Config:
    certificate, key = sandbox.state / "server.pem", sandbox.state / "server.key"
    if not certificate.exists():
        pems = pki.authority(sandbox.state).issue("fleet-sandbox", hosts=("127.0.0.1", "localhost", "::1"))
        pki.write_private(key, pems[1])
        pki.write_private(certificate, pems[0])
    return uvicorn.Config(
        application,
        host="127.0.0.1",
        port=port,
        http=_Protocol,
        lifespan="off",
        access_log=False,
        log_level="warning",
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        ssl_ca_certs=str(sandbox.state / "ca.pem"),
        ssl_cert_reqs=ssl.CERT_OPTIONAL,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=120,
        server_header=False,
        date_header=True,
        ws="none",
        proxy_headers=False,
    )


def _listen(port: int) -> socket.socket:
    # asyncio switches Nagle's algorithm off (40 ms an answer) only on sockets that name their protocol
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ensure_operator(sandbox: Sandbox) -> None:
    path = sandbox.state / "credential.json"
    if path.exists() and directory.get_principal(sandbox.store, OPERATOR_CLIENT_ID):
        return
    secret = directory.new_secret()
    pki.write_private(path, json.dumps({"client_id": OPERATOR_CLIENT_ID, "client_secret": secret}))
    operator = directory.Principal(
        OPERATOR_CLIENT_ID, OPERATOR_OBJECT_ID, OPERATOR_NAME, secret_hash=directory.hash_secret(secret)
    )
    directory.put_principal(sandbox.store, operator)


def _seed(sandbox: Sandbox, project: Path) -> None:
    """Seed the fleet's repositories on the Git host from the checkout. Repositories that exist are the user's and are kept."""
    from azuresandbox import sources

    for url, tree, folders in (
        (FLEET_REPOSITORY, project, ("charts", "flux")),
        (WORKLOADS_REPOSITORY, project / "workloads", ()),
    ):
        if all((tree / folder).is_dir() for folder in (*folders, ".")):
            sources.seed_later(sandbox, url, tree, folders=folders)
    sources.mirror(sandbox, CHART_REGISTRY, "oci")


def _egress(store: Store) -> dict[str, str]:
    """Return the credential of the clusters' gateway at mirrors. The secret is new at each start; only its hash is stored."""
    secret = directory.new_secret()
    gateway = directory.Principal(
        EGRESS_CLIENT_ID, EGRESS_CLIENT_ID, "network-egress", "Gateway", secret_hash=directory.hash_secret(secret)
    )
    directory.put_principal(store, gateway)
    token = base64.b64encode(f"{EGRESS_CLIENT_ID}:{secret}".encode()).decode()
    return {"authorization": f"Basic {token}"}


def _logger(path: Path) -> Callable[[str, str], None]:
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def log(part: str, text: str) -> None:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        os.write(descriptor, f"{stamp} {part}: {text}\n".encode())

    return log


def _settings(state: Path, clock: ScaledClock) -> dict[str, Any]:
    """Return the settings that other processes need: the port, which stays, and the clock's pace, which may change."""
    path = state / "settings.json"
    known = json.loads(path.read_text()) if path.exists() else {"port": free_port()}
    settings: dict[str, Any] = known | {"pace": clock.rates.wait}
    if settings != known:
        pki.write_private(path, json.dumps(settings))
    return settings


def main() -> None:
    """Serve the sandbox of a state folder. Writes `ready` to standard output once it answers."""
    parser = argparse.ArgumentParser(prog="azuresandbox.server")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--clock", choices=list(MODES), default="instant")
    parser.add_argument("--project", type=Path, help="checkout whose fleet the Git host starts out with")
    parser.add_argument("--asleep", action="store_true", help="answer requests, but run no controllers, nodes or operations")
    parser.add_argument("--latency", type=float, default=0.0, help="real seconds that each request spends on its way")
    arguments = parser.parse_args()
    os.umask(0o077)
    state: Path = arguments.state
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(state / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another process serves the sandbox in {state}")
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    clock = ScaledClock(arguments.clock)
    port = _settings(state, clock)["port"]
    sandbox = open_sandbox(state, port, clock)
    if arguments.project is not None:
        _seed(sandbox, arguments.project)
    # Documents are trees, which reference counting frees. Searching them for cycles would take most of the time of a read.
    gc.set_threshold(100_000, 20, 20)

    def ready() -> None:
        print("ready", flush=True)

    _run(serve(sandbox, port, ready, asleep=arguments.asleep, latency=arguments.latency))


def _run(work: Any) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


if __name__ == "__main__":
    main()
