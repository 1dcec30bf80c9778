"""Federated identity credentials: the tokens that may act as an identity.

Source: "Important considerations and restrictions for federated identity credentials" (20 an identity, one audience, unique
issuer and subject, no concurrent writes); the messages after hashicorp/terraform-provider-azurerm#19968,
Azure/bicep-types-az#2054 and zioproto/istio-aks-example#6.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from azuresandbox import directory
from azuresandbox.arm import engine, errors, records
from azuresandbox.arm.errors import ArmError
from azuresandbox.arm.managedidentity.identities import FEDERATED_VERSIONS
from azuresandbox.arm.models import Mismatch
from azuresandbox.arm.provider import Answer, Request, ResourceType, Write
from azuresandbox.arm.records import Resource
from azuresandbox.arm.resource_id import ResourceId
from azuresandbox.context import Memory, Sandbox

TYPE_NAME = "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials"
LIMIT = 20
WRITE_SECONDS = 2.0
"""Seconds that the provider needs for one write; another write to the same identity is refused meanwhile."""

LENGTH = 600
_WRITING = Memory[set[str]](lambda sandbox: set())


async def _handle(request: Request) -> Answer:
    """Answer a read at once, and only one write at a time for an identity."""
    if request.method in ("GET", "HEAD"):
        return await engine.handle(_plain(request))
    identity = request.id.parent
    writing: set[str] = _WRITING.of(request.sandbox)
    if identity.key in writing or request.sandbox.faults.take("fic-concurrency", identity.key) is not None:
        raise _concurrent(identity)
    writing.add(identity.key)
    try:
        answer = await engine.handle(_plain(request))
        await request.sandbox.clock.work(WRITE_SECONDS)
        return answer
    finally:
        writing.discard(identity.key)


def _plain(request: Request) -> Request:
    return replace(request, type=replace(request.type, whole=None))


def _prepare(write: Write) -> None:
    given, identity = write.properties, write.id.parent
    audiences = given.get("audiences")
    if not given:
        raise _bad("Federated Identity Credential from HTTP body has empty properties")
    if not given.get("issuer") or not given.get("subject") or not audiences:
        raise _bad(
            "The request format was unexpected. Federated Identity Credential must specify 'issuer', 'subject' and 'audience'."
        )
    if len(audiences) != 1:
        raise _bad("Federated identity credentials must have exactly one audience.")
    for name, value in (("issuer", given["issuer"]), ("subject", given["subject"]), ("audience", audiences[0])):
        if len(value) > LENGTH:
            raise _bad(
                f"The request format was unexpected. The '{name}' of a Federated Identity Credential has at most {LENGTH} "
                "characters."
            )
    if urlsplit(given["issuer"]).scheme != "https" or not urlsplit(given["issuer"]).netloc:
        raise _bad(f"The request format was unexpected. The issuer '{given['issuer']}' must be a valid https URL.")
    siblings = [s for s in records.under(write.sandbox.store, identity, TYPE_NAME) if s.id.key != write.id.key]
    if write.current is None and len(siblings) >= LIMIT:
        raise _bad(
            f"Too many Federated Identity Credentials: the managed identity '{identity.key}' has the maximum number of {LIMIT}."
        )
    if any(_same(sibling, given["issuer"], given["subject"]) for sibling in siblings):
        raise ArmError(409, "Conflict", "Issuer and subject combination already exists for this Managed Identity.")
    write.document["properties"] = {"issuer": given["issuer"], "subject": given["subject"], "audiences": list(audiences)}
    _publish(write.sandbox, identity, [*siblings, Resource(write.id, write.document)])


def _same(other: Resource, issuer: str, subject: str) -> bool:
    return bool(other.properties["issuer"] == issuer and other.properties["subject"] == subject)


def _remove(sandbox: Sandbox, resource: Resource) -> None:
    identity = resource.id.parent
    left = [r for r in records.under(sandbox.store, identity, TYPE_NAME) if r.id.key != resource.id.key]
    _publish(sandbox, identity, left)


def _publish(sandbox: Sandbox, identity: ResourceId, credentials: list[Resource]) -> None:
    """Write the identity's trusts to the directory."""
    stored = records.get(sandbox.store, identity)
    principal = directory.get_principal(sandbox.store, stored.properties["clientId"]) if stored else None
    if principal is None:
        return
    principal.federated = [_trust(credential) for credential in credentials]
    directory.put_principal(sandbox.store, principal)


def _trust(credential: Resource) -> directory.FederatedCredential:
    held = credential.properties
    return directory.FederatedCredential(credential.id.name, held["issuer"], held["subject"], held["audiences"])


def _bad(message: str) -> ArmError:
    return ArmError(400, "BadRequest", message)


def _concurrent(identity: ResourceId) -> ArmError:
    message = (
        f"Too many Federated Identity Credentials are written concurrently for the managed identity '{identity.key}'. "
        "Concurrent "
        "Federated Identity Credentials writes under the same managed identity are not supported."
    )
    return ArmError(409, "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity", message)


def _malformed(mismatch: Mismatch) -> ArmError:
    """Return the error for a body that does not fit the model.

    `claimsMatchingExpression` is a property of the previews, which the model of the stable version does not have.
    """
    if mismatch.member == "claimsMatchingExpression":
        return errors.not_emulated("flexible federated credentials (claimsMatchingExpression): name one subject")
    return errors.malformed(mismatch)


def _name_error(name: str) -> ArmError:
    return _bad(f"Federated Identity Credential name '{name}' is invalid.")


TYPE = ResourceType(
    "userAssignedIdentities/federatedIdentityCredentials",
    FEDERATED_VERSIONS,
    model="msi.FederatedIdentityCredential",
    verbs=frozenset({"GET", "LIST", "PUT", "DELETE"}),
    tracked=False,
    prepare=_prepare,
    remove=_remove,
    rank=70,
    name_rule=r"[A-Za-z0-9][A-Za-z0-9_-]{2,119}",
    name_error=_name_error,
    whole=_handle,
    malformed=_malformed,
)
