"""Resource providers and their registration with the subscription. Source: the Providers REST API, 2021-04-01.

A fresh subscription has few namespaces registered; the others answer MissingSubscriptionRegistration until they are. The state
is the record `registration/<namespace>` in partition `arm`. Registering is a long-running operation without headers: clients
poll the provider.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from azuresandbox.arm import errors, locations, operations, records
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.provider import Answer, Provider, Request, ResourceType, Route, Runner, Work
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import ResourceId
from azuresandbox.store import Store

VERSIONS = (
    "2025-04-01",
    "2025-03-01",
    "2024-11-01",
    "2024-08-01",
    "2024-07-01",
    "2024-03-01",
    "2023-07-01",
    "2022-12-01",
    "2022-09-01",
    "2021-04-01",
    "2021-01-01",
    "2020-10-01",
    "2020-08-01",
    "2020-06-01",
    "2019-10-01",
    "2019-08-01",
    "2019-07-01",
    "2019-05-10",
    "2019-05-01",
    "2018-05-01",
    "2018-02-01",
    "2017-05-10",
    "2016-09-01",
    "2016-06-01",
    "2016-02-01",
    "2015-01-01",
)
REGISTER_SECONDS = 60.0
ONE = "/subscriptions/{subscription}/providers/{namespace}"
SUBSCRIPTION = "/subscriptions/{subscription}"
Providers = Callable[[], tuple[Provider, ...]]


async def _register(work: Work) -> None:
    await work.sandbox.clock.work(REGISTER_SECONDS)
    work.update(lambda resource: resource.properties.update(registrationState="Registered"))


async def _unregister(work: Work) -> None:
    await work.sandbox.clock.work(REGISTER_SECONDS)
    work.update(lambda resource: resource.properties.update(registrationState="Unregistered"))


REGISTER, UNREGISTER = Runner("register", _register), Runner("unregister", _unregister)
TYPE = ResourceType("providers", VERSIONS, tracked=False, runners=(REGISTER, UNREGISTER))


def registered(store: Store, namespace: str) -> bool:
    """Return whether resources of the namespace may be used."""
    found = records.get(store, _id(namespace))
    return found is not None and found.properties["registrationState"] in ("Registered", "Registering", "Unregistering")


def routes(providers: Providers) -> tuple[Route, ...]:
    async def listing(request: Request) -> Answer:
        return Answer(200, {"value": [_describe(request, provider) for provider in providers()]})

    async def get(request: Request) -> Answer:
        return Answer(200, _describe(request, _named(request, providers, 1)))

    async def types(request: Request) -> Answer:
        return Answer(200, {"value": [_describe_type(kind) for kind in _named(request, providers, 2).types]})

    async def permissions(request: Request) -> Answer:
        raise errors.not_emulated("the permissions of resource providers themselves (providerPermissions)")

    async def register(request: Request) -> Answer:
        return _change(request, _named(request, providers, 2), REGISTER, "Registering", "Registered")

    async def unregister(request: Request) -> Answer:
        return _change(request, _named(request, providers, 2), UNREGISTER, "Unregistering", "Unregistered")

    read = "Microsoft.Resources/subscriptions/providers/read"
    return (
        Route("GET", "/providers", TYPE, listing),
        Route("GET", SUBSCRIPTION + "/providers", TYPE, listing, action=read, scope=SUBSCRIPTION),
        Route("GET", "/providers/{namespace}", TYPE, get),
        Route("GET", ONE, TYPE, get, action=read, scope=SUBSCRIPTION),
        Route("GET", ONE + "/resourceTypes", TYPE, types, action=read, scope=SUBSCRIPTION),
        Route("GET", ONE + "/providerPermissions", TYPE, permissions, action=read, scope=SUBSCRIPTION),
        Route("POST", ONE + "/register", TYPE, register, action="{namespace}/register/action", scope=SUBSCRIPTION),
        Route("POST", ONE + "/unregister", TYPE, unregister, action="{namespace}/unregister/action", scope=SUBSCRIPTION),
    )


def _named(request: Request, providers: Providers, back: int) -> Provider:
    wanted = request.path.split("/")[-back]
    for provider in providers():
        if provider.namespace.lower() == wanted.lower():
            return provider
    raise errors.namespace_invalid(wanted)


def _id(namespace: str) -> str:
    return f"registration/{namespace.lower()}"


def _change(request: Request, provider: Provider, runner: Runner, during: str, after: str) -> Answer:
    """Start the change unless it is done or in progress. Return the provider as it is then."""
    state = _state(request, provider)
    if runner is UNREGISTER:
        _check_unused(request, provider)
    if not provider.always_registered and state not in (during, after):
        document = {
            "id": _id(provider.namespace),
            "type": "Microsoft.Resources/providers",
            "properties": {"registrationState": during},
        }
        resource = Resource(ResourceId(_id(provider.namespace)), document)
        operations.begin(request, runner, "", resource=resource)
    return Answer(200, _describe(request, provider))


def _check_unused(request: Request, provider: Provider) -> None:
    found = records.under(request.sandbox.store, f"/subscriptions/{request.sandbox.subscription_id}")
    used = [resource for resource in found if resource.id.namespace.lower() == provider.namespace.lower()]
    if provider.always_registered or used:
        why = f"'{used[0].id}' is one of its resources" if used else "it is registered in every subscription"
        raise ArmError(409, "Conflict", f"The resource provider '{provider.namespace}' cannot be unregistered: {why}.")


def _state(request: Request, provider: Provider) -> str:
    if provider.always_registered:
        return "Registered"
    found = records.get(request.sandbox.store, _id(provider.namespace))
    return str(found.properties["registrationState"]) if found else "NotRegistered"


def _describe(request: Request, provider: Provider) -> dict[str, Any]:
    document: dict[str, Any] = {
        "namespace": provider.namespace,
        "registrationPolicy": "RegistrationFree" if provider.always_registered else "RegistrationRequired",
        "resourceTypes": [_describe_type(kind) for kind in provider.types],
        "registrationState": _state(request, provider),
    }
    if request.path.lower().startswith("/subscriptions/"):
        subscription = request.sandbox.subscription_id
        return {"id": f"/subscriptions/{subscription}/providers/{provider.namespace}", **document}
    return document


def _describe_type(kind: ResourceType) -> dict[str, Any]:
    places = [locations.DISPLAY[name] for name in kind.regions or locations.NAMES]
    return {
        "resourceType": kind.name,
        "locations": places,
        "apiVersions": list(kind.api_versions),
        "capabilities": "SupportsTags, SupportsLocation" if kind.tracked else "None",
    }
