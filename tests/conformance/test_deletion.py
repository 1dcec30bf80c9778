"""Finalizers, preconditions, propagation, collections, and the deletion of a namespace."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.comparing import on_both
from tests.conformance.definitions import WIDGETS, config_map, deployment, pod, widget
from tests.conformance.talk import MERGE, Talk


def options(**more: Any) -> dict[str, Any]:
    return {"kind": "DeleteOptions", "apiVersion": "v1", **more}


@pytest.mark.parametrize("resource", ["configmaps", WIDGETS])
@on_both
def test_finalizers(talk: Talk, resource: str) -> None:
    document = config_map("x") if resource == "configmaps" else widget("x")
    path = talk.at(resource, "x")
    talk("POST", talk.at(resource), {**document, "metadata": {"name": "x", "finalizers": ["a.b/one", "a.b/two"]}})
    talk("DELETE", path)
    talk("DELETE", path)
    talk("GET", path)
    talk("PATCH", path, {"metadata": {"labels": {"still": "here"}}}, content_type=MERGE)
    talk("PATCH", path, {"metadata": {"finalizers": ["a.b/one", "a.b/three"]}}, content_type=MERGE)
    talk("PATCH", path, {"metadata": {"finalizers": ["a.b/one"]}}, content_type=MERGE)
    talk("POST", talk.at(resource), document)
    talk("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE)
    talk("GET", path)


@on_both
def test_preconditions(talk: Talk) -> None:
    path = talk.at("configmaps", "x")
    made = talk("POST", talk.at("configmaps"), config_map("x"))
    talk("DELETE", path, options(preconditions={"uid": "00000000-0000-0000-0000-000000000000"}))
    talk("DELETE", path, options(preconditions={"resourceVersion": "1"}))
    talk("DELETE", path, options(preconditions={"resourceVersion": "1"}), dryRun="All")
    talk(
        "DELETE",
        path,
        options(preconditions={"uid": made["metadata"]["uid"], "resourceVersion": made["metadata"]["resourceVersion"]}),
    )
    talk("DELETE", path, options(preconditions={"uid": made["metadata"]["uid"]}))


@on_both
def test_propagation(talk: Talk) -> None:
    for name, policy in (("a", "Background"), ("b", "Nonsense"), ("c", "")):
        talk.quietly("POST", talk.at("configmaps"), config_map(name))
        talk("DELETE", talk.at("configmaps", name), options(propagationPolicy=policy))
    talk("DELETE", talk.at("configmaps", "b"), propagationPolicy="Nonsense")
    talk("DELETE", talk.at("configmaps", "b"), options(propagationPolicy="Orphan", orphanDependents=True))
    talk("DELETE", talk.at("configmaps", "b"), options(gracePeriodSeconds=-1))
    talk("DELETE", talk.at("configmaps", "b"), options(gracePeriodSeconds="soon"))
    talk("DELETE", talk.at("configmaps", "b"), {"kind": "DeleteOptions", "apiVersion": "v9"})
    talk("DELETE", talk.at("configmaps", "b"), {"kind": "Pod", "apiVersion": "v1"})
    talk("DELETE", talk.at("configmaps", "b"), "{")
    talk("DELETE", talk.at("configmaps", "b"), propagationPolicy="Background", gracePeriodSeconds="5")


@on_both
def test_collections(talk: Talk) -> None:
    for resource, make in (("configmaps", config_map), (WIDGETS, widget), ("apps/v1/deployments", deployment)):
        for name, label in (("a", "x"), ("b", "y"), ("c", "x")):
            document: Any = make(name)
            talk.quietly("POST", talk.at(resource), {**document, "metadata": {"name": name, "labels": {"on": label}}})
        talk("DELETE", talk.at(resource), labelSelector="on=x")
        talk("DELETE", talk.at(resource), labelSelector="on in (")
        talk("GET", talk.at(resource))
        talk("DELETE", talk.at(resource), fieldSelector="metadata.name=b")
        talk("GET", talk.at(resource))
        talk("DELETE", talk.at(resource))


@on_both
def test_pods_with_grace(talk: Talk) -> None:
    """A Pod on a node is deleted after its grace period."""
    talk.quietly("POST", talk.at("pods"), pod("x"))
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "x"},
        "target": {"kind": "Node", "name": "somewhere"},
    }
    talk("POST", talk.at("pods", "x", "binding"), binding)
    talk("POST", talk.at("pods", "x", "binding"), binding)
    talk("GET", talk.at("pods", "x"))
    talk("DELETE", talk.at("pods", "x"), options(gracePeriodSeconds=20))
    talk("DELETE", talk.at("pods", "x"), options(gracePeriodSeconds=30))
    talk("DELETE", talk.at("pods", "x"), options(gracePeriodSeconds=0))
    talk("GET", talk.at("pods", "x"))


@on_both
def test_namespace_end(talk: Talk) -> None:
    """No object can be created in a namespace that is being deleted; the finalize subresource."""
    talk("DELETE", "/api/v1/namespaces/default")
    talk("DELETE", "/api/v1/namespaces/kube-system")
    name = f"{talk.namespace}-other"
    path = f"/api/v1/namespaces/{name}"
    talk("POST", "/api/v1/namespaces", {"metadata": {"name": name, "finalizers": ["a.b/c"]}})
    talk("PUT", path, {"metadata": {"name": name, "labels": {"a": "b"}, "finalizers": ["a.b/c"]}, "spec": {"finalizers": []}})
    talk("PATCH", f"{path}/status", {"status": {"phase": "Terminating"}}, content_type=MERGE)
