"""The source of a Kustomization and its artifact, and the Kustomizations that it depends on."""

from __future__ import annotations

from collections import OrderedDict

from azuresandbox.machine.client import ApiError, NoMatch
from azuresandbox.machine.durations import go_duration
from azuresandbox.machine.images.flux import artifacts, objects
from azuresandbox.machine.images.flux.kustomize import texts
from azuresandbox.machine.images.flux.kustomize.cache import remembered
from azuresandbox.machine.images.flux.kustomize.run import API, KIND, Failure, Run
from azuresandbox.machine.images.flux.texts import Said
from azuresandbox.machine.types import Object

SOURCES = {
    "GitRepository": "source.toolkit.fluxcd.io/v1",
    "OCIRepository": "source.toolkit.fluxcd.io/v1",
    "Bucket": "source.toolkit.fluxcd.io/v1",
}

_files: OrderedDict[str, dict[str, bytes]] = OrderedDict()


def source_of(obj: Object) -> tuple[str, str, str]:
    """Return (kind, namespace, name) of the object's source."""
    reference = obj["spec"]["sourceRef"]
    return reference["kind"], reference.get("namespace") or obj["metadata"]["namespace"], reference["name"]


def revision(source: Object) -> str | None:
    """Return the revision of a source's artifact, or `None`."""
    artifact = (source.get("status") or {}).get("artifact") or {}
    return artifact.get("revision")


async def find(run: Run) -> Object:
    """Return the source, once it has an artifact. Raises `Failure`."""
    kind, namespace, name = source_of(run.obj)
    if run.settings.no_cross_namespace and namespace != run.namespace:
        raise Failure(texts.ACCESS_DENIED(kind=kind, namespace=namespace, name=name))
    if kind not in SOURCES:
        raise Failure(texts.SOURCE_KIND(kind=kind, name=name), silent=True)
    try:
        source = await run.pod.kube.find(SOURCES[kind], kind, name, namespace)
    except (ApiError, NoMatch) as error:
        raise Failure(texts.SOURCE_UNREADABLE(namespace=namespace, name=name, error=error), silent=True) from error
    if source is None:
        raise Failure(texts.NO_SOURCE(kind=kind, name=name), silent=True)
    if not (source.get("status") or {}).get("artifact"):
        again = run.settings.requeue_dependency
        raise Failure(texts.SOURCE_WITHOUT_ARTIFACT(again=go_duration(again)), again=again, silent=True)
    return source


async def fetch(run: Run) -> dict[str, bytes]:
    """Return the files of the artifact (path -> contents). Raises `Failure`."""
    try:
        data = await artifacts.fetch(run.pod, run.artifact)
        return remembered(_files, run.artifact["digest"], lambda: artifacts.unpack(data))
    except artifacts.ArtifactNotFound as error:
        again = run.settings.requeue_dependency
        raise Failure(texts.NO_ARTIFACT(again=go_duration(again)), again=again, silent=True) from error
    except (artifacts.ArtifactError, ValueError) as error:
        raise Failure(texts.ARTIFACT_FAILED(error=error)) from error


async def check_dependencies(run: Run) -> None:
    """Raise `Failure` if an object of `spec.dependsOn` is missing, not ready, or behind the revision of the same source."""
    for namespace, name in objects.dependencies(run.obj):
        problem = await _dependency_problem(run, namespace, name)
        if problem is not None:
            again = run.settings.requeue_dependency
            event = texts.DEPENDENCIES_EVENT(again=go_duration(again)).message
            raise Failure(problem, again=again, event=event)


async def _dependency_problem(run: Run, namespace: str, name: str) -> Said | None:
    found = await run.pod.kube.find(API, KIND, name, namespace)
    if found is None:
        return texts.NO_DEPENDENCY(namespace=namespace, name=name)
    if not objects.is_ready(found):
        return texts.DEPENDENCY_NOT_READY(namespace=namespace, name=name)
    if source_of(found) == source_of(run.obj) and found["status"].get("lastAppliedRevision") != run.revision:
        return texts.DEPENDENCY_OUTDATED(namespace=namespace, name=name)
    return None
