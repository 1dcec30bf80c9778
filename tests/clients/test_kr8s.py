"""The unmodified kr8s on a cluster of the fleet: typed and custom kinds, waits, scaling, logs, watches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kr8s
import pytest
from kr8s.objects import ConfigMap, Deployment, Namespace, Node, Pod

pytestmark = pytest.mark.slow

IMAGE = "ghcr.io/stefanprodan/podinfo:6.9.0"


@pytest.fixture
def api(prod_config: Path) -> Any:
    return kr8s.api(kubeconfig=str(prod_config), namespace="default")


@pytest.fixture
def namespace(api: Any) -> Iterator[str]:
    found = Namespace({"metadata": {"name": "by-kr8s"}}, api=api)
    found.create()
    yield "by-kr8s"
    found.delete()
    found.wait("delete", timeout=30)


def test_reads_with_selectors(api: Any) -> None:
    nodes = list(api.get("nodes"))
    assert nodes and all(isinstance(node, Node) and not node.unschedulable for node in nodes)
    pods = list(api.get("pods", namespace="podinfo", label_selector={"app.kubernetes.io/name": "podinfo"}))
    assert pods and all(isinstance(pod, Pod) and pod.ready() for pod in pods)
    named = list(api.get("pods", namespace=kr8s.ALL, field_selector={"metadata.name": pods[0].name}))
    assert [pod.name for pod in named] == [pods[0].name]
    assert api.version()["gitVersion"].startswith("v1.")
    assert {"podinfo", "cluster-config"} <= {item.name for item in api.get("namespaces")}


def test_custom_kinds_by_discovery(api: Any) -> None:
    (release,) = api.get("helmreleases.helm.toolkit.fluxcd.io", "podinfo", namespace="cluster-config")
    assert release.status.conditions[0]["type"] == "Ready" and release.status.conditions[0]["status"] == "True"
    (repository,) = api.get("gitrepo", namespace=kr8s.ALL)
    assert repository.name == "cluster-config" and repository.raw["status"]["artifact"]["digest"].startswith("sha256:")
    with pytest.raises(ValueError, match="Kind nosuch not found"):
        list(api.get("nosuch"))


def test_an_object_from_create_to_delete(api: Any, namespace: str) -> None:
    settings = ConfigMap({"metadata": {"name": "settings", "namespace": namespace}, "data": {"a": "1"}}, api=api)
    assert not settings.exists()
    settings.create()
    assert settings.exists() and settings.data == {"a": "1"}
    settings.patch({"data": {"b": "2"}})
    settings.patch([{"op": "remove", "path": "/data/a"}], type="json")
    settings.label(kept="yes")
    settings.annotate({"example.org/seen": "yes"})
    settings.refresh()
    assert (settings.data, settings.labels, settings.annotations) == ({"b": "2"}, {"kept": "yes"}, {"example.org/seen": "yes"})
    with pytest.raises(kr8s.ServerError) as caught:
        settings.create()
    assert caught.value.response is not None and caught.value.response.status_code == 409
    assert caught.value.response.json()["reason"] == "AlreadyExists"
    settings.delete()
    settings.wait("delete", timeout=10)
    with pytest.raises(kr8s.NotFoundError):
        ConfigMap.get("settings", namespace=namespace, api=api, timeout=1)


def test_a_deployment_scales_and_its_pods_log(api: Any, namespace: str) -> None:
    labels = {"app": "web"}
    deployment = Deployment(
        {
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "podinfo", "image": IMAGE}]}},
            },
        },
        api=api,
    )
    deployment.create()
    deployment.wait("condition=Available", timeout=30)
    deployment.scale(2)
    deployment.wait("jsonpath='{.status.readyReplicas}'=2", timeout=30)
    pods = deployment.pods()
    assert len(pods) == 2 and deployment.replicas == 2
    pods[0].wait("condition=Ready", timeout=30)
    assert any("podinfo" in line for line in pods[0].logs())
    deployment.delete(propagation_policy="Foreground")
    deployment.wait("delete", timeout=30)
    assert list(api.get("pods", namespace=namespace)) == []


def test_watches_report_each_change(api: Any, namespace: str) -> None:
    settings = ConfigMap({"metadata": {"name": "watched", "namespace": namespace}, "data": {"n": "0"}}, api=api)
    settings.create()
    seen = []
    for kind, obj in api.watch("configmaps", namespace=namespace, field_selector={"metadata.name": "watched"}):
        seen.append((kind, obj.data["n"]))
        if kind == "ADDED":
            settings.patch({"data": {"n": "1"}})
        elif kind == "MODIFIED":
            settings.delete()
        else:
            break
    assert seen == [("ADDED", "0"), ("MODIFIED", "1"), ("DELETED", "1")]
