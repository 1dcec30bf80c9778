"""The chart of a release: the HelmChart of `spec.chart`, or the source of `spec.chartRef`, and its artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azuresandbox.machine.client import ApiError, NoMatch
from azuresandbox.machine.durations import go_duration
from azuresandbox.machine.helm.charts import ChartError, load
from azuresandbox.machine.images.flux import artifacts, conditions
from azuresandbox.machine.images.flux.helm import texts
from azuresandbox.machine.images.flux.helm.run import GROUP, MANAGER, After, Retry, Run, Terminal
from azuresandbox.machine.images.flux.ssa.manager import Options, ResourceManager
from azuresandbox.machine.images.flux.ssa.refs import CONFIGURED, CREATED
from azuresandbox.machine.images.flux.ssa.wait import ApplyError
from azuresandbox.machine.types import Object

SOURCE_API = "source.toolkit.fluxcd.io/v1"


# --- references ------------------------------------------------------------------------------------------------------


def source_of(obj: Object) -> tuple[str, str, str]:
    """Return (kind, namespace, name) of the object whose artifact is the chart. The kind is "" if the spec names no chart."""
    reference = obj["spec"].get("chartRef")
    if reference:
        return reference["kind"], reference.get("namespace") or obj["metadata"]["namespace"], reference["name"]
    if not obj["spec"].get("chart"):
        return "", "", ""
    return ("HelmChart", *_chart_name(obj))


def state(source: Object) -> tuple[Any, ...]:
    """Return the parts of a source that concern the releases of its chart."""
    status = source.get("status") or {}
    ready = conditions.find(source, conditions.READY) or {}
    revision = (status.get("artifact") or {}).get("revision")
    return revision, ready.get("status"), ready.get("message"), status.get("observedGeneration")


def _chart_name(obj: Object) -> tuple[str, str]:
    """Return namespace and name of the HelmChart of a chart template."""
    metadata = obj["metadata"]
    reference = obj["spec"]["chart"]["spec"]["sourceRef"]
    return reference.get("namespace") or metadata["namespace"], f"{metadata['namespace']}-{metadata['name']}"


# --- the chart template ----------------------------------------------------------------------------------------------


async def keep_chart(run: Run) -> None:
    """Apply the HelmChart of `spec.chart`, and delete the previous one if its name has changed. Raises `Retry`."""
    template = run.spec.get("chart")
    wanted = "/".join(_chart_name(run.obj)) if template else ""
    known = run.status.get("helmChart", "")
    if known and known != wanted:
        await delete_chart(run)
    if not template:
        return
    namespace, name = _chart_name(run.obj)
    if run.settings.no_cross_namespace and namespace != run.namespace:
        # helm-controller sets no condition here: it has not looked for the source yet.
        raise Retry(texts.ACCESS_DENIED(kind="HelmChart", namespace=namespace, name=name).message)
    manager = ResourceManager(run.pod.kube, run.clock, MANAGER, GROUP)
    chart = _helm_chart(run.obj, manager.owner_labels(run.name, run.namespace))
    try:
        [entry] = await manager.apply_all([chart], Options())
    except ApplyError as error:
        raise Retry(texts.CHART_NOT_APPLIED(error=error).message) from error
    if entry.action in (CREATED, CONFIGURED):
        reference = chart["spec"]["sourceRef"]
        source = f"{reference['kind']}/{namespace}/{reference['name']}"
        run.log(texts.CHART_APPLIED(entry=entry, source=source).message)
    run.status["helmChart"] = wanted


async def delete_chart(run: Run) -> None:
    """Delete the HelmChart that the status names."""
    namespace, _, name = run.status["helmChart"].partition("/")
    await run.pod.kube.delete(SOURCE_API, "HelmChart", name, namespace)
    run.log(texts.CHART_DELETED(chart=run.status["helmChart"]).message)
    del run.status["helmChart"]


def _helm_chart(obj: Object, labels: Mapping[str, str]) -> Object:
    template = obj["spec"]["chart"]
    spec, metadata = template["spec"], template.get("metadata") or {}
    namespace, name = _chart_name(obj)
    source = {part: spec["sourceRef"][part] for part in ("kind", "name")}
    copied = ("chart", "version", "reconcileStrategy", "valuesFiles", "ignoreMissingValuesFiles", "verify")
    found: Object = {
        "apiVersion": SOURCE_API,
        "kind": "HelmChart",
        "metadata": {"name": name, "namespace": namespace, "labels": {**(metadata.get("labels") or {}), **labels}},
        "spec": {part: spec[part] for part in copied if part in spec}
        | {"sourceRef": source, "interval": spec.get("interval") or obj["spec"]["interval"]},
    }
    if metadata.get("annotations"):
        found["metadata"]["annotations"] = dict(metadata["annotations"])
    return found


# --- the source ------------------------------------------------------------------------------------------------------


async def find(run: Run) -> Object:
    """Return the source, once it is ready. Raises `Terminal`, `Retry` or `After`."""
    kind, namespace, name = source_of(run.obj)
    if run.settings.no_cross_namespace and namespace != run.namespace:
        said = texts.ACCESS_DENIED(kind=kind, namespace=namespace, name=name)
        run.stall(said)
        run.not_ready(said)
        await run.recorder.warning(run.obj, *said)
        raise Terminal(said.message)
    try:
        source = await run.pod.kube.find(SOURCE_API, kind, name, namespace)
        problem = "" if source else texts.NO_SUCH_SOURCE(kind=kind, name=name).message
    except (ApiError, NoMatch) as error:
        source, problem = None, str(error)
    if source is None:
        said = texts.NO_SOURCE(problem=problem)
        run.not_ready(said)
        raise Retry(said.message)
    run.resolve("AccessDenied", "ArtifactFailed")
    problem = _problem(source)
    if problem:
        run.not_ready(texts.SOURCE_NOT_READY(kind=kind, namespace=namespace, name=name, problem=problem))
        raise After(run.settings.requeue_dependency)
    run.resolve("SourceNotReady")
    return {**source, "kind": kind}


def _problem(source: Object) -> str:
    """Return why a source is not ready, or ""."""
    status = source.get("status") or {}
    if source["metadata"].get("generation") != status.get("observedGeneration"):
        ready = conditions.find(source, conditions.READY)
        if ready is not None and ready["status"] == "False":
            return str(ready["message"])
        return texts.SOURCE_NOT_OBSERVED().message
    if conditions.is_true(source, conditions.STALLED):
        return str((conditions.find(source, conditions.STALLED) or {}).get("message", ""))
    return "" if status.get("artifact") else texts.SOURCE_WITHOUT_ARTIFACT().message


async def load_chart(run: Run, source: Object) -> None:
    """Set `run.loaded` and `run.version` from the source's artifact. Raises `After` or `Retry`."""
    artifact = source["status"]["artifact"]
    try:
        run.loaded = load(await artifacts.fetch(run.pod, artifact))
    except artifacts.ArtifactNotFound as error:
        again = run.settings.requeue_dependency
        run.not_ready(texts.NO_ARTIFACT(again=go_duration(again)))
        raise After(again) from error
    except (artifacts.ArtifactError, ChartError) as error:
        run.not_ready(texts.CHART_NOT_LOADED(error=error))
        await run.recorder.warning(run.obj, *texts.CHART_NOT_LOADED_EVENT(error=error))
        raise Retry(str(error)) from error
    run.resolve("ArtifactFailed")
    run.version = str(run.chart.metadata["version"])
    if source["kind"] == "OCIRepository":
        _track_digest(run, str(artifact["revision"]))
    else:
        run.status.pop("lastAttemptedRevisionDigest", None)


def _track_digest(run: Run, revision: str) -> None:
    """Add the digest of an OCI artifact to the chart's version: `1.2.3+<12 digits>`. Raises `Retry`."""
    tag, _, digest = revision.rpartition("@")
    said = None
    if tag and _is_semver(tag) and tag.replace("_", "+").lstrip("v") != run.version.lstrip("v"):
        said = texts.REVISION_MISMATCH(tag=tag, version=run.version)
    elif len(digest.partition(":")[2]) < 12:
        said = texts.REVISION_INVALID(revision=revision)
    if said is not None:
        run.not_ready(said)
        raise Retry(said.message)
    run.version = f"{run.version.partition('+')[0]}+{digest.partition(':')[2][:12]}"
    run.status["lastAttemptedRevisionDigest"] = digest


def _is_semver(tag: str) -> bool:
    parts = tag.lstrip("v").split("-")[0].split("_")[0].split("+")[0].split(".")
    return len(parts) == 3 and all(part.isdigit() for part in parts)
