"""The tenant's signing key. Its public half is a JWK under `keys/<kid>` in partition `entra`, which ARM reads too."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from azuresandbox.context import Memory, Sandbox

PARTITION = "entra"
_PRIVATE = "private/current"


def _ensure(sandbox: Sandbox) -> None:
    """Create the key when it is first asked for, so that a start does not wait for it."""
    if sandbox.store.get(PARTITION, _PRIVATE) is not None:
        return
    key = rsa.generate_private_key(65537, 2048)
    public: dict[str, Any] = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    kid = hashlib.sha256(public["n"].encode()).hexdigest()[:32]
    public = {"kty": "RSA", "use": "sig", "kid": kid, "x5t": kid, "alg": "RS256", "n": public["n"], "e": public["e"]}
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    with sandbox.store.transaction():
        sandbox.store.put(PARTITION, f"keys/{kid}", json.dumps(public).encode())
        sandbox.store.put(PARTITION, _PRIVATE, json.dumps({"kid": kid, "pem": pem}).encode())


def private(sandbox: Sandbox) -> tuple[str, rsa.RSAPrivateKey]:
    """Return the key's id and the key. They are read once in a process."""
    return _KEY.of(sandbox)


def _read(sandbox: Sandbox) -> tuple[str, rsa.RSAPrivateKey]:
    _ensure(sandbox)
    record = sandbox.store.get(PARTITION, _PRIVATE)
    assert record is not None
    stored = json.loads(record.value)
    key = serialization.load_pem_private_key(
        stored["pem"].encode(), None, unsafe_skip_rsa_key_validation=True
    )  # created by `_ensure`
    assert isinstance(key, rsa.RSAPrivateKey)
    return stored["kid"], key


_KEY = Memory(_read)


def published(sandbox: Sandbox) -> dict[str, Any]:
    """Return the JWKS."""
    _ensure(sandbox)
    return {"keys": [json.loads(record.value) for record in sandbox.store.list(PARTITION, "keys/").records]}
