"""Subscriptions, their locations, and tenants. Source: the Subscriptions REST API, 2022-12-01."""

from __future__ import annotations

from typing import Any

from azuresandbox.arm import access, locations
from azuresandbox.arm.provider import Answer, Request, ResourceType, Route
from azuresandbox.context import SUBSCRIPTION_NAME

VERSIONS = (
    "2022-12-01",
    "2022-09-01",
    "2021-04-01",
    "2021-01-01",
    "2020-10-01",
    "2020-08-01",
    "2020-06-01",
    "2020-05-01",
    "2020-01-01",
    "2019-11-01",
    "2019-10-01",
    "2019-06-01",
    "2019-05-01",
    "2018-06-01",
    "2018-05-01",
    "2016-06-01",
    "2015-01-01",
)
TYPE = ResourceType("subscriptions", VERSIONS, tracked=False)
READ = "Microsoft.Resources/subscriptions/read"
ONE = "/subscriptions/{subscription}"


def routes() -> tuple[Route, ...]:
    return (
        Route("GET", "/subscriptions", TYPE, _list),
        Route("GET", ONE, TYPE, _get, action=READ, scope=ONE),
        Route(
            "GET", ONE + "/locations", TYPE, _locations, action="Microsoft.Resources/subscriptions/locations/read", scope=ONE
        ),
        Route("GET", "/tenants", TYPE, _tenants),
    )


def _describe(request: Request) -> dict[str, Any]:
    subscription = request.sandbox.subscription_id
    return {
        "id": f"/subscriptions/{subscription}",
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": subscription,
        "tenantId": request.sandbox.tenant_id,
        "displayName": SUBSCRIPTION_NAME,
        "state": "Enabled",
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
    }


async def _list(request: Request) -> Answer:
    sees = access.visible(request.sandbox.store, request.caller.object_id, request.sandbox.subscription_id)
    found = [_describe(request)] if sees else []
    return Answer(200, {"value": found, "count": {"type": "Total", "value": len(found)}})


async def _get(request: Request) -> Answer:
    return Answer(200, _describe(request))


async def _locations(request: Request) -> Answer:
    return Answer(200, {"value": locations.described(request.sandbox.subscription_id)})


async def _tenants(request: Request) -> Answer:
    tenant = request.sandbox.tenant_id
    found = {
        "id": f"/tenants/{tenant}",
        "tenantId": tenant,
        "countryCode": "US",
        "displayName": "Fleet Sandbox",
        "domains": [],
        "tenantCategory": "Home",
        "tenantType": "AAD",
    }
    return Answer(200, {"value": [found]})
