"""OCIRepository: a layer of an OCI artifact as a Flux artifact. May import the engine and the OCI client."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from azuresandbox.machine.images.flux import artifacts, conditions
from azuresandbox.machine.images.flux.source import engine, semver, sourceignore
from azuresandbox.machine.images.flux.source.engine import Run, SourceError, Stored, unsupported
from azuresandbox.machine.images.flux.source.oci import OciClient, OciError, docker_credentials

HELM_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
PULL_FAILED, LAYER_FAILED = "OCIArtifactPullFailed", "OCIArtifactLayerOperationFailed"
OBSERVED = {"observedIgnore": "ignore", "observedLayerSelector": "layerSelector"}


async def read(run: Run) -> Stored:
    _refuse(run)
    client = await _client(run)
    reference, revision = await _revision(run, client)
    digest = revision.rpartition("@")[2]
    artifact = run.artifact
    summary = f"stored artifact for digest '{revision}'"
    event = f"stored artifact with revision '{revision}' from '{run.spec['url']}'"
    if artifact and artifact["revision"] == revision and not _changed(run):
        unchanged = ("ArtifactUpToDate", f"artifact up-to-date with remote revision: '{revision}'")
        return Stored(revision, "", None, summary, event, unchanged=unchanged)
    if not artifact or artifact["revision"] != revision:
        await run.announce(f"new revision '{revision}' for '{reference}'")
    data, annotations = await _pull(run, client, digest)
    source, origin = (annotations.get(f"org.opencontainers.image.{name}") for name in ("source", "revision"))
    if source and origin:
        event += f", origin source '{source}', origin revision '{origin}'"
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
        await run.secret(certificate["name"], f"failed to generate transport for '{run.spec['url']}': failed to get secret")
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
        await run.recorder.normal(run.obj, engine.AUTHENTICATION, f"auth secret '{name}' not found")
        raise SourceError(error.reason, f"failed to get credential: {error.cause}") from None


async def _pull_secrets(run: Run) -> list[str]:
    names = [run.spec["secretRef"]["name"]] if run.spec.get("secretRef") else []
    if account := run.spec.get("serviceAccountName"):
        found = await run.pod.kube.find("v1", "ServiceAccount", account, run.namespace)
        if found is None:
            problem = f'failed to get credential: ServiceAccount "{account}" not found'
            raise SourceError(engine.AUTHENTICATION, problem)
        names += [entry["name"] for entry in found.get("imagePullSecrets") or ()]
    return names


def _repository(url: str) -> str:
    path = url.removeprefix("oci://")
    host, _, name = path.partition("/")
    bad = ""
    if ":" in name:
        bad = f"URL must not contain a tag; remove ':{name.partition(':')[2]}'"
    elif not re.fullmatch(r"[a-z0-9._/-]{2,255}", name):
        bad = f"repository can only contain the characters `abcdefghijklmnopqrstuvwxyz0123456789_-./`: {name}"
    if bad:
        raise SourceError("URLInvalid", f"URL validation failed for '{url}': {bad}", stalling=True)
    return f"{'index.docker.io' if host == 'docker.io' else host}/{name}"


async def _revision(run: Run, client: OciClient) -> tuple[str, str]:
    """The reference that is pulled, and the revision: `<tag>@<digest>`, or the digest alone."""
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
        raise SourceError(PULL_FAILED, f"failed to determine artifact digest: {error}") from None
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
        text = str(error)
        if isinstance(error, semver.ConstraintError):
            text = f"semver '{expression}' parse error: {error}"
        raise _tag_error(run, text) from None
    # A chart's version may have build metadata, whose + no tag can have: Helm writes it _.
    versions = [found for tag in tags if (found := semver.parse(tag.replace("_", "+") if chart else tag))]
    highest = constraint.highest(versions)
    if highest is None:
        raise _tag_error(run, f"no match found for semver: {expression}")
    return highest.original.replace("+", "_") if chart else highest.original


def _tag_error(run: Run, text: str) -> SourceError:
    return SourceError("ReadOperationFailed", f"failed to determine the artifact tag for '{run.spec['url']}': {text}")


async def _pull(run: Run, client: OciClient, digest: str) -> tuple[bytes, dict[str, str]]:
    try:
        manifest, found = await client.manifest(digest)
        if found != digest:
            raise OciError(f"manifest digest: {found!r} does not match requested digest: {digest!r}")
    except OciError as error:
        raise SourceError(PULL_FAILED, f"failed to pull artifact from '{run.spec['url']}': {error}") from None
    layer = _layer(run, manifest)
    try:
        blob = await client.blob(layer["digest"])
    except OciError as error:
        raise SourceError(LAYER_FAILED, f"failed to extract the first layer from artifact: {error}") from None
    annotations: dict[str, str] = manifest.get("annotations") or {}
    selector = run.spec.get("layerSelector") or {}
    if selector.get("operation", "extract") == "copy":
        return blob, annotations
    return _extract(run, blob), annotations


def _layer(run: Run, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    layers: list[Mapping[str, Any]] = manifest.get("layers") or []
    if not layers:
        raise SourceError(LAYER_FAILED, "no layers found in artifact")
    wanted = (run.spec.get("layerSelector") or {}).get("mediaType")
    if not wanted:
        return layers[0]
    for layer in layers:
        if layer["mediaType"] == wanted:
            return layer
    raise SourceError(LAYER_FAILED, f"failed to find layer with media type '{wanted}' in artifact")


def _extract(run: Run, blob: bytes) -> bytes:
    try:
        files = artifacts.unpack(blob)
    except ValueError as error:
        raise SourceError(LAYER_FAILED, f"failed to extract layer contents from artifact: {error}") from None
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
