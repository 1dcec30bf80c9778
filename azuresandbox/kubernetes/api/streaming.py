"""Answers that are sent in parts."""

from __future__ import annotations

from collections.abc import AsyncIterator

from azuresandbox.kubernetes.api.request import Request
from azuresandbox.store import Watch


async def chunk(request: Request, data: bytes) -> None:
    """Send one part; more will follow."""
    await request.send({"type": "http.response.body", "body": data, "more_body": True})


async def chunks(request: Request, parts: AsyncIterator[bytes], content_type: bytes) -> None:
    """Send a whole answer in parts."""
    await request.send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
    async for part in parts:
        await chunk(request, part)
    await request.send({"type": "http.response.body", "body": b""})


async def close_on_disconnect(request: Request, stream: Watch) -> None:
    """Close the watch of the store when the client disconnects, which ends the answer."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    stream.close()
