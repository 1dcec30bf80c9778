"""Credentials of one cluster: service-account tokens (RS256), and fixed tokens of its administrators and components.

Partition `apiserver:<id>`: `signing-key` (PEM), `token/<sha256>` -> the user of a fixed token, `issued/<name>` -> the fixed
token itself, so that it survives a restart.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from azuresandbox.context import Sandbox
from azuresandbox.store import Store

IN_CLUSTER_ISSUER = "https://kubernetes.default.svc.cluster.local"
_SIGNING_KEY = "signing-key"


@dataclass(frozen=True, slots=True)
class User:
    """The sender of a request. `groups` include `system:authenticated`."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict, hash=False)


def private(cluster_id: str) -> str:
    """Return the partition of the API server's own data."""
    return f"apiserver:{cluster_id}"


def component_token(sandbox: Sandbox, cluster_id: str, user: str, groups: tuple[str, ...] = ()) -> str:
    """Return the fixed token of one of the cluster's components; the same one every time."""
    return fixed_token(sandbox.store, cluster_id, f"component/{user}", user, groups)


def fixed_token(store: Store, cluster_id: str, purpose: str, user: str, groups: tuple[str, ...]) -> str:
    """Return the fixed token of a purpose, created at the first call for this user and these groups."""
    partition = private(cluster_id)
    found = store.get(partition, f"issued/{purpose}")
    if found is not None:
        return found.value.decode()
    token = secrets.token_urlsafe(32)
    with store.transaction():
        store.put(partition, f"issued/{purpose}", token.encode())
        store.put(partition, _token_key(token), json.dumps({"user": user, "groups": list(groups)}).encode())
    return token


def fixed_user(store: Store, cluster_id: str, token: str) -> User | None:
    """Return the user of a fixed token, or `None` if it is not known."""
    record = store.get(private(cluster_id), _token_key(token))
    if record is None:
        return None
    known = json.loads(record.value)
    return User(known["user"], (*known["groups"], "system:authenticated"))


def _token_key(token: str) -> str:
    return "token/" + hashlib.sha256(token.encode()).hexdigest()


class SigningKey:
    """A cluster's key for service-account tokens."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        public = key.public_key()
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = _base64(hashlib.sha256(der).digest())
        numbers = public.public_numbers()
        self._public = public
        self._modulus, self._exponent = numbers.n, numbers.e

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a JWT as kube-apiserver signs it; `kid` is the SHA-256 of the public key."""
        header = _base64(json.dumps({"alg": "RS256", "kid": self.key_id}).encode())
        text = f"{header}.{_base64(json.dumps(claims).encode())}"
        return f"{text}.{_base64(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def claims(self, token: str) -> dict[str, Any] | None:
        """Return the claims of a token that this key has signed, else `None`. Audience and times are not checked."""
        checks = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
        try:
            return dict(jwt.decode(token, self._public, algorithms=["RS256"], options=checks))  # type: ignore[arg-type]
        except jwt.PyJWTError:
            return None

    def jwks(self) -> dict[str, Any]:
        """Return the issuer's published key set."""
        numbers = {"n": _number(self._modulus), "e": _number(self._exponent)}
        return {"keys": [{"use": "sig", "kty": "RSA", "kid": self.key_id, "alg": "RS256", **numbers}]}


def new_signing_key_pem() -> bytes:
    """Return a new RSA key (PEM). The computation takes a moment: run it in a thread."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def stored_signing_key(store: Store, cluster_id: str) -> SigningKey | None:
    """Return the cluster's key, or `None` before it is created."""
    record = store.get(private(cluster_id), _SIGNING_KEY)
    if record is None:
        return None
    key = serialization.load_pem_private_key(
        record.value, None, unsafe_skip_rsa_key_validation=True
    )  # created by new_signing_key_pem
    assert isinstance(key, rsa.RSAPrivateKey)
    return SigningKey(key)


def store_signing_key(store: Store, cluster_id: str, pem: bytes) -> SigningKey:
    store.put(private(cluster_id), _SIGNING_KEY, pem)
    key = stored_signing_key(store, cluster_id)
    assert key is not None
    return key


def discovery_document(issuer: str) -> dict[str, Any]:
    """Return the issuer's OpenID configuration, as AKS publishes it."""
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer.rstrip('/')}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def service_account_claims(
    issuer: str,
    audiences: list[str],
    now: datetime,
    seconds: int,
    namespace: str,
    account: tuple[str, str],
    bound: dict[str, dict[str, str]],
) -> dict[str, Any]:
    """Return the claims of a service-account token. `account`: (name, uid); `bound`: {pod|secret|node: {name, uid}}."""
    name, uid = account
    start = int(now.timestamp())
    return {
        "aud": audiences,
        "exp": start + seconds,
        "iat": start,
        "iss": issuer,
        "jti": str(uuid.uuid4()),
        "kubernetes.io": {"namespace": namespace, **bound, "serviceaccount": {"name": name, "uid": uid}},
        "nbf": start,
        "sub": f"system:serviceaccount:{namespace}:{name}",
    }


def expiry(now: datetime, seconds: int) -> str:
    return (now + timedelta(seconds=seconds)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def service_account_user(claims: dict[str, Any]) -> User:
    """Return the user of a service-account token."""
    private_claims = claims["kubernetes.io"]
    namespace, account = private_claims["namespace"], private_claims["serviceaccount"]
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    extra = {"authentication.kubernetes.io/credential-id": [f"JTI={claims['jti']}"]}
    if "pod" in private_claims:
        extra["authentication.kubernetes.io/pod-name"] = [private_claims["pod"]["name"]]
        extra["authentication.kubernetes.io/pod-uid"] = [private_claims["pod"]["uid"]]
    if "node" in private_claims:
        extra["authentication.kubernetes.io/node-name"] = [private_claims["node"]["name"]]
        extra["authentication.kubernetes.io/node-uid"] = [private_claims["node"]["uid"]]
    return User(f"system:serviceaccount:{namespace}:{account['name']}", groups, account["uid"], extra)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int) -> str:
    return _base64(value.to_bytes((value.bit_length() + 7) // 8, "big"))
