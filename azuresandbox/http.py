"""The few lines of ASGI that the parts share: reading a body, writing an answer, Basic credentials."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from typing import Any

from azuresandbox import directory
from azuresandbox.context import Receive, Scope, Send
from azuresandbox.store import Store

MAX_BODY = 4 << 20
"""Bytes of a request's body, unless a part sets its own limit: ARM's limit."""


class TooLarge(Exception):
    """A body, or its decompressed content, is longer than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"limit is {limit}")
        self.limit = limit


async def read_body(receive: Receive, limit: int = MAX_BODY) -> bytes:
    """Return the whole body of a request. Raises `TooLarge` as soon as it exceeds the limit."""
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise TooLarge(limit)
        if not message.get("more_body"):
            break
    return b"".join(chunks)


def gunzip(data: bytes, limit: int) -> bytes:
    """Return the decompressed data.

    Raises `TooLarge` before it holds more than the limit, and `zlib.error` or `EOFError` if the data is not gzip.
    """
    found = b""
    while data:
        member = zlib.decompressobj(wbits=31)
        found += member.decompress(data, limit + 1 - len(found))
        if len(found) > limit:
            raise TooLarge(limit)
        if not member.eof:
            raise EOFError("Compressed file ended before the end-of-stream marker was reached")
        data = member.unused_data
    return found


def header(scope: Scope, name: str) -> str:
    """Return a request header's value, or ""."""
    wanted = name.lower().encode()
    for key, value in scope["headers"]:
        if key == wanted:
            return str(value.decode("latin-1"))
    return ""


async def send_bytes(
    send: Send, status: int, body: bytes, content_type: str = "application/json", headers: dict[str, str] | None = None
) -> None:
    """Send a whole answer."""
    sent = {"content-type": content_type, "content-length": str(len(body)), **(headers or {})}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
    await send_bytes(send, status, json.dumps(document).encode(), headers=headers)


def basic_principal(store: Store, scope: Scope) -> directory.Principal | None:
    """Return the principal whose client id and secret are the request's Basic credentials, or `None`."""
    scheme, _, value = header(scope, "authorization").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    principal = directory.get_principal(store, user)
    return principal if principal and directory.secret_matches(principal, password) else None
