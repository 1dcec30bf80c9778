"""A client of the sandbox's ARM for tests: one principal's token, and calls over the Wire."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from azuresandbox import directory
from azuresandbox.context import OPERATOR_CLIENT_ID, SUBSCRIPTION_ID, TENANT_ID
from azuresandbox.wire import Response
from tests.harness import OPERATOR_SECRET, World

SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION_ID}"
GROUPS = "2021-04-01"
MSI = "2024-11-30"
ROLES = "2022-04-01"


async def fetch_token(world: World, client: str = OPERATOR_CLIENT_ID, secret: str = OPERATOR_SECRET) -> str:
    """Return an access token for ARM, requested with a client secret."""
    form = {
        "grant_type": "client_credentials",
        "client_id": client,
        "client_secret": secret,
        "scope": "https://management.core.windows.net//.default",
    }
    answer = await world.wire.request("POST", world.url(f"/{TENANT_ID}/oauth2/v2.0/token"), body=urlencode(form).encode())
    assert answer.status == 200, answer.text
    return str(answer.json()["access_token"])


@dataclass
class Client:
    """Calls ARM as one principal."""

    world: World
    token: str
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    async def operator(cls, world: World) -> Client:
        return cls(world, await fetch_token(world))

    @classmethod
    async def stranger(cls, world: World, number: int = 1) -> Client:
        """Return a client of a new service principal without any role."""
        app_id, object_id = f"aaaaaaaa-0000-4000-8000-{number:012}", f"bbbbbbbb-0000-4000-8000-{number:012}"
        secret_hash = directory.hash_secret("s3cret")
        directory.put_principal(
            world.sandbox.store, directory.Principal(app_id, object_id, "stranger", secret_hash=secret_hash)
        )
        return cls(world, await fetch_token(world, app_id, "s3cret"))

    async def call(self, method: str, path: str, version: str, body: Any = None, **headers: str) -> Response:
        query = "" if "api-version=" in path or not version else ("&" if "?" in path else "?") + f"api-version={version}"
        url = path + query if path.startswith("https://") else self.world.url(path + query)
        sent = {"authorization": f"Bearer {self.token}", **self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        return await self.world.wire.request(method, url, headers=sent, body=b"" if body is None else json.dumps(body).encode())

    async def good(self, method: str, path: str, version: str, body: Any = None) -> Any:
        """Return the answer's body; `None` if it is empty. Fails the test on any error."""
        answer = await self.call(method, path, version, body)
        assert answer.status < 300, f"{method} {path}: {answer.status} {answer.text}"
        return answer.json() if answer.body else None

    async def refused(self, method: str, path: str, version: str, body: Any = None) -> tuple[int, str, str]:
        """Return status, code and message of the refusal."""
        answer = await self.call(method, path, version, body)
        assert answer.status >= 400, f"{method} {path}: {answer.status} {answer.text}"
        error = answer.json()["error"]
        return answer.status, error["code"], error["message"]

    async def group(self, name: str = "rg", location: str = "eastus2") -> str:
        return str((await self.good("PUT", f"{SUBSCRIPTION}/resourcegroups/{name}", GROUPS, {"location": location}))["id"])

    async def register(self, *namespaces: str) -> None:
        for namespace in namespaces:
            await self.good("POST", f"{SUBSCRIPTION}/providers/{namespace}/register", GROUPS)
        await self.world.clock.advance(120)

    async def identity(self, group_id: str, name: str = "ident") -> Any:
        path = f"{group_id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"
        return await self.good("PUT", path, MSI, {"location": "eastus2"})

    async def assign(self, scope: str, principal: str, role: str, name: str, **more: str) -> Response:
        properties = {
            "roleDefinitionId": f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{role}",
            "principalId": principal,
            **more,
        }
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"
        return await self.call("PUT", path, ROLES, {"properties": properties})
