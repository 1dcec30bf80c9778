"""OCIRepository: a layer of an OCI artifact as a Flux artifact."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from azuresandbox.machine.images.flux import artifacts, conditions
from azuresandbox.machine.images.flux.source import engine, semver, sourceignore, texts
from azuresandbox.machine.images.flux.source.engine import Run, SourceError, Stored, unsupported
from azuresandbox.machine.images.flux.source.oci import OciClient, OciError, docker_credentials

HELM_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
OBSERVED = {"observedIgnore": "ignore", "observedLayerSelector": "layerSelector"}


async def read(run: Run) -> Stored:
    """Pull the artifact that `spec.ref` names. Raises `SourceError`."""
    _refuse(run)
    client = await _client(run)
    reference, revision = await _revision(run, client)
    digest = revision.rpartition("@")[2]
    artifact = run.artifact
    summary = texts.OCI_STORED(revision=revision)
    if artifact and artifact["revision"] == revision and not _changed(run):
        event = texts.OCI_STORED_EVENT(revision=revision, url=run.spec["url"], origin="")
        return Stored(revision, "", None, summary, event, unchanged=texts.UP_TO_DATE(revision=revision))
    if not artifact or artifact["revision"] != revision:
        await run.announce(texts.OCI_NEW(revision=revision, reference=reference))
    data, annotations = await _pull(run, client, digest)
    event = texts.OCI_STORED_EVENT(revision=revision, url=run.spec["url"], origin=_origin(annotations))
    return Stored(
        revision,
        f"{digest}.tar.gz",
        data,
        summary,
        event,
        metadata=annotations,
        link="latest.tar.gz",
        observed={status: run.spec.get(field) for status, field in OBSERVED.items()},
    )


def _origin(annotations: Mapping[str, str]) -> str:
    source, revision = (annotations.get(f"org.opencontainers.image.{name}") for name in ("source", "revision"))
    return texts.OCI_ORIGIN(source=source, revision=revision).message if source and revision else ""


def _changed(run: Run) -> bool:
    return any(run.status.get(status) != run.spec.get(field) for status, field in OBSERVED.items())


def _refuse(run: Run) -> None:
    spec = run.spec
    if spec.get("verify"):
        raise unsupported("spec.verify", "signatures can only be verified by a real source-controller")
    if spec.get("proxySecretRef"):
        raise unsupported("spec.proxySecretRef", "the sandbox has no network that a proxy could lead to")
    if spec.get("provider", "generic") != "generic":
        raise unsupported(f"spec.provider {spec['provider']}", "use generic with a secretRef, or none")


async def _client(run: Run) -> OciClient:
    repository = _repository(run.spec["url"])
    if certificate := run.spec.get("certSecretRef"):
        await run.secret(certificate["name"], texts.OCI_NO_TRANSPORT(url=run.spec["url"]).message)
    user = password = ""
    for name in await _pull_secrets(run):
        data = await _pull_secret(run, name)
        user, password = docker_credentials(data.get(".dockerconfigjson", b"{}"), repository.partition("/")[0])
        if user:
            break
    return OciClient(run.pod.wire, repository, user, password)


async def _pull_secret(run: Run, name: str) -> dict[str, bytes]:
    try:
        return await run.secret(name)
    except SourceError as error:
        await run.recorder.normal(run.obj, *texts.OCI_NO_PULL_SECRET_EVENT(name=name))
        raise SourceError(texts.OCI_NO_PULL_SECRET(error=error.cause)) from None


async def _pull_secrets(run: Run) -> list[str]:
    names = [run.spec["secretRef"]["name"]] if run.spec.get("secretRef") else []
    if account := run.spec.get("serviceAccountName"):
        found = await run.pod.kube.find("v1", "ServiceAccount", account, run.namespace)
        if found is None:
            raise SourceError(texts.OCI_NO_ACCOUNT(name=account))
        names += [entry["name"] for entry in found.get("imagePullSecrets") or ()]
    return names


def _repository(url: str) -> str:
    path = url.removeprefix("oci://")
    host, _, name = path.partition("/")
    problem = None
    if ":" in name:
        problem = texts.OCI_URL_WITH_TAG(tag=name.partition(":")[2])
    elif not re.fullmatch(r"[a-z0-9._/-]{2,255}", name):
        problem = texts.OCI_URL_CHARACTERS(name=name)
    if problem is not None:
        raise SourceError(texts.OCI_INVALID_URL(url=url, problem=problem.message), stalling=True)
    return f"{'index.docker.io' if host == 'docker.io' else host}/{name}"


async def _revision(run: Run, client: OciClient) -> tuple[str, str]:
    """Return the reference to pull, and the revision: `<tag>@<digest>`, or the digest alone. Raises `SourceError`."""
    ref: Mapping[str, str] = run.spec.get("ref") or {}
    if ref.get("digest"):
        return f"{client.repository}@{ref['digest']}", ref["digest"]
    tag = ref.get("tag") or "latest"
    if ref.get("semver"):
        tag = await _tag(run, client, ref["semver"], ref.get("semverFilter", ""))
    try:
        await client.ping()
        digest = await client.digest(tag)
    except OciError as error:
        raise SourceError(texts.OCI_NO_DIGEST(error=error)) from None
    return f"{client.repository}:{tag}", f"{tag}@{digest}"


async def _tag(run: Run, client: OciClient, expression: str, pattern: str) -> str:
    chart = (run.spec.get("layerSelector") or {}).get("mediaType") == HELM_LAYER
    try:
        await client.ping()
        tags = await client.tags()
        if pattern:
            tags = [tag for tag in tags if re.search(pattern, tag)]
        constraint = semver.Constraint(expression)
    except (OciError, semver.ConstraintError, re.error) as error:
        problem = str(error)
        if isinstance(error, semver.ConstraintError):
            problem = texts.OCI_INVALID_RANGE(expression=expression, error=error).message
        raise _tag_error(run, problem) from None
    # A tag cannot have the + of a version's build metadata: Helm writes _ for it.
    versions = [found for tag in tags if (found := semver.parse(tag.replace("_", "+") if chart else tag))]
    highest = constraint.highest(versions)
    if highest is None:
        raise _tag_error(run, texts.OCI_NO_MATCH(expression=expression).message)
    return highest.original.replace("+", "_") if chart else highest.original


def _tag_error(run: Run, problem: str) -> SourceError:
    return SourceError(texts.OCI_NO_TAG(url=run.spec["url"], error=problem))


async def _pull(run: Run, client: OciClient, digest: str) -> tuple[bytes, dict[str, str]]:
    try:
        manifest, found = await client.manifest(digest)
        if found != digest:
            raise OciError(f"manifest digest: {found!r} does not match requested digest: {digest!r}")
    except OciError as error:
        raise SourceError(texts.OCI_NOT_PULLED(url=run.spec["url"], error=error)) from None
    layer = _layer(run, manifest)
    try:
        blob = await client.blob(layer["digest"])
    except OciError as error:
        raise SourceError(texts.OCI_LAYER_UNREADABLE(error=error)) from None
    annotations: dict[str, str] = manifest.get("annotations") or {}
    selector = run.spec.get("layerSelector") or {}
    if selector.get("operation", "extract") == "copy":
        return blob, annotations
    return _extract(run, blob), annotations


def _layer(run: Run, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    layers: list[Mapping[str, Any]] = manifest.get("layers") or []
    if not layers:
        raise SourceError(texts.OCI_NO_LAYERS())
    wanted = (run.spec.get("layerSelector") or {}).get("mediaType")
    if not wanted:
        return layers[0]
    for layer in layers:
        if layer["mediaType"] == wanted:
            return layer
    raise SourceError(texts.OCI_NO_LAYER(media_type=wanted))


def _extract(run: Run, blob: bytes) -> bytes:
    try:
        files = artifacts.unpack(blob)
    except ValueError as error:
        raise SourceError(texts.OCI_LAYER_NOT_EXTRACTED(error=error)) from None
    kept = sourceignore.keep(files, run.spec.get("ignore"), files)
    return artifacts.archive({path: (files[path], False) for path in kept})


KIND = engine.Kind(
    "OCIRepository",
    read,
    conditions=(
        engine.STORAGE_FAILED,
        engine.FETCH_FAILED,
        engine.OUTDATED,
        engine.IN_STORAGE,
        engine.VERIFIED,
        conditions.STALLED,
        conditions.RECONCILING,
    ),
    failures=(engine.FETCH_FAILED, engine.STORAGE_FAILED),
)
