"""HelmChart: a chart from a Helm repository, an OCI registry or a folder in Git, as an artifact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

from azuresandbox.machine.controller import Controller, Key
from azuresandbox.machine.images.flux import artifacts, conditions
from azuresandbox.machine.images.flux.source import charts, engine, helm_repository, semver, texts
from azuresandbox.machine.images.flux.source.charts import Build, BuildError
from azuresandbox.machine.images.flux.source.engine import API_VERSION, Run, SourceError, Stored, unsupported
from azuresandbox.machine.images.flux.source.oci import OciClient, OciError, docker_credentials
from azuresandbox.machine.types import Object

LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
RETRY = 5.0
"""Seconds until a chart is tried again whose source has no artifact."""


def watch_sources(controller: Controller) -> None:
    """Reconcile a chart when the artifact of its source has changed."""
    seen: dict[tuple[str, str, str], str] = {}

    def charts_of(source: Object) -> list[Key]:
        metadata = source["metadata"]
        identity = (source["kind"], metadata["namespace"], metadata["name"])
        revision = ((source.get("status") or {}).get("artifact") or {}).get("revision", "")
        if seen.get(identity) == revision:
            return []
        seen[identity] = revision
        return [
            Key("HelmChart", chart["metadata"]["namespace"], chart["metadata"]["name"])
            for chart in controller.informers.cache(API_VERSION, "HelmChart").list(metadata["namespace"])
            if (chart["spec"]["sourceRef"]["kind"], chart["spec"]["sourceRef"]["name"]) == (identity[0], identity[2])
        ]

    for kind in ("HelmRepository", "GitRepository"):
        controller.watch(API_VERSION, kind, charts_of)


async def read(run: Run) -> Stored:
    """Pull or build the chart. Raises `SourceError`."""
    if run.spec.get("verify"):
        raise unsupported("spec.verify", "signatures can only be verified by a real source-controller")
    source = await _source(run)
    revision = (source.get("status", {}).get("artifact") or {}).get("revision")
    if revision:
        run.status["observedSourceArtifactRevision"] = revision
    try:
        build = await _build(run, source)
    except BuildError as error:
        fetching = error.kind in (charts.REFERENCE, charts.PULL)
        conditions.remove(run.obj, engine.BUILD_FAILED if fetching else engine.FETCH_FAILED)
        condition = engine.FETCH_FAILED if fetching else engine.BUILD_FAILED
        stalling = error.kind in charts.PERSISTENT
        raise SourceError(error.said, condition=condition, stalling=stalling) from None
    return _stored(run, build)


def _stored(run: Run, build: Build) -> Stored:
    files = list(build.values_files) if run.spec.get("ignoreMissingValuesFiles") else None
    return Stored(
        build.version,
        f"{build.name}-{build.version}.tgz",
        build.data,
        build.stored,
        build.stored,
        link="latest.tar.gz",
        unchanged=texts.UP_TO_DATE(revision=build.version),
        observed={"observedChartName": build.name, "observedValuesFiles": files},
    )


async def _source(run: Run) -> Object:
    reference = run.spec["sourceRef"]
    kind, name = reference["kind"], reference["name"]
    if kind == "Bucket":
        raise unsupported("object storage (sourceRef of kind Bucket)", "use a HelmRepository or a GitRepository")
    found = await run.pod.kube.find(API_VERSION, kind, name, run.namespace)
    if found is None:
        raise SourceError(texts.CHART_NO_SOURCE(kind=kind, name=name))
    artifact = found.get("status", {}).get("artifact")
    static = kind == "HelmRepository" and found["spec"].get("type") == "oci"
    if not static and (artifact is None or not run.storage.holds(artifact)):
        raise SourceError(texts.CHART_NO_ARTIFACT(kind=kind, name=name), wait=RETRY)
    return found


async def _build(run: Run, source: Object) -> Build:
    if run.spec["sourceRef"]["kind"] == "GitRepository":
        return await _from_files(run, source["status"]["artifact"])
    if source["spec"].get("type") == "oci":
        return await _from_registry(run, source)
    return await _from_repository(run, source)


def _values_files(run: Run) -> list[str]:
    return run.spec.get("valuesFiles") or []


def _is_stored(run: Run, name: str, version: str) -> bool:
    """Return whether the stored chart was built from the current spec and has this name and version."""
    return (
        run.artifact is not None
        and run.obj["metadata"].get("generation") == run.status.get("observedGeneration")
        and run.status.get("observedChartName") == name
        and run.artifact["revision"] == version
    )


async def _announce(run: Run, build: Build) -> None:
    if run.status.get("observedChartName") != build.name or (run.artifact or {}).get("revision") != build.version:
        await run.announce(build.news)


def _as_stored(run: Run, name: str, version: str, packaged: bool) -> Build:
    files = run.status.get("observedValuesFiles") or _values_files(run)
    return Build(name, version, None, packaged, tuple(files))


# --- Helm repositories and registries --------------------------------------------------------------------------------


async def _from_repository(run: Run, source: Object) -> Build:
    index = json.loads(run.storage.read(source["status"]["artifact"]["path"]) or b"{}")
    entry = charts.choose(index.get("entries") or {}, run.spec["chart"], run.spec.get("version", "*"))
    name, version = str(entry["name"]), _version(run, str(entry["version"]))
    if _is_stored(run, name, version):
        return _as_stored(run, name, version, bool(_values_files(run)))
    if not entry.get("urls"):
        raise BuildError(charts.PULL, f"chart '{name}' has no downloadable URLs")
    url = urljoin(helm_repository.normalise(source["spec"]["url"]), entry["urls"][0])
    headers = helm_repository.authorization(await helm_repository.credentials(run, source["spec"]))
    try:
        data = await helm_repository.download(run.pod.wire, url, headers)
    except helm_repository.DownloadError as error:
        raise BuildError(charts.PULL, f"failed to download chart for remote reference: {error}") from None
    return await _remote(run, name, version, data)


async def _from_registry(run: Run, source: Object) -> Build:
    name = run.spec["chart"].rpartition("/")[2]
    client, base = await _registry(run, source)
    url = f"oci://{base}"
    tag = await _tag(run, client, url)
    version = _version(run, tag)
    if _is_stored(run, name, version):
        return _as_stored(run, name, version, bool(_values_files(run)))
    try:
        await client.ping()
        manifest, _ = await client.manifest(tag.replace("+", "_"))
        layer = next((layer for layer in manifest.get("layers") or () if layer["mediaType"] == LAYER), None)
        if layer is None:
            raise OciError(f"manifest does not contain a layer with mediatype {LAYER}")
        data = await client.blob(layer["digest"])
    except OciError as error:
        reason = f"{base}:{tag}: not found" if error.status == 404 else str(error)
        text = f"failed to download chart for remote reference: failed to get '{url}:{tag}': {reason}"
        raise BuildError(charts.PULL, text) from None
    return await _remote(run, name, version, data)


async def _registry(run: Run, source: Object) -> tuple[OciClient, str]:
    spec: Mapping[str, Any] = source["spec"]
    url: str = spec["url"]
    if not url.startswith("oci://"):
        raise SourceError(texts.CHART_REGISTRY_INVALID(url=url), stalling=True)
    base = f"{url.removeprefix('oci://').rstrip('/')}/{run.spec['chart']}"
    user, password = "", ""
    if spec.get("secretRef"):
        name = spec["secretRef"]["name"]
        data = await run.secret(name, texts.HELM_NO_SECRET().message)
        if ".dockerconfigjson" in data:
            user, password = docker_credentials(data[".dockerconfigjson"], base.partition("/")[0])
        else:
            user, password = await helm_repository.credentials(run, spec)
    return OciClient(run.pod.wire, base, user, password), base


async def _tag(run: Run, client: OciClient, url: str) -> str:
    """Return the version in the spec, or the highest tag that its range allows. Raises `BuildError`."""
    wanted = run.spec.get("version", "*")
    if semver.parse(wanted) is not None:
        return str(wanted)
    prefix = "failed to get chart version for remote reference: "
    try:
        await client.ping()
        tags = [tag.replace("_", "+") for tag in await client.tags()]
    except OciError as error:
        text = f'{prefix}could not get tags for "{run.spec["chart"]}": could not fetch tags for "{url}": {error}'
        raise BuildError(charts.PULL, text) from None
    chosen = charts.best(tags, wanted, charts.PULL)
    if chosen is None:
        text = f"{prefix}could not locate a version matching provided version string {wanted}"
        raise BuildError(charts.PULL, text)
    return chosen


def _version(run: Run, version: str) -> str:
    generation = str(run.obj["metadata"].get("generation", 0))
    return charts.with_metadata(version, generation if _values_files(run) else "")


async def _remote(run: Run, name: str, version: str, data: bytes) -> Build:
    files = charts.unpack(data)
    if not _values_files(run):
        build = Build(name, version, data)
        await _announce(run, build)
        return build
    document = {**charts.metadata(files, charts.PACKAGE), "version": version}
    values, used = charts.merge_values(files, _values_files(run), bool(run.spec.get("ignoreMissingValuesFiles")))
    packed = charts.package({**files, "values.yaml": values} if used else files, document)
    build = Build(name, version, packed, True, used)
    await _announce(run, build)
    return build


# --- folders in Git --------------------------------------------------------------------------------------------------


async def _from_files(run: Run, artifact: Mapping[str, Any]) -> Build:
    tree = artifacts.unpack(run.storage.read(artifact["path"]) or b"")
    files = charts.folder(tree, run.spec["chart"])
    document = charts.metadata(files, charts.REFERENCE)
    parts = []
    if run.spec.get("reconcileStrategy") == "Revision":
        parts.append(artifact["revision"].rpartition(":")[2][:12])
    if _values_files(run):
        parts.append(str(run.obj["metadata"].get("generation", 0)))
    name, version = str(document["name"]), charts.with_metadata(str(document["version"]), ".".join(parts))
    if _is_stored(run, name, version):
        return _as_stored(run, name, version, True)
    used: tuple[str, ...] = ()
    if _values_files(run):
        values, used = charts.merge_values(tree, _values_files(run), bool(run.spec.get("ignoreMissingValuesFiles")))
        files = {**files, "values.yaml": values} if used else files
    charts.check_dependencies(files, document)
    build = Build(name, version, charts.package(files, {**document, "version": version}), True, used)
    await _announce(run, build)
    return build


KIND = engine.Kind(
    "HelmChart",
    read,
    conditions=(
        engine.STORAGE_FAILED,
        engine.FETCH_FAILED,
        engine.BUILD_FAILED,
        engine.OUTDATED,
        engine.IN_STORAGE,
        engine.VERIFIED,
        conditions.STALLED,
        conditions.RECONCILING,
    ),
    failures=(engine.BUILD_FAILED, engine.FETCH_FAILED, engine.STORAGE_FAILED),
)
