"""cert-manager's program: its issuers, the certificates that they issue, and the conditions of both."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from azuresandbox.machine.images import certmanager
from azuresandbox.machine.images.certmanager import pki
from tests.flux_kustomize.apply_world import Cluster, running
from tests.gitops.rendered import Object, stand_in
from tests.given import given

SPACE = "cluster-config"


def _obj(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": "cert-manager.io/v1", "kind": kind, "metadata": {"name": name, "namespace": SPACE}, "spec": spec}


def _certificate(name: str = "serving", **spec: Any) -> Object:
    defaults = {
        "secretName": "serving-tls",
        "dnsNames": ["a.example.invalid"],
        "issuerRef": {"kind": "Issuer", "name": "own"},
        "privateKey": {"algorithm": "ECDSA"},
    }
    return _obj("Certificate", name, {**defaults, **spec})


def _ready(cluster: Cluster, kind: str, name: str) -> tuple[str, str, str]:
    found = next(c for c in cluster.get(kind, name)["status"]["conditions"] if c["type"] == "Ready")
    return found["status"], found["reason"], found.get("message", "")


def _definitions(cluster: Cluster) -> None:
    """Create cert-manager's CustomResourceDefinitions."""
    for crd in stand_in("cert-manager", {"crds": {"enabled": True}}):
        if crd["kind"] == "CustomResourceDefinition":
            cluster.api.put(crd)


@asynccontextmanager
async def _cert_manager(folder: Path) -> AsyncIterator[Cluster]:
    async with running(certmanager.controller) as cluster:
        _definitions(cluster)
        await cluster.settle()
        yield cluster


def _leaf(cluster: Cluster, name: str = "serving-tls") -> x509.Certificate:
    return x509.load_pem_x509_certificate(base64.b64decode(cluster.get("Secret", name)["data"]["tls.crt"]))


@given(_cert_manager)
async def test_a_self_signed_certificate(cluster: Cluster) -> None:
    cluster.create(_obj("Issuer", "own", {"selfSigned": {}}))
    cluster.create(_certificate(subject={"organizations": ["azure"]}))
    await cluster.settle()
    assert _ready(cluster, "Issuer", "own") == ("True", "IsReady", "")
    assert _ready(cluster, "Certificate", "serving") == ("True", "Ready", "Certificate is up to date and has not expired")
    assert _ready(cluster, "CertificateRequest", "serving-1") == (
        "True",
        "Issued",
        "Certificate fetched from issuer successfully",
    )
    secret = cluster.get("Secret", "serving-tls")
    assert secret["type"] == "kubernetes.io/tls" and set(secret["data"]) == {"ca.crt", "tls.crt", "tls.key"}
    leaf = _leaf(cluster)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example.invalid"]
    leaf.verify_directly_issued_by(leaf)
    assert pki.same_key(base64.b64decode(secret["data"]["tls.crt"]), base64.b64decode(secret["data"]["tls.key"]))
    status = cluster.get("Certificate", "serving")["status"]
    assert status["revision"] == 1 and status["notAfter"] > status["renewalTime"] > status["notBefore"]
    assert [name for kind, _, name in cluster.api.objects if kind == "Secret"] == ["serving-tls"], (
        "the Secret of the next key is deleted"
    )
    writes = len(cluster.api.writes)
    await cluster.advance(86_400)
    assert cluster.api.writes[writes:] == [], "a settled certificate is not written"


@given(_cert_manager)
async def test_a_certificate_waits_for_its_issuer(cluster: Cluster) -> None:
    cluster.create(_certificate())
    await cluster.settle()
    assert _ready(cluster, "Certificate", "serving")[:2] == ("False", "DoesNotExist")
    assert _ready(cluster, "CertificateRequest", "serving-1") == (
        "False",
        "Pending",
        'Referenced "Issuer" not found: issuer.cert-manager.io "own" not found',
    )
    cluster.create(_obj("Issuer", "own", {"selfSigned": {}}))
    await cluster.settle()
    assert _ready(cluster, "Certificate", "serving")[0] == "True"


@given(_cert_manager)
async def test_a_ca_issues_for_others(cluster: Cluster) -> None:
    cluster.create(_obj("Issuer", "own", {"selfSigned": {}}))
    cluster.create(_obj("Issuer", "fleet", {"ca": {"secretName": "ca-tls"}}))
    await cluster.settle()
    assert _ready(cluster, "Issuer", "fleet") == (
        "False",
        "ErrGetKeyPair",
        'Error getting keypair for CA issuer: secrets "ca-tls" not found',
    )
    cluster.create(_certificate("ca", secretName="ca-tls", isCA=True, commonName="fleet", dnsNames=[]))
    cluster.create(_certificate(issuerRef={"name": "fleet"}))
    await cluster.advance(600)
    assert _ready(cluster, "Issuer", "fleet") == ("True", "KeyPairVerified", "Signing CA verified")
    assert _ready(cluster, "Certificate", "serving")[0] == "True"
    _leaf(cluster).verify_directly_issued_by(_leaf(cluster, "ca-tls"))


@given(_cert_manager)
async def test_other_issuers_are_refused_by_name(cluster: Cluster) -> None:
    cluster.create(_obj("Issuer", "own", {"acme": {"server": "https://acme.example.invalid"}}))
    await cluster.settle()
    status, reason, message = _ready(cluster, "Issuer", "own")
    assert (status, reason) == ("False", "NotEmulated") and "asks for acme" in message


@given(_cert_manager)
async def test_a_lost_changed_or_ageing_certificate_is_issued_again(cluster: Cluster) -> None:
    cluster.create(_obj("Issuer", "own", {"selfSigned": {}}))
    cluster.create(_certificate(duration="2160h"))
    await cluster.settle()
    first = _leaf(cluster).serial_number
    cluster.delete("Secret", "serving-tls")
    await cluster.settle()
    second = _leaf(cluster).serial_number
    assert second != first and cluster.get("Certificate", "serving")["status"]["revision"] == 2
    cluster.change("Certificate", "serving", dnsNames=["b.example.invalid"])
    await cluster.settle()
    names = _leaf(cluster).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["b.example.invalid"]
    third = _leaf(cluster).serial_number
    await cluster.advance(61 * 86_400)
    assert _leaf(cluster).serial_number != third, "renewed after two thirds of its life"
    assert _ready(cluster, "Certificate", "serving")[0] == "True"


@pytest.mark.parametrize("with_definitions", [True, False])
async def test_the_startup_check_succeeds_only_with_the_definitions(with_definitions: bool) -> None:
    async with running(certmanager.standby) as cluster:
        if with_definitions:
            _definitions(cluster)
        cluster.pod.args = ["check", "api", "--wait=1m"]
        cluster.pod.env = {"POD_NAMESPACE": SPACE}
        task = asyncio.ensure_future(certmanager.startup_api_check(cluster.pod))
        await cluster.advance(120)
        assert task.done()
        if with_definitions:
            assert task.exception() is None
        else:
            assert "timed out waiting for the condition" in str(task.exception())
