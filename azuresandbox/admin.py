"""`/sandbox/...`: the interface of the sandbox's operator. It is not part of any emulated interface."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from azuresandbox import fabric, faults
from azuresandbox.context import OPERATOR_CLIENT_ID, ASGIApp, Receive, Sandbox, Scope, Send
from azuresandbox.http import basic_principal, read_body, send_json


def app(sandbox: Sandbox) -> ASGIApp:
    """Return the operator's application: GET status, GET/POST/DELETE faults, POST mirrors."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        principal = basic_principal(sandbox.store, scope)
        if principal is None or principal.app_id != OPERATOR_CLIENT_ID:
            await send_json(send, 401, {"error": "the sandbox's operator only"}, {"www-authenticate": "Basic"})
            return
        body = await read_body(receive)
        route = (scope["method"], scope["path"].rstrip("/"))
        try:
            status, document = await _answer(sandbox, route, json.loads(body) if body else {})
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            status, document = 400, {"error": str(error)}
        await send_json(send, status, document)

    return handle


async def _answer(sandbox: Sandbox, route: tuple[str, str], body: dict[str, Any]) -> tuple[int, Any]:
    match route:
        case ("GET", "/sandbox/status"):
            return 200, _status(sandbox)
        case ("GET", "/sandbox/faults"):
            return 200, {"known": faults.KNOWN, "armed": [asdict(fault) for fault in sandbox.faults.armed()]}
        case ("POST", "/sandbox/faults"):
            return 200, asdict(sandbox.faults.arm(**body))
        case ("DELETE", "/sandbox/faults"):
            return 200, {"disarmed": sandbox.faults.disarm(body.get("name"))}
        case ("POST", "/sandbox/mirrors"):
            return 200, await _mirror(sandbox, **body)
    return 404, {"error": f"no such route: {route[0]} {route[1]}"}


async def _mirror(sandbox: Sandbox, url: str, path: str = "") -> dict[str, Any]:
    """Serve under `url` a copy of the Git repository at `path`; an `oci://` URL becomes an empty registry.

    Return the answer's body.
    """
    from azuresandbox import sources

    if url.startswith("oci://"):
        sources.mirror(sandbox, url, "oci")
    else:
        await asyncio.to_thread(sources.copy_repository, sandbox.state, url, Path(path))
        sources.mirror(sandbox, url, "git")  # the store belongs to this thread
    return {"url": url, "path": path}


def _status(sandbox: Sandbox) -> dict[str, Any]:
    clusters = [goal for goal in fabric.goals(sandbox.store, "cluster") if not goal.deleted]
    return {
        "pid": os.getpid(),
        "endpoint": sandbox.base,
        "clock": getattr(sandbox.clock, "mode", "virtual"),
        "clusters": [getattr(goal, "cluster_name", "") for goal in clusters],
        "resources": sandbox.store.count("arm", "/"),
        "memory_mb": round(peak_mb()),
        "faults": [asdict(fault) for fault in sandbox.faults.armed()],
    }


def peak_mb() -> float:
    """Return the peak memory of this process, in MB.

    Linux includes the launching process in `ru_maxrss`, macOS counts it in bytes.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
