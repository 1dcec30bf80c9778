"""Entra's tokens at the sources: accepted if Entra signed them for this tenant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from azuresandbox.context import OPERATOR_CLIENT_ID, TENANT_ID
from azuresandbox.http import send_bytes
from azuresandbox.sources import seed_repository
from tests.harness import OPERATOR_SECRET, World
from tests.sources.served_sources import Port, served

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def publish_keys(port: Port) -> list[str]:
    """Answer for Entra's key document. Return a list that grows with each request for it."""
    asked: list[str] = []
    rest = port.world.wire.app
    assert rest is not None
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "k1", "use": "sig"}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == f"/{TENANT_ID}/discovery/v2.0/keys":
            asked.append(scope["path"])
            await send_bytes(send, 200, json.dumps({"keys": [public]}).encode())
        else:
            await rest(scope, receive, send)

    port.world.wire.app = application
    return asked


def token(port: Port, key: rsa.RSAPrivateKey = KEY, **changes: Any) -> str:
    now = int(port.world.sandbox.clock.now().timestamp())
    claims = {
        "aud": "https://management.azure.com",
        "tid": TENANT_ID,
        "appid": OPERATOR_CLIENT_ID,
        "exp": now + 600,
        "iat": now,
    }
    return jwt.encode({**claims, **changes}, key, algorithm="RS256", headers={"kid": "k1"})


async def status(port: Port, bearer: str, service: str = "git-receive-pack") -> int:
    url = port.world.url(f"/git/github.com/contoso/aks-fleet/info/refs?service={service}")
    return (await port.world.wire.request("GET", url, headers={"authorization": f"Bearer {bearer}"})).status


async def test_the_operators_token_opens_git(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        asked = publish_keys(port)
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree/a.yaml").write_text("a: 1\n")
        seed_repository(port.world.sandbox.state, "https://github.com/contoso/aks-fleet", tmp_path / "tree")
        assert await status(port, token(port)) == 200
        assert await status(port, token(port)) == 200
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({}, OTHER, 401),
        ({"exp": 1}, KEY, 401),
        ({"aud": "https://graph.microsoft.com"}, KEY, 401),
        ({"tid": "00000000-0000-0000-0000-000000000000"}, KEY, 401),
        ({"appid": "unknown"}, KEY, 401),
    ],
)
async def test_other_tokens_are_refused(changes: dict[str, Any], key: rsa.RSAPrivateKey, expected: int, tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        publish_keys(port)
        assert await status(port, token(port, key, **changes)) == expected
        assert await status(port, "not-a-token") == expected


async def test_a_token_that_the_sandboxs_entra_issued_opens_git(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a.yaml").write_text("a: 1\n")
    async with World.open(tmp_path / "state", parts=("entra", "sources")) as world:
        seed_repository(tmp_path / "state", "https://github.com/contoso/aks-fleet", tmp_path / "tree")
        form = {
            "grant_type": "client_credentials",
            "client_id": OPERATOR_CLIENT_ID,
            "client_secret": OPERATOR_SECRET,
            "scope": "https://management.azure.com/.default",
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        url = world.url(f"/{TENANT_ID}/oauth2/v2.0/token")
        issued = await world.wire.request("POST", url, headers=headers, body=urlencode(form).encode())
        assert await status(Port(world, ""), issued.json()["access_token"]) == 200
