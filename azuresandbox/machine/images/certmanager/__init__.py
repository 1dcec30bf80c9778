"""cert-manager (quay.io/jetstack/cert-manager-*): issues real certificates to the Secrets of Certificates.

Issuers of type selfSigned and ca are emulated; others say in their condition that they are not. Reasons and messages are
cert-manager's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta

from azuresandbox.machine.client import ApiError, NoMatch
from azuresandbox.machine.controller import Controller, Informers, Key, Mapper, Reconcile
from azuresandbox.machine.durations import seconds
from azuresandbox.machine.images.certmanager.certificates import Certificates
from azuresandbox.machine.images.certmanager.issuers import Issuers
from azuresandbox.machine.images.certmanager.manager import API, PREFIX, Manager, encoded
from azuresandbox.machine.images.certmanager.requests import Requests
from azuresandbox.machine.node.program import Pod, image
from azuresandbox.machine.objects import is_deleted
from azuresandbox.machine.types import Object


@image("quay.io/jetstack/cert-manager-controller")
async def controller(pod: Pod) -> None:
    """Run the controller's container."""
    pod.log(
        f'I{pod.clock.now():%m%d %H:%M:%S.%f}       1 controller.go:284] "starting controller" logger="cert-manager.controller"'
    )
    informers = Informers(pod.kube, pod.clock, pod.log)
    work = Controller("cert-manager", informers, pod.clock, pod.log, backoff=(1.0, 60.0))
    certificates, requests = informers.cache(API, "Certificate"), informers.cache(API, "CertificateRequest")
    for kind in ("Issuer", "ClusterIssuer", "CertificateRequest", "Certificate"):
        work.watch(API, kind)
    work.watch(API, "CertificateRequest", _certificate_of)
    work.watch("v1", "Secret", _certificates_using(certificates.list))
    for kind in ("Issuer", "ClusterIssuer"):
        work.watch(API, kind, lambda issuer: _requests_for(issuer, requests.list()))
    pod.ready(True)
    try:
        await work.run(_reconciler(pod))
    finally:
        await informers.stop()


def _reconciler(pod: Pod) -> Reconcile:
    """Return a function that reconciles an object with its kind's reconciler."""
    manager = Manager(pod.kube, pod.clock, pod.env.get("POD_NAMESPACE") or pod.namespace)
    issuers = Issuers(manager)
    reconcilers: dict[str, Callable[[Object], Awaitable[float | None]]] = {
        "Issuer": issuers.reconcile,
        "ClusterIssuer": issuers.reconcile,
        "CertificateRequest": Requests(manager).reconcile,
        "Certificate": Certificates(manager, pod.log).reconcile,
    }

    async def reconcile(key: Key) -> float | None:
        obj = await pod.kube.find(API, key.kind, key.name, key.namespace)
        if obj is None or is_deleted(obj):
            return None
        return await reconcilers[key.kind]({**obj, "apiVersion": API, "kind": key.kind})

    return reconcile


@image("quay.io/jetstack/cert-manager-webhook", "quay.io/jetstack/cert-manager-cainjector")
async def standby(pod: Pod) -> None:
    """Only become ready: the sandbox's API server calls no webhooks, so that no CA has to be injected either."""
    pod.ready(True)
    await asyncio.Event().wait()


@image("quay.io/jetstack/cert-manager-startupapicheck")
async def startup_api_check(pod: Pod) -> None:
    """Run `check api --wait=1m`: exit 0 as soon as a CertificateRequest would be accepted."""
    namespace = pod.env.get("POD_NAMESPACE") or pod.namespace
    probe = {
        "apiVersion": API,
        "kind": "CertificateRequest",
        "metadata": {"generateName": "cmapichecker-", "namespace": namespace},
        "spec": {"request": encoded(b"probe"), "issuerRef": {"name": "cmapichecker"}},
    }
    ends = pod.clock.now() + timedelta(seconds=seconds(pod.flag("wait", "0s")))
    while True:
        try:
            await pod.kube.create(probe, dry_run=True)
        except (ApiError, NoMatch) as error:
            pod.log(f"Not ready: {error}")
            if pod.clock.now() >= ends:
                raise RuntimeError("error: timed out waiting for the condition") from None
            pod.kube.forget_mappings()
            await pod.clock.wait(5)
        else:
            pod.log("The cert-manager API is ready")
            return


@image("quay.io/jetstack/cert-manager-acmesolver")
async def acme_solver(pod: Pod) -> None:
    raise RuntimeError("the sandbox has no ACME: use an issuer of type selfSigned or ca")


# --- the keys that a change concerns ---------------------------------------------------------------------------------


def _certificate_of(request: Object) -> list[Key]:
    metadata = request["metadata"]
    name = (metadata.get("annotations") or {}).get(f"{PREFIX}certificate-name")
    return [Key("Certificate", metadata["namespace"], name)] if name else []


def _certificates_using(certificates: Callable[[str], Iterator[Object]]) -> Mapper:
    def keys(secret: Object) -> list[Key]:
        metadata = secret["metadata"]
        using = (c for c in certificates(metadata["namespace"]) if c["spec"]["secretName"] == metadata["name"])
        return [Key("Certificate", metadata["namespace"], c["metadata"]["name"]) for c in using]

    return keys


def _requests_for(issuer: Object, requests: Iterable[Object]) -> list[Key]:
    metadata = issuer["metadata"]
    return [
        Key("CertificateRequest", r["metadata"]["namespace"], r["metadata"]["name"])
        for r in requests
        if r["spec"]["issuerRef"]["name"] == metadata["name"]
        and metadata.get("namespace") in (None, r["metadata"]["namespace"])
    ]
