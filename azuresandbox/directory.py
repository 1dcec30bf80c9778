"""The tenant's directory: service principals, their secrets (hashed) and their federated credentials.

ARM's ManagedIdentity provider writes here; Entra and ARM's Authorization read.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass, field

from azuresandbox.store import Store

PARTITION = "directory"


@dataclass
class FederatedCredential:
    """A trust: tokens of `issuer` with `subject` and one of `audiences` may act as the principal."""

    name: str
    issuer: str
    subject: str
    audiences: list[str]


@dataclass
class Principal:
    """A service principal. `kind`: Application or ManagedIdentity; `resource_id`: the identity's id in ARM, or ""."""

    app_id: str
    object_id: str
    display_name: str
    kind: str = "Application"
    resource_id: str = ""
    secret_hash: str = ""
    certificates: list[str] = field(default_factory=list)
    federated: list[FederatedCredential] = field(default_factory=list)


def put_principal(store: Store, principal: Principal) -> None:
    store.put(PARTITION, f"sp/{principal.app_id}", json.dumps(asdict(principal)).encode())


def get_principal(store: Store, app_id: str) -> Principal | None:
    record = store.get(PARTITION, f"sp/{app_id.lower()}")
    return _load(record.value) if record else None


def delete_principal(store: Store, app_id: str) -> None:
    store.delete(PARTITION, f"sp/{app_id}")


def principals(store: Store) -> list[Principal]:
    return [_load(record.value) for record in store.list(PARTITION, "sp/").records]


def by_object_id(store: Store, object_id: str) -> Principal | None:
    return next((p for p in principals(store) if p.object_id == object_id.lower()), None)


def new_secret() -> str:
    """Return a client secret of 160 bits, in hexadecimal digits: `az login` reads a leading dash as an option."""
    return secrets.token_hex(20)


def hash_secret(secret: str) -> str:
    """Return the hash that is stored instead of a secret. Secrets are random, so one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def secret_matches(principal: Principal, secret: str) -> bool:
    return bool(principal.secret_hash) and hmac.compare_digest(principal.secret_hash, hash_secret(secret))


def _load(data: bytes) -> Principal:
    document = json.loads(data)
    document["federated"] = [FederatedCredential(**item) for item in document["federated"]]
    return Principal(**document)
