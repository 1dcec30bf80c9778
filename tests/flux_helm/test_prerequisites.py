"""HelmReleases before the release: chart, values, dependencies, and refusals."""

from __future__ import annotations

import base64

from azuresandbox.machine.images.flux.helm import program
from tests.flux_helm.helm_world import chart, publish, release, stored, version_of
from tests.flux_kustomize.apply_world import NAMESPACE, Cluster, conditions, with_program


@with_program(program)
async def test_values_from_secrets_and_their_errors(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release(valuesFrom=[{"kind": "Secret", "name": "aso-identity"}]))
    await cluster.settle()
    where = f"could not resolve Secret chart values reference '{NAMESPACE}/aso-identity' with key 'values.yaml'"
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    assert ready == ("False", "ValuesError", f'{where}: secrets "aso-identity" not found')
    assert ("Warning", "ValuesError", ready[2]) in cluster.events("app")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "aso-identity"}}
    cluster.create({**secret, "data": {"other": ""}})
    await cluster.advance(60)
    assert conditions(cluster.get("HelmRelease", "app"))["Ready"][2] == f"{where}: key not found"
    cluster.create({**secret, "data": {"values.yaml": base64.b64encode(b"a: b: c").decode()}})
    await cluster.advance(600)
    problem = "error converting YAML to JSON: yaml: mapping values are not allowed in this context"
    assert conditions(cluster.get("HelmRelease", "app"))["Ready"][2] == f"{where}: {problem}"
    cluster.create({**secret, "data": {"values.yaml": base64.b64encode(b"count: 7\nextra: true").decode()}})
    await cluster.advance(900)
    assert conditions(cluster.get("HelmRelease", "app"))["Ready"][0] == "True"
    assert cluster.get("ConfigMap", "app-settings")["data"]["count"] == "7"


@with_program(program)
async def test_values_are_composed_in_order(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "v"}, "data": {"n": "5", "y": "extra: true"}})
    references = [
        {"kind": "ConfigMap", "name": "v", "valuesKey": "y"},
        {"kind": "ConfigMap", "name": "v", "valuesKey": "n", "targetPath": "count"},
        {"kind": "Secret", "name": "none", "optional": True},
    ]
    cluster.create(release(valuesFrom=references))
    await cluster.settle()
    assert stored(cluster, 1).config == {"count": 5, "extra": True}


@with_program(program)
async def test_sources_that_are_missing_or_not_ready_are_named(cluster: Cluster) -> None:
    cluster.create(release())
    await cluster.settle()
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    missing = 'could not get Source object: OCIRepository.source.toolkit.fluxcd.io "charts" not found'
    assert ready == ("False", "ArtifactFailed", missing)
    repository = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": {"name": "charts"}}
    failed = {"type": "Ready", "status": "False", "reason": "OCIPullFailed", "message": "no such tag"}
    cluster.create({**repository, "spec": {}, "status": {"observedGeneration": 0, "conditions": [failed]}})
    await cluster.settle()
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    assert ready == ("False", "SourceNotReady", f"OCIRepository '{NAMESPACE}/charts' is not ready: no such tag")
    cluster.source("0.1.0@sha256:" + "a" * 64, b"no chart", kind="OCIRepository", name="charts")
    await cluster.settle()
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    assert ready[1] == "ArtifactFailed" and ready[2].startswith("Could not load chart: ")
    publish(cluster, chart("0.9.0"))
    await cluster.settle()
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    assert ready == ("False", "ChartMutateError", "artifact revision 0.1.0 does not match chart version 0.9.0")
    publish(cluster, chart("0.9.0"), "0.9.0")
    await cluster.settle()
    assert conditions(cluster.get("HelmRelease", "app"))["Ready"][0] == "True"


@with_program(program)
async def test_a_chart_template_becomes_a_helm_chart(cluster: Cluster) -> None:
    template = {"spec": {"chart": "demo", "version": "0.1.0", "sourceRef": {"kind": "HelmRepository", "name": "repo"}}}
    cluster.create({**release(), "spec": {"interval": "5m", "chart": template}})
    await cluster.settle()
    made = cluster.get("HelmChart", f"{NAMESPACE}-app")
    assert made["spec"] == {
        "chart": "demo",
        "version": "0.1.0",
        "interval": "5m",
        "sourceRef": {"kind": "HelmRepository", "name": "repo"},
    }
    assert made["metadata"]["labels"]["helm.toolkit.fluxcd.io/name"] == "app"
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    problem = "latest generation of object has not been reconciled"
    assert ready == ("False", "SourceNotReady", f"HelmChart '{NAMESPACE}/{NAMESPACE}-app' is not ready: {problem}")
    cluster.source("0.1.0", chart(), kind="HelmChart", name=f"{NAMESPACE}-app")
    await cluster.settle()
    assert conditions(cluster.get("HelmRelease", "app"))["Ready"][0] == "True" and version_of(cluster) == "0.1.0"
    cluster.delete("HelmRelease", "app")
    await cluster.settle()
    assert not cluster.has("HelmRelease", "app") and not cluster.has("HelmChart", f"{NAMESPACE}-app")


@with_program(program)
async def test_dependencies(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release("later", dependsOn=[{"name": "first"}]))
    await cluster.settle()
    ready = conditions(cluster.get("HelmRelease", "later"))["Ready"]
    missing = 'helmreleases.helm.toolkit.fluxcd.io "first" not found'
    assert ready == ("False", "DependencyNotReady", f"unable to get '{NAMESPACE}/first' dependency: {missing}")
    cluster.create(release("first"))
    await cluster.settle()
    assert conditions(cluster.get("HelmRelease", "later"))["Ready"][0] == "True"


@with_program(program, "--no-cross-namespace-refs=true")
async def test_cross_namespace_references_can_be_refused(cluster: Cluster) -> None:
    """A chartRef to another namespace stalls the release. A chart template's source there fails before any condition is set."""
    cluster.create(release(chartRef={"kind": "OCIRepository", "name": "charts", "namespace": "other"}))
    template = {"chart": "demo", "sourceRef": {"kind": "HelmRepository", "name": "repo", "namespace": "other"}}
    cluster.create({**release("late"), "spec": {"interval": "5m", "chart": {"spec": template}}})
    await cluster.settle()
    found = conditions(cluster.get("HelmRelease", "app"))
    message = "cross-namespace references are not allowed: cannot access OCIRepository other/charts"
    assert found == {"Stalled": ("True", "AccessDenied", message), "Ready": ("False", "AccessDenied", message)}
    assert cluster.events("app") == [("Warning", "AccessDenied", message)]
    assert conditions(cluster.get("HelmRelease", "late")) == {}
    assert not cluster.has("HelmChart", f"{NAMESPACE}-late", "other")


@with_program(program)
async def test_helm_tests_are_refused_by_name(cluster: Cluster) -> None:
    publish(cluster, chart())
    cluster.create(release(test={"enable": True}))
    await cluster.settle()
    ready = conditions(cluster.get("HelmRelease", "app"))["Ready"]
    assert ready[0] == "False" and "spec.test" in ready[2]
