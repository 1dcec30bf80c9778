"""The unmodified credentials of azure-identity, up to an answer of ARM.

Environment, certificate, client assertion, workload identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientAssertionCredential,
    DefaultAzureCredential,
    EnvironmentCredential,
    WorkloadIdentityCredential,
)
from azure.mgmt.resource.subscriptions import SubscriptionClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from azuresandbox import directory
from azuresandbox.arm import records, roles
from azuresandbox.arm.authorization import assignments, definitions
from azuresandbox.context import OPERATOR_CLIENT_ID, SUBSCRIPTION_ID, TENANT_ID
from azuresandbox.http import send_json
from tests.arm.arm_client import SUBSCRIPTION
from tests.arm.served import Served, serve

APP, OBJECT = "aaaaaaaa-0000-4000-8000-00000000c0de", "bbbbbbbb-0000-4000-8000-00000000c0de"
SUBJECT, AUDIENCE = "system:serviceaccount:a:b", "api://AzureADTokenExchange"
KEY, SIGNER = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 2048)
PASSWORD = "of-a-test"
VARIABLES = (
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_TOKEN_CREDENTIALS",
)


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    return builder.sign(key, hashes.SHA256())


CERTIFICATE = _certificate(KEY)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve Entra and ARM with an application that may read: by certificate, or by the tokens of an issuer that it trusts."""
    with serve(tmp_path_factory.mktemp("credentials")) as served:
        served.do(_fill(served))
        yield served


async def _fill(served: Served) -> None:
    issuer = f"{served.base}/oidc/cluster/"
    store, inner = served.world.sandbox.store, served.world.wire.app
    public = {**jwt.algorithms.RSAAlgorithm.to_jwk(SIGNER.public_key(), as_dict=True), "kid": "k", "use": "sig"}
    documents = {
        "/oidc/cluster/.well-known/openid-configuration": {"issuer": issuer, "jwks_uri": issuer + "jwks"},
        "/oidc/cluster/jwks": {"keys": [public]},
    }

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] in documents:
            await send_json(send, 200, documents[scope["path"]])
        else:
            assert inner is not None
            await inner(scope, receive, send)

    served.world.wire.app = application
    pem = CERTIFICATE.public_bytes(serialization.Encoding.PEM).decode()
    trust = directory.FederatedCredential("fic", issuer, SUBJECT, [AUDIENCE])
    directory.put_principal(store, directory.Principal(APP, OBJECT, "app", certificates=[pem], federated=[trust]))
    reader = roles.by_name("Reader")
    assert reader is not None
    now, role = "2026-01-01T00:00:00Z", definitions.definition_id(reader, SUBSCRIPTION_ID)
    records.put(
        store,
        assignments.make(
            SUBSCRIPTION,
            "11111111-2222-4333-8444-555555555555",
            principal=OBJECT,
            principal_type="ServicePrincipal",
            role_definition=role,
            now=now,
            by=OBJECT,
        ),
    )


@pytest.fixture
def variables(sandbox: Served, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets exactly these of azure-identity's variables."""

    def set_them(**values: str) -> None:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in {"AZURE_TENANT_ID": TENANT_ID, "AZURE_AUTHORITY_HOST": sandbox.base, **values}.items():
            monkeypatch.setenv(name, value)

    return set_them


def settings(sandbox: Served) -> dict[str, Any]:
    return {"disable_instance_discovery": True, "connection_verify": sandbox.ca_file}


def seen(sandbox: Served, credential: Any) -> tuple[str, str, list[str]]:
    """Return the client id that the credential signs in as, its proof (`appidacr`), and the subscriptions that ARM lists."""
    scope = f"{sandbox.base}/.default"
    with credential:
        claims = jwt.decode(credential.get_token(scope).token, options={"verify_signature": False})
        where = {"base_url": sandbox.base, "credential_scopes": [scope], "connection_verify": sandbox.ca_file}
        with SubscriptionClient(credential, **where) as client:
            return claims["appid"], claims["appidacr"], [s.subscription_id for s in client.subscriptions.list()]


def pem_of(path: Path, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> str:
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return str(path)


def assertion(sandbox: Served, **changed: Any) -> str:
    now = int(sandbox.world.sandbox.clock.now().timestamp())
    claims = {
        "iss": f"{sandbox.base}/oidc/cluster/",
        "sub": SUBJECT,
        "aud": [AUDIENCE],
        "iat": now,
        "exp": now + 600,
        **changed,
    }
    return jwt.encode(claims, SIGNER, "RS256", {"kid": "k"})


def test_secret_from_the_environment(sandbox: Served, variables: Callable[..., None]) -> None:
    variables(AZURE_CLIENT_ID=OPERATOR_CLIENT_ID, AZURE_CLIENT_SECRET=sandbox.environment["AZURE_CLIENT_SECRET"])
    assert seen(sandbox, EnvironmentCredential(**settings(sandbox))) == (OPERATOR_CLIENT_ID, "1", [SUBSCRIPTION_ID])
    variables(AZURE_CLIENT_ID=OPERATOR_CLIENT_ID, AZURE_CLIENT_SECRET="wrong")
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        seen(sandbox, EnvironmentCredential(**settings(sandbox)))


@pytest.mark.parametrize("chain", ["", "true"])
@pytest.mark.parametrize("form", ["pem", "pfx"])
def test_certificate_from_the_environment(
    sandbox: Served, variables: Callable[..., None], tmp_path: Path, form: str, chain: str
) -> None:
    path = tmp_path / f"app.{form}"
    if form == "pem":
        pem_of(path, KEY, CERTIFICATE)
    else:
        locked = serialization.BestAvailableEncryption(PASSWORD.encode())
        path.write_bytes(pkcs12.serialize_key_and_certificates(b"app", KEY, CERTIFICATE, None, locked))
    more = {"AZURE_CLIENT_CERTIFICATE_PASSWORD": PASSWORD} if form == "pfx" else {}
    variables(AZURE_CLIENT_ID=APP, AZURE_CLIENT_CERTIFICATE_PATH=str(path), AZURE_CLIENT_SEND_CERTIFICATE_CHAIN=chain, **more)
    assert seen(sandbox, EnvironmentCredential(**settings(sandbox))) == (APP, "2", [SUBSCRIPTION_ID])


def test_another_certificate_is_refused(sandbox: Served, tmp_path: Path) -> None:
    other = rsa.generate_private_key(65537, 2048)
    path = pem_of(tmp_path / "other.pem", other, _certificate(other))
    credential = CertificateCredential(TENANT_ID, APP, path, authority=sandbox.base, **settings(sandbox))
    with pytest.raises(ClientAuthenticationError, match="AADSTS700027"):
        seen(sandbox, credential)


def test_client_assertion(sandbox: Served) -> None:
    def credential(**changed: Any) -> Any:
        make = partial(assertion, sandbox, **changed)
        return ClientAssertionCredential(TENANT_ID, APP, make, authority=sandbox.base, **settings(sandbox))

    assert seen(sandbox, credential()) == (APP, "2", [SUBSCRIPTION_ID])
    for changed, code in (
        ({"sub": "other"}, "AADSTS700213"),
        ({"aud": ["other"]}, "AADSTS700212"),
        ({"exp": 1}, "AADSTS700024"),
    ):
        with pytest.raises(ClientAuthenticationError, match=code):
            seen(sandbox, credential(**changed))


@pytest.mark.parametrize("kind", [WorkloadIdentityCredential, DefaultAzureCredential])
def test_workload_identity_from_the_environment(
    sandbox: Served, variables: Callable[..., None], tmp_path: Path, kind: Any
) -> None:
    """The variables of AKS's webhook in a Pod are enough, and a token that the kubelet renews is read again."""
    token = tmp_path / "token"
    token.write_text(assertion(sandbox, sub="not-yet"))
    variables(AZURE_CLIENT_ID=APP, AZURE_FEDERATED_TOKEN_FILE=str(token))
    with pytest.raises(ClientAuthenticationError, match="AADSTS700213"):
        seen(sandbox, kind(**settings(sandbox)))
    token.write_text(assertion(sandbox))
    assert seen(sandbox, kind(**settings(sandbox))) == (APP, "2", [SUBSCRIPTION_ID])
