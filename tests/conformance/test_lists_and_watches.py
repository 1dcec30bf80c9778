"""Lists, pages, selectors and Tables; watches, with their first and last events."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.comparing import on_both
from tests.conformance.definitions import WIDGETS, config_map, deployment, pod, service, widget
from tests.conformance.talk import JSON, MERGE, PARTIAL, PARTIAL_LIST, TABLE, Talk

_LABELLED = {"a": {"app": "web", "tier": "front"}, "b": {"app": "web"}, "c": {"app": "db", "tier": "back"}, "d": {}}

LABEL_SELECTORS = [
    "app=web",
    "app==web",
    "app!=web",
    "app",
    "!app",
    "app in (web,db)",
    "app notin (web)",
    "app in (web),tier",
    "tier=",
    "app in ()",
    "app in (web",
    "app=web,",
    ",",
    "=",
    "app=a b",
    "app>1",
    "app<x",
    "a/b/c=d",
    "app=web=db",
    "-app",
    "app in (web,web)",
    "app=WEB",
    "x" * 70,
    f"app={'y' * 70}",
    "app notin (web), !tier",
    "(",
    "app in web",
    "app!in(web)",
    "  app  =  web  ",
    "app=web tier=front",
]


@pytest.mark.parametrize("resource", ["configmaps", WIDGETS])
@on_both
def test_label_selectors(talk: Talk, resource: str) -> None:
    for name, labels in _LABELLED.items():
        document = config_map(name) if resource == "configmaps" else widget(name)
        talk.quietly("POST", talk.at(resource), {**document, "metadata": {"name": name, "labels": labels}})
    for selector in LABEL_SELECTORS:
        talk("GET", talk.at(resource), labelSelector=selector)
    talk("GET", talk.at(resource), labelSelector="")


FIELD_SELECTORS = [
    "metadata.name=a",
    "metadata.name==a",
    "metadata.name!=a",
    "metadata.name=a,metadata.namespace!=x",
    "metadata.name",
    "metadata.name=",
    "metadata.labels.app=web",
    "=",
    "data.a=1",
    "metadata.name=a,metadata.name=b",
    "metadata.name in (a)",
    "metadata.name=\\",
    "metadata.name=a\\,b",
    "spec.colour=green",
    "spec.size=1",
]


@pytest.mark.parametrize("resource", ["configmaps", WIDGETS])
@on_both
def test_field_selectors(talk: Talk, resource: str) -> None:
    for name in "ab":
        document = config_map(name) if resource == "configmaps" else widget(name, colour="green" if name == "a" else "red")
        talk.quietly("POST", talk.at(resource), document)
    for selector in FIELD_SELECTORS:
        talk("GET", talk.at(resource), fieldSelector=selector)


BUILTIN_FIELDS = {
    "pods": [
        "status.phase=Pending",
        "spec.nodeName=",
        "spec.nodeName!=x",
        "status.phase!=Pending",
        "spec.restartPolicy=Always",
        "status.podIP=",
        "spec.schedulerName=x",
        "spec.serviceAccountName=default",
        "spec.hostNetwork=false",
        "spec.image=x",
        "status.nominatedNodeName=",
        "spec.containers=x",
    ],
    "secrets": ["type=Opaque", "type!=Opaque", "data=x"],
    "events": [
        "involvedObject.name=x",
        "reason=Made",
        "type=Normal",
        "source=x",
        "reportingComponent=",
        "involvedObject.kind=Pod",
        "message=x",
    ],
    "services": ["spec.type=ClusterIP", "spec.clusterIP=None", "spec.ports=x"],
    "apps/v1/deployments": ["metadata.name=x", "status.replicas=0", "spec.replicas=1"],
    "apps/v1/replicasets": ["status.replicas=0", "spec.replicas=1"],
    "batch/v1/jobs": ["status.successful=0", "status.active=1"],
    "replicationcontrollers": ["status.replicas=0"],
    "persistentvolumeclaims": ["status.phase=Pending", "metadata.name=x"],
}


@pytest.mark.parametrize("resource", BUILTIN_FIELDS)
@on_both
def test_fields_of_built_in_kinds(talk: Talk, resource: str) -> None:
    talk.quietly("POST", talk.at("pods"), pod("x"))
    talk.quietly("POST", talk.at("services"), service("x"))
    talk.quietly("POST", talk.at("secrets"), {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}})
    for selector in BUILTIN_FIELDS[resource]:
        talk("GET", talk.at(resource), fieldSelector=selector)


@on_both
def test_fields_of_cluster_kinds(talk: Talk) -> None:
    for resource, selector in (
        ("nodes", "spec.unschedulable=true"),
        ("nodes", "spec.podCIDR=x"),
        ("namespaces", "status.phase=Terminating"),
        ("namespaces", "metadata.namespace=x"),
        ("rbac.authorization.k8s.io/v1/clusterroles", "metadata.name=no-such"),
        ("apiextensions.k8s.io/v1/customresourcedefinitions", "metadata.name=no-such"),
        ("apiextensions.k8s.io/v1/customresourcedefinitions", "spec.group=x"),
        ("persistentvolumes", "spec.storageClassName=x"),
        ("persistentvolumes", "name=x"),
    ):
        talk("GET", talk.at(resource, namespace=""), fieldSelector=selector)


@pytest.mark.parametrize("resource", ["configmaps", WIDGETS])
@on_both
def test_pages(talk: Talk, resource: str) -> None:
    path = talk.at(resource)
    for number in range(5):
        document = config_map(f"n{number}") if resource == "configmaps" else widget(f"n{number}")
        talk.quietly("POST", path, {**document, "metadata": {"name": f"n{number}", "labels": {"odd": str(number % 2)}}})
    first = talk("GET", path, limit="2")
    token = first["metadata"]["continue"]
    talk.quietly("POST", path, {**(config_map("n0a") if resource == "configmaps" else widget("n0a"))})
    second = talk("GET", path, query={"limit": "2", "continue": token})
    talk("GET", path, query={"limit": "2", "continue": second["metadata"]["continue"]})
    talk("GET", path, query={"continue": token})
    talk("GET", path, query={"continue": token, "resourceVersion": "1"})
    talk("GET", path, query={"continue": token, "resourceVersionMatch": "Exact"})
    talk("GET", path, query={"continue": "nonsense"})
    talk("GET", path, limit="0")
    talk("GET", path, limit="5")
    talk("GET", path, limit="100")
    talk("GET", path, limit="-1")
    talk("GET", path, limit="many")
    page = talk("GET", path, limit="1", labelSelector="odd=1")
    talk("GET", path, query={"limit": "1", "labelSelector": "odd=1", "continue": page["metadata"]["continue"]})


@pytest.mark.parametrize("resource", ["configmaps", WIDGETS])
@on_both
def test_pages_of_forgotten_history(talk: Talk, resource: str) -> None:
    """A page of a compacted revision gets 410, with a token for an inconsistent rest."""
    path = talk.at(resource)
    make = config_map if resource == "configmaps" else widget
    for name in "abcde":
        talk.quietly("POST", path, make(name))
    first = talk("GET", path, limit="2")
    talk.quietly("DELETE", talk.at(resource, "c"))
    talk.quietly("POST", path, make("f"))
    talk.server.forget()
    refused = talk("GET", path, limit="2", query={"continue": first["metadata"]["continue"]})
    rest = talk("GET", path, limit="2", query={"continue": refused["metadata"]["continue"]})
    talk("GET", path, query={"continue": rest["metadata"]["continue"]})
    talk("GET", path, query={"continue": first["metadata"]["continue"]})
    version = first["metadata"]["resourceVersion"]
    for more in ({"resourceVersionMatch": "Exact"}, {"resourceVersionMatch": "Exact", "limit": "1"}, {}):
        talk("GET", path, resourceVersion=version, query=more)
        talk.exchanges[-1].request = f"GET old {','.join(more)}"


@pytest.mark.parametrize("resource", ["configmaps", WIDGETS])
@on_both
def test_resource_versions(talk: Talk, resource: str) -> None:
    """The resourceVersion that a list is requested at."""
    path = talk.at(resource)
    make = config_map if resource == "configmaps" else widget
    first = talk.quietly("POST", path, make("a"))["metadata"]["resourceVersion"]
    second = talk.quietly("POST", path, make("b"))["metadata"]["resourceVersion"]

    def asked(**query: str) -> None:
        """Send a list request; its answer is compared, its resourceVersion is not, since it differs between the servers."""
        before = len(talk.exchanges)
        talk("GET", path, query=query)
        talk.exchanges[before].request = "GET " + ",".join(name for name in query)

    asked(resourceVersion=first, resourceVersionMatch="Exact")
    asked(resourceVersion=second, resourceVersionMatch="Exact")
    asked(resourceVersion=second, resourceVersionMatch="NotOlderThan")
    asked(resourceVersion="0", resourceVersionMatch="Exact")
    asked(resourceVersionMatch="Exact")
    asked(resourceVersionMatch="NotOlderThan")
    asked(resourceVersion=first, resourceVersionMatch="Sometime")
    asked(resourceVersion="nonsense")
    asked(resourceVersion="-1")
    asked(resourceVersion=second, limit="1", resourceVersionMatch="Exact")
    asked(sendInitialEvents="true")
    talk("GET", talk.at(resource, "a"), resourceVersion="0")
    talk("GET", talk.at(resource, "a"), resourceVersion="nonsense")


NAMESPACED = (
    "pods",
    "services",
    "apps/v1/deployments",
    "configmaps",
    WIDGETS,
    "secrets",
    "events",
    "serviceaccounts",
    "apps/v1/replicasets",
    "apps/v1/statefulsets",
    "apps/v1/daemonsets",
    "batch/v1/jobs",
    "batch/v1/cronjobs",
    "networking.k8s.io/v1/ingresses",
    "rbac.authorization.k8s.io/v1/roles",
    "rbac.authorization.k8s.io/v1/rolebindings",
    "persistentvolumeclaims",
    "endpoints",
    "autoscaling/v2/horizontalpodautoscalers",
    "policy/v1/poddisruptionbudgets",
    "networking.k8s.io/v1/networkpolicies",
    "coordination.k8s.io/v1/leases",
    "discovery.k8s.io/v1/endpointslices",
    "podtemplates",
    "apps/v1/controllerrevisions",
    "replicationcontrollers",
)
CLUSTER_WIDE = (
    "nodes",
    "persistentvolumes",
    "storage.k8s.io/v1/storageclasses",
    "scheduling.k8s.io/v1/priorityclasses",
    "networking.k8s.io/v1/ingressclasses",
    "storage.k8s.io/v1/csidrivers",
    "node.k8s.io/v1/runtimeclasses",
)
"""Resources whose Tables are compared, in the order of the exchanges that `known.py` numbers."""


@on_both
def test_tables(talk: Talk) -> None:
    """The columns and cells that kubectl shows, and metadata-only answers."""
    talk.quietly("POST", talk.at("pods"), pod("p"))
    talk.quietly("POST", talk.at("services"), service("s"))
    talk.quietly("POST", talk.at("apps/v1/deployments"), deployment("d"))
    talk.quietly("POST", talk.at("configmaps"), config_map("c"))
    talk.quietly("POST", talk.at(WIDGETS), widget("w"))
    for resource in NAMESPACED:
        talk("GET", talk.at(resource), accept=TABLE)
    for resource in CLUSTER_WIDE:
        talk("GET", talk.at(resource, namespace=""), accept=TABLE, labelSelector="none=such")
    talk("GET", talk.at("configmaps", "c"), accept=TABLE)
    talk("GET", talk.at(WIDGETS, "w"), accept=TABLE)
    talk("GET", talk.at("configmaps"), accept=TABLE, includeObject="None")
    talk("GET", talk.at("configmaps"), accept=TABLE, includeObject="Object")
    talk("GET", talk.at("configmaps"), accept=TABLE, includeObject="Some")
    talk("GET", talk.at("configmaps", "not-there"), accept=TABLE)
    talk("GET", talk.at("configmaps"), accept=TABLE.replace("v=v1;", "v=v1beta1;"))
    talk("GET", talk.at("configmaps"), accept=PARTIAL_LIST)
    talk("GET", talk.at("configmaps", "c"), accept=PARTIAL)
    talk("GET", talk.at(WIDGETS), accept=PARTIAL_LIST)
    talk("GET", talk.at(WIDGETS, "w"), accept=PARTIAL)
    talk("POST", talk.at("configmaps"), config_map("e"), accept=TABLE)
    talk("PATCH", talk.at("configmaps", "e"), {"data": {"b": "c"}}, content_type=MERGE, accept=PARTIAL)


# --- watches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", ["configmaps", WIDGETS])
@on_both
def test_watch_sequence(talk: Talk, resource: str) -> None:
    """Additions, changes and deletions, also under selectors."""
    path = talk.at(resource)
    make: Any = config_map if resource == "configmaps" else widget
    start = talk.quietly("GET", path)["metadata"]["resourceVersion"]
    talk.quietly("POST", path, {**make("a"), "metadata": {"name": "a", "labels": {"on": "yes"}}})
    talk.quietly("POST", path, make("b"))
    talk.quietly("PATCH", talk.at(resource, "a"), {"metadata": {"labels": {"on": "no"}}}, content_type=MERGE)
    talk.quietly("PATCH", talk.at(resource, "b"), {"metadata": {"labels": {"on": "yes"}}}, content_type=MERGE)
    talk.quietly("PATCH", talk.at(resource, "b"), {"metadata": {"annotations": {"x": "y"}}}, content_type=MERGE)
    talk.quietly("DELETE", talk.at(resource, "a"))
    talk.quietly("DELETE", talk.at(resource, "b"))

    def watch(events: int, *, accept: str = JSON, **query: str) -> None:
        before = len(talk.exchanges)
        talk.watch(path, events, accept=accept, query=query)
        talk.exchanges[before].request = "WATCH " + ",".join(f"{n}={v}" for n, v in query.items() if n != "resourceVersion")

    watch(7, resourceVersion=start)
    watch(5, resourceVersion=start, labelSelector="on=yes")
    watch(2, resourceVersion=start, labelSelector="on=no")
    watch(4, resourceVersion=start, fieldSelector="metadata.name=b")
    watch(7, resourceVersion=start, accept=TABLE)
    watch(3, resourceVersion=start, accept=PARTIAL)


@pytest.mark.parametrize("resource", ["configmaps", WIDGETS])
@on_both
def test_watch_beginnings(talk: Talk, resource: str) -> None:
    path = talk.at(resource)
    make: Any = config_map if resource == "configmaps" else widget
    talk.quietly("POST", path, make("a"))
    talk.quietly("POST", path, make("b"))
    talk.watch(path, 2)
    talk.watch(path, 2, resourceVersion="0")
    talk.watch(path, 3, sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true")
    talk.watch(
        path, 3, sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true", resourceVersion="0"
    )
    talk.watch(path, 3, sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true", accept=TABLE)
    talk.watch(
        path, 3, sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true", accept=PARTIAL
    )
    talk.watch(path, 1, sendInitialEvents="false", resourceVersionMatch="NotOlderThan", seconds=1)
    talk.watch(path, 1, sendInitialEvents="true", seconds=1)
    talk.watch(path, 1, sendInitialEvents="true", resourceVersionMatch="Exact", seconds=1)
    talk.watch(path, 1, resourceVersionMatch="NotOlderThan", seconds=1)
    talk.watch(path, 1, resourceVersionMatch="Exact", resourceVersion="1", seconds=1)
    talk.watch(path, 1, resourceVersion="nonsense", seconds=1)
    talk.watch(path, 1, labelSelector="a b", seconds=1)
    talk.watch(path, 1, fieldSelector="x=y", seconds=1)
    talk.watch(path, 1, limit="1", seconds=1)
    talk.watch(talk.at(resource, "a"), 1, seconds=1)
    talk.watch(talk.at(resource, "not-there"), 1, seconds=1)
    talk.watch(path.replace("/namespaces/", "/watch/namespaces/"), 2, seconds=1)


@on_both
def test_future_versions(talk: Talk) -> None:
    """A list or a watch at a future version is refused, a list only after waiting for that version."""
    talk("GET", talk.at("configmaps"), resourceVersion="99999999")
    talk.watch(talk.at(WIDGETS), 1, resourceVersion="99999999", seconds=1)
