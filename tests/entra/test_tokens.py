"""The token endpoint over the Wire: secrets, certificates, federated assertions, and every refusal by its AADSTS code."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from azuresandbox import directory
from azuresandbox.context import OPERATOR_CLIENT_ID, OPERATOR_OBJECT_ID, TENANT_ID
from azuresandbox.http import send_json
from tests.arm.arm_client import MSI, SUBSCRIPTION, Client
from tests.harness import BASE, OPERATOR_SECRET, World

KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
ISSUER = f"{BASE}/oidc/cluster/"
SUBJECT = "system:serviceaccount:azureserviceoperator-system:azureserviceoperator-default"
AUDIENCE = "api://AzureADTokenExchange"
SCOPE = "https://management.core.windows.net//.default"
GOOD = {"grant_type": "client_credentials", "client_id": OPERATOR_CLIENT_ID, "client_secret": OPERATOR_SECRET, "scope": SCOPE}


async def post(world: World, form: dict[str, str], tenant: str = TENANT_ID) -> tuple[int, Any]:
    answer = await world.wire.request("POST", world.url(f"/{tenant}/oauth2/v2.0/token"), body=urlencode(form).encode())
    return answer.status, answer.json()


@asynccontextmanager
async def in_world(tmp_path: Path) -> AsyncIterator[World]:
    """Run Entra and ARM, with a cluster's issuer."""
    async with World.open(tmp_path, ("entra", "arm")) as world:
        _serve_issuer(world)
        yield world


def _serve_issuer(world: World) -> None:
    """Serve a cluster's OIDC issuer, as the Kubernetes part publishes it."""
    inner = world.wire.app
    assert inner is not None
    public = {**jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k1", "use": "sig"}
    documents = {
        "/oidc/cluster/.well-known/openid-configuration": {"issuer": ISSUER, "jwks_uri": ISSUER + "openid/v1/jwks"},
        "/oidc/cluster/openid/v1/jwks": {"keys": [public]},
    }

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] in documents:
            await send_json(send, 200, documents[scope["path"]])
        else:
            await inner(scope, receive, send)

    world.wire.app = application


def assertion(world: World, key: Any = KEY, kid: str = "k1", **changed: Any) -> str:
    now = int(world.clock.now().timestamp())
    claims = {"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 600, **changed}
    return jwt.encode(claims, key, "RS256", {"kid": kid})


def federated(client_id: str, token: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "scope": SCOPE,
        "client_assertion": token,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }


async def trusting_identity(client: Client) -> Any:
    """Return a managed identity, created through ARM, that trusts the cluster's service account."""
    await client.register("Microsoft.ManagedIdentity")
    identity = await client.identity(await client.group())
    body = {"properties": {"issuer": ISSUER, "subject": SUBJECT, "audiences": [AUDIENCE]}}
    writing = asyncio.create_task(client.good("PUT", f"{identity['id']}/federatedIdentityCredentials/aso", MSI, body))
    await client.world.clock.advance(5)
    await writing
    return identity


async def test_a_secret_gives_a_token_with_the_claims_that_arm_reads(tmp_path: Path) -> None:
    async with in_world(tmp_path) as world:
        status, answer = await post(world, GOOD)
        assert (status, answer["token_type"], answer["expires_in"]) == (200, "Bearer", 3599)
        keys = (await world.wire.request("GET", world.url(f"/{TENANT_ID}/discovery/v2.0/keys"))).json()["keys"]
        key = jwt.PyJWK(keys[0], "RS256").key
        options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        claims = jwt.decode(
            answer["access_token"], key, ["RS256"], audience="https://management.core.windows.net/", options=options
        )
        expected = {
            "tid": TENANT_ID,
            "oid": OPERATOR_OBJECT_ID,
            "appid": OPERATOR_CLIENT_ID,
            "idtyp": "app",
            "sub": OPERATOR_OBJECT_ID,
        }
        assert expected.items() <= claims.items()
        assert claims["exp"] - claims["iat"] == 3600
        assert "xms_mirid" not in claims


@pytest.mark.parametrize(
    ("change", "tenant", "status", "error", "code", "text"),
    [
        (
            {"client_secret": "wrong"},
            TENANT_ID,
            401,
            "invalid_client",
            7000215,
            f"for a secret added to app '{OPERATOR_CLIENT_ID}'",
        ),
        (
            {"client_id": "x"},
            TENANT_ID,
            400,
            "unauthorized_client",
            700016,
            f"'x' was not found in the directory '{TENANT_ID}'",
        ),
        ({}, "no-such-tenant", 400, "invalid_request", 90002, "Tenant 'no-such-tenant' not found."),
        ({"scope": "a b"}, TENANT_ID, 400, "invalid_scope", 70011, "The scope a b is not valid."),
        ({"scope": "https://x/.read"}, TENANT_ID, 400, "invalid_scope", 1002012, "/.default suffixed"),
        (
            {"scope": "https://x/.default"},
            TENANT_ID,
            400,
            "invalid_resource",
            500011,
            "The resource principal named https://x was",
        ),
        ({"grant_type": ""}, TENANT_ID, 400, "invalid_request", 900144, "parameter: 'grant_type'"),
        ({"grant_type": "password"}, TENANT_ID, 400, "unsupported_grant_type", 70003, "grant type 'password'"),
        (
            {"client_assertion": "x.y.z", "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
            TENANT_ID,
            400,
            "invalid_request",
            50027,
            "JWT token is invalid or malformed.",
        ),
    ],
)
async def test_requests_are_refused_as_entra_refuses_them(
    tmp_path: Path, change: dict[str, str], tenant: str, status: int, error: str, code: int, text: str
) -> None:
    async with in_world(tmp_path) as world:
        found, answer = await post(world, {**GOOD, **change}, tenant)
        assert (found, answer["error"], answer["error_codes"]) == (status, error, [code])
        description = answer["error_description"]
        assert description.startswith(f"AADSTS{code}: ")
        assert text in description
        tail = f" Trace ID: {answer['trace_id']} Correlation ID: {answer['correlation_id']} Timestamp: {answer['timestamp']}"
        assert description.endswith(tail)


async def test_a_service_account_token_is_exchanged_and_arm_takes_it(tmp_path: Path) -> None:
    async with in_world(tmp_path) as world:
        operator = await Client.operator(world)
        identity = await trusting_identity(operator)
        status, answer = await post(world, federated(identity["properties"]["clientId"], assertion(world)))
        assert status == 200, answer
        claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
        assert claims["oid"] == identity["properties"]["principalId"]
        assert claims["xms_mirid"] == identity["id"]
        mine = Client(world, answer["access_token"])
        assert (await mine.refused("GET", identity["id"], MSI))[1] == "AuthorizationFailed"
        reader = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
        made = await operator.assign(identity["id"], claims["oid"], reader, "11111111-2222-4333-8444-555555555555")
        assert made.status == 201, made.text
        assert (await mine.good("GET", identity["id"], MSI))["id"] == identity["id"]


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"iss": f"{BASE}/oidc/other/"}, 700211, f"presented assertion issuer '{BASE}/oidc/other/'. Check your federated"),
        ({"iss": ISSUER.rstrip("/")}, 700211, "presented assertion issuer"),
        (
            {"sub": "system:serviceaccount:default:x"},
            700213,
            "presented assertion subject 'system:serviceaccount:default:x'. Check",
        ),
        ({"sub": SUBJECT.upper()}, 7002138, "case-insensitive comparison, but not with case-sensitive"),
        ({"aud": ["https://kubernetes.default.svc"]}, 700212, "presented assertion audience 'https://kubernetes.default.svc'."),
        (
            {"exp": 1767225500, "nbf": 1767225400},
            700024,
            "Client assertion is not within its valid time range. Current time: 2026-01-01T",
        ),
        ({"key": OTHER}, 50013, "Assertion failed signature validation."),
        (
            {"kid": "k2"},
            7000272,
            f"identifier k2 used to sign the federated credential could not be found in the metadata of identity "
            f"provider {ISSUER}.",
        ),
    ],
)
async def test_a_mismatch_names_the_claim_that_differs(tmp_path: Path, change: dict[str, Any], code: int, text: str) -> None:
    async with in_world(tmp_path) as world:
        identity = await trusting_identity(await Client.operator(world))
        status, answer = await post(world, federated(identity["properties"]["clientId"], assertion(world, **change)))
        assert (status // 100, answer["error_codes"]) == (4, [code]), answer
        assert text in answer["error_description"]


async def test_an_issuer_that_does_not_answer_is_named(tmp_path: Path) -> None:
    async with in_world(tmp_path) as world:
        operator = await Client.operator(world)
        identity = await trusting_identity(operator)
        principal = directory.get_principal(world.sandbox.store, identity["properties"]["clientId"])
        assert principal is not None
        principal.federated[0].issuer = "https://issuer.example.invalid/x/"
        directory.put_principal(world.sandbox.store, principal)
        token = assertion(world, iss="https://issuer.example.invalid/x/")
        _, answer = await post(world, federated(principal.app_id, token))
        assert answer["error_codes"] == [50166]
        assert "Request to External OIDC endpoint failed." in answer["error_description"]
        assert "no such host" in answer["error_description"]
        principal.federated = []
        directory.put_principal(world.sandbox.store, principal)
        _, answer = await post(world, federated(principal.app_id, token))
        assert answer["error_codes"] == [70025]


async def test_a_certificate_signs_for_its_application(tmp_path: Path) -> None:
    async with in_world(tmp_path) as world:
        certificate = _certificate()
        app_id = "cccccccc-0000-4000-8000-000000000001"
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
        directory.put_principal(world.sandbox.store, directory.Principal(app_id, "dd" + app_id[2:], "app", certificates=[pem]))
        now = int(world.clock.now().timestamp())
        claims = {"iss": app_id, "sub": app_id, "aud": f"{BASE}/{TENANT_ID}/oauth2/v2.0/token", "nbf": now, "exp": now + 600}
        thumbprint = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()
        good = jwt.encode(claims, KEY, "RS256", {"x5t#S256": thumbprint})
        assert (await post(world, federated(app_id, good)))[0] == 200
        for bad, code in (
            (jwt.encode(claims, OTHER, "RS256", {"x5t#S256": thumbprint}), 700027),
            (jwt.encode(claims, KEY, "RS256", {"x5t#S256": "AAAA"}), 700027),
            (jwt.encode({**claims, "aud": "https://elsewhere"}, KEY, "RS256", {"x5t#S256": thumbprint}), 700023),
            (jwt.encode({**claims, "sub": "someone"}, KEY, "RS256", {"x5t#S256": thumbprint}), 700021),
        ):
            status, answer = await post(world, federated(app_id, bad))
            assert (status, answer["error_codes"]) == (401, [code])


def _certificate() -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=365))
    return builder.sign(KEY, hashes.SHA256())


async def test_arm_refuses_tokens_it_cannot_trust(tmp_path: Path) -> None:
    async with in_world(tmp_path) as world:
        operator = await Client.operator(world)

        async def code(token: str | None) -> tuple[int, str, str]:
            headers = {} if token is None else {"authorization": token}
            url = world.url(f"{SUBSCRIPTION}?api-version=2022-12-01")
            answer = await world.wire.request("GET", url, headers=headers)
            return answer.status, answer.json()["error"]["code"], answer.headers.get("www-authenticate", "")

        status, name, challenge = await code(None)
        assert (status, name) == (401, "AuthenticationFailed")
        assert challenge.startswith(f'Bearer authorization_uri="{BASE}/{TENANT_ID}", error="invalid_token"')
        assert (await code("Basic eDp5"))[:2] == (401, "AuthenticationFailed")
        head, body, signature = operator.token.split(".")
        assert (await code(f"Bearer {head}.{body}.{signature[:-8]}AAAAAAAA"))[:2] == (401, "InvalidAuthenticationToken")
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        forged = jwt.encode(claims, OTHER, "RS256", {"kid": jwt.get_unverified_header(operator.token)["kid"]})
        assert (await code(f"Bearer {forged}"))[:2] == (401, "InvalidAuthenticationToken")
        world.sandbox.faults.arm("token-revoked", OPERATOR_CLIENT_ID)
        assert (await code(f"Bearer {operator.token}"))[:2] == (401, "InvalidAuthenticationToken")
        assert (await operator.call("GET", SUBSCRIPTION, "2022-12-01")).status == 200
        await world.clock.advance(3601)
        assert (await code(f"Bearer {operator.token}"))[:2] == (401, "ExpiredAuthenticationToken")
        _, answer = await post(world, {**GOOD, "scope": "6dae42f8-4368-4678-94ff-3960e28e3630/.default"})
        assert (await code(f"Bearer {answer['access_token']}"))[:2] == (401, "InvalidAuthenticationTokenAudience")


async def test_clients_discover_the_authority(tmp_path: Path) -> None:
    async with in_world(tmp_path) as world:
        url = world.url(f"/{TENANT_ID}/v2.0/.well-known/openid-configuration")
        document = (await world.wire.request("GET", url)).json()
        assert document["issuer"] == f"{BASE}/{TENANT_ID}/v2.0"
        assert document["token_endpoint"] == f"{BASE}/{TENANT_ID}/oauth2/v2.0/token"
        keys = (await world.wire.request("GET", document["jwks_uri"])).json()["keys"]
        assert not {"d", "p", "q"} & keys[0].keys()
        instance = (await world.wire.request("GET", world.url("/common/discovery/instance?api-version=1.1"))).json()
        assert instance["metadata"][0]["aliases"] == [BASE.removeprefix("https://")]
        wrong = await world.wire.request("GET", world.url("/contoso/v2.0/.well-known/openid-configuration"))
        assert (wrong.status, wrong.json()["error_codes"]) == (400, [90002])
        assert (await world.wire.request("GET", world.url("/nothing/here"))).status == 404
