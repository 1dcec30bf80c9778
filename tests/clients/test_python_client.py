"""The `kubernetes` package beyond its typed calls: the dynamic client, and an informer across a compaction of the history."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import kubernetes.dynamic
import kubernetes.watch
import pytest
from kubernetes.dynamic import exceptions
from kubernetes.informer import SharedInformer

from tests.processes import started

ROOT = Path(__file__).parents[2]
HELM_RELEASE = {"api_version": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease"}
CLUSTER = {"api_version": "containerservice.azure.com/v1api20240901", "kind": "ManagedCluster"}


# --- the dynamic client, on the fleet --------------------------------------------------------------------------------


def dynamic_client(kubeconfig: Path) -> Iterator[Any]:
    configuration: Any = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    configuration.proxy = None
    with kubernetes.client.ApiClient(configuration) as api:
        yield kubernetes.dynamic.DynamicClient(api)


@pytest.fixture
def hub_dynamic(hub_config: Path) -> Iterator[Any]:
    yield from dynamic_client(hub_config)


@pytest.fixture
def prod_dynamic(prod_config: Path) -> Iterator[Any]:
    yield from dynamic_client(prod_config)


@pytest.mark.slow
def test_the_dynamic_client_finds_kinds_by_discovery(hub_dynamic: Any) -> None:
    clusters = hub_dynamic.resources.get(**CLUSTER)
    assert (clusters.name, clusters.namespaced, "mc" in (clusters.short_names or [])) == ("managedclusters", True, False)
    assert {item.metadata.name for item in clusters.get(namespace="clusters").items} == {
        "podinfo-staging-0-aks",
        "podinfo-prod-0-aks",
    }
    found = clusters.get(name="podinfo-prod-0-aks", namespace="clusters")
    assert found.status.conditions[0].type == "Ready" and found.status.provisioningState == "Succeeded"
    with pytest.raises(exceptions.ResourceNotFoundError):
        hub_dynamic.resources.get(api_version="v1", kind="Nosuch")
    with pytest.raises(exceptions.NotFoundError):
        clusters.get(name="nosuch", namespace="clusters")


@pytest.mark.slow
def test_the_dynamic_client_writes_and_applies(prod_dynamic: Any) -> None:
    maps = prod_dynamic.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dynamic"}, "data": {"a": "1"}}
    made = maps.create(body=body, namespace="default")
    with pytest.raises(exceptions.ConflictError):
        maps.create(body=body, namespace="default")
    stale = {**body, "metadata": {"name": "dynamic", "resourceVersion": made.metadata.resourceVersion}}
    maps.patch(body={"data": {"b": "2"}}, name="dynamic", namespace="default", content_type="application/merge-patch+json")
    with pytest.raises(exceptions.ConflictError):
        maps.replace(body=stale, namespace="default")
    mine = maps.server_side_apply(
        body={**body, "data": {"c": "3"}}, namespace="default", field_manager="dynamic", name="dynamic"
    )
    assert mine.data.to_dict() == {"a": "1", "b": "2", "c": "3"}
    assert "dynamic" in {entry.manager for entry in mine.metadata.managedFields if entry.operation == "Apply"}
    with pytest.raises(exceptions.ConflictError) as caught:
        maps.server_side_apply(body={**body, "data": {"c": "4"}}, namespace="default", field_manager="other", name="dynamic")
    assert 'conflict with "dynamic": .data.c' in json.loads(caught.value.body)["message"]
    assert maps.delete(name="dynamic", namespace="default").status == "Success"


@pytest.mark.slow
def test_the_dynamic_client_watches_a_custom_resource(prod_dynamic: Any) -> None:
    """A watch from a list's revision gets each change once, in order, until the timeout that the client asked for."""
    releases = prod_dynamic.resources.get(**HELM_RELEASE)
    since = releases.get(namespace="cluster-config").metadata.resourceVersion
    for number in ("1", "2"):
        change = {"metadata": {"labels": {"seen": number}}}
        releases.patch(body=change, name="podinfo", namespace="cluster-config", content_type="application/merge-patch+json")
    seen = [
        (event["type"], event["object"].metadata.labels.seen)
        for event in releases.watch(namespace="cluster-config", resource_version=since, timeout=2)
    ]
    assert [pair for index, pair in enumerate(seen) if pair not in seen[:index]] == [("MODIFIED", "1"), ("MODIFIED", "2")]
    releases.patch(
        body={"metadata": {"labels": {"seen": None}}},
        name="podinfo",
        namespace="cluster-config",
        content_type="application/merge-patch+json",
    )


# --- list, then watch, across a compaction ---------------------------------------------------------------------------


@dataclass
class Compacting:
    """The Kubernetes API alone. A test can compact its history, as etcd's is compacted every five minutes."""

    process: subprocess.Popen[str]
    core: Any

    def compact(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("compact\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "compacted\n"

    def write(self, name: str, **data: str) -> None:
        self.core.create_namespaced_config_map("default", {"metadata": {"name": name, "labels": {"kept": "yes"}}, "data": data})


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compacting]:
    folder = tmp_path_factory.mktemp("compacting")
    command = [sys.executable, "-m", "tests.kubernetes.serve", str(folder)]
    with started(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        configuration: Any = kubernetes.client.Configuration(host=found["server"])
        configuration.ssl_ca_cert, configuration.proxy = str(folder / "ca.pem"), None
        configuration.api_key = {"authorization": f"Bearer {found['token']}"}
        with kubernetes.client.ApiClient(configuration) as client:
            yield Compacting(process, kubernetes.client.CoreV1Api(client))


def test_a_watch_from_before_a_compaction_gets_410(api: Compacting) -> None:
    since = api.core.list_namespaced_config_map("default").metadata.resource_version
    for number in range(3):
        api.write(f"old-{number}")
    api.compact()
    watch = kubernetes.watch.Watch()
    with pytest.raises(kubernetes.client.ApiException) as caught:
        list(watch.stream(api.core.list_namespaced_config_map, "default", resource_version=since, timeout_seconds=5))
    assert caught.value.status == 410
    assert str(caught.value.reason).startswith(f"Expired: too old resource version: {since} (")


def test_a_page_from_before_a_compaction_gets_410(api: Compacting) -> None:
    """The page after a compaction is refused with a token that continues at the present, as by the API server."""
    for number in range(4):
        api.write(f"page-{number}")
    first = api.core.list_namespaced_config_map("default", limit=2)
    api.write("page-new")
    api.write("page-newer")
    api.compact()
    with pytest.raises(kubernetes.client.ApiException) as caught:
        api.core.list_namespaced_config_map("default", limit=2, _continue=first.metadata._continue)
    status = json.loads(caught.value.body)
    assert (caught.value.status, status["reason"]) == (410, "Expired")
    rest = api.core.list_namespaced_config_map("default", _continue=status["metadata"]["continue"])
    names = [item.metadata.name for item in (*first.items, *rest.items)]
    assert names == sorted(names) and "page-new" in names and len(names) == len(set(names))


@pytest.fixture
def informer(api: Compacting) -> Iterator[tuple[SharedInformer, queue.Queue[tuple[str, str]], Callable[[], None]]]:
    """Yield the package's informer over config maps labelled `kept`, the events that it reported, and a way to interrupt it."""
    found = SharedInformer(api.core.list_namespaced_config_map, namespace="default", label_selector="kept=yes")
    told: queue.Queue[tuple[str, str]] = queue.Queue()
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        found.add_event_handler(kind, lambda obj, kind=kind: told.put((kind, obj.metadata.name)))
    found.add_event_handler("ERROR", lambda error: told.put(("ERROR", str(getattr(error, "status", error)))))

    def interrupt() -> None:
        """End the informer. It ends at the next event, so create one."""
        stopper = threading.Thread(target=found.stop)
        stopper.start()
        number = 0
        while stopper.is_alive():
            api.core.patch_namespaced_config_map("first", "default", {"data": {"beat": str(number)}})
            number += 1
            stopper.join(0.05)

    api.write("first")
    yield found, told, interrupt
    interrupt()
    for item in api.core.list_namespaced_config_map("default", label_selector="kept=yes").items:
        api.core.delete_namespaced_config_map(item.metadata.name, "default")


def until(told: queue.Queue[tuple[str, str]], wanted: tuple[str, str]) -> list[tuple[str, str]]:
    """Return the events up to `wanted`. Fails the test if it does not come within ten seconds."""
    seen = [told.get(timeout=10)]
    while seen[-1] != wanted:
        seen.append(told.get(timeout=10))
    return seen


def test_an_informer_recovers_from_a_compaction(
    api: Compacting, informer: tuple[SharedInformer, queue.Queue[tuple[str, str]], Callable[[], None]]
) -> None:
    shared, told, interrupt = informer
    shared.start()
    until(told, ("ADDED", "first"))
    api.write("second")
    until(told, ("ADDED", "second"))
    interrupt()
    # Meanwhile one object is created and one deleted, and the history of both is compacted.
    api.core.delete_namespaced_config_map("second", "default")
    api.write("third")
    for number in range(3):
        api.core.patch_namespaced_config_map("third", "default", {"data": {"n": str(number)}})
    api.compact()
    while not told.empty():
        told.get()
    shared.start()
    seen = until(told, ("ADDED", "third"))
    assert seen[0] == ("ERROR", "410") and ("DELETED", "second") in seen
    there = api.core.list_namespaced_config_map("default", label_selector="kept=yes").items
    assert sorted(shared.cache.list_keys()) == sorted(f"default/{item.metadata.name}" for item in there)
