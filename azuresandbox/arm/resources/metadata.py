"""`/metadata/endpoints`: a cloud's addresses, for `az cloud register --endpoint-resource-manager` and SDKs. It needs no token.

Source: the shapes of management.azure.com for api-versions 2022-09-01 (a list of clouds) and 2015-01-01 (one object).
`docs/sandbox.md` describes the values that `az` refuses.
"""

from __future__ import annotations

from typing import Any

from azuresandbox.arm import errors
from azuresandbox.arm.provider import Answer, Request, ResourceType, Route

LISTED = ("2022-09-01", "2020-06-01", "2019-10-01", "2019-05-01")
OBJECT = ("2018-05-01", "2018-01-01", "2015-11-01", "2015-01-01")
TYPE = ResourceType("metadata", (*LISTED, *OBJECT), tracked=False)
ARM_AUDIENCE = "https://management.core.windows.net/"


def routes() -> tuple[Route, ...]:
    return (Route("GET", "/metadata/endpoints", TYPE, _endpoints, open=True),)


async def _endpoints(request: Request) -> Answer:
    if not request.api_version:
        raise errors.api_version_missing()
    if request.api_version in OBJECT:
        return Answer(200, _single(request.sandbox.base))
    if request.api_version not in LISTED:
        raise errors.api_version_invalid(request.api_version, TYPE.api_versions)
    cloud = _cloud(request.sandbox.base)
    return Answer(200, [cloud] if request.api_version != "2022-09-01" else cloud)


def _authentication(base: str) -> dict[str, Any]:
    audiences = [ARM_AUDIENCE, base + "/"]
    return {"loginEndpoint": base, "audiences": audiences, "tenant": "common", "identityProvider": "AAD"}


def _single(base: str) -> dict[str, Any]:
    authentication = {"loginEndpoint": base + "/", "audiences": [ARM_AUDIENCE, base + "/"]}
    return {
        "galleryEndpoint": base + "/",
        "graphEndpoint": base + "/",
        "portalEndpoint": base + "/",
        "authentication": authentication,
    }


def _cloud(base: str) -> dict[str, Any]:
    return {
        "name": "FleetSandbox",
        "portal": base,
        "authentication": _authentication(base),
        "resourceManager": base,
        "media": base,
        "graph": base,
        "graphAudience": base + "/",
        "sqlManagement": base,
        "batch": base,
        "gallery": base,
        "activeDirectoryDataLake": base,
        "microsoftGraphResourceId": base + "/graph/",
        "logAnalyticsResourceId": base,
        "suffixes": {
            "acrLoginServer": base.removeprefix("https://"),
            "storage": "core.windows.net",
            "keyVaultDns": "vault.azure.net",
        },
    }
