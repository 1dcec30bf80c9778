"""The faults of Git hosts, registries and API servers, as git, oras, kubectl, the Kubernetes client and fleetlib see them."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import kubernetes.watch
import oras.client
import pytest
import yaml

from fleetlib.clients.azure import managed_clusters
from fleetlib.errors import RetryableError
from fleetlib.progress import waiting
from tests.faults.fault_cloud import CLUSTER, GROUP, Cloud
from tests.processes import started

pytestmark = pytest.mark.xdist_group("faults")

Git = Callable[..., subprocess.CompletedProcess[str]]


def test_git_unreachable(cloud: Cloud, git: Git) -> None:
    url = cloud.session.parameters.fleet_repository
    cloud.arm("git-unreachable", f"{url}*")
    done = git("clone", url, "one")
    assert done.returncode == 128
    assert "unable to access" in done.stderr and "The requested URL returned error: 504" in done.stderr
    assert git("clone", url, "one").returncode == 0
    cloud.arm("git-unreachable", f"{url}*")
    with pytest.raises(RetryableError, match="the Git host does not answer") as caught:
        cloud.session.repository.sync()
    assert "504" in caught.value.said and caught.value.target == url
    assert cloud.session.repository.sync()  # run again


def test_registry_unreachable(cloud: Cloud) -> None:
    session = cloud.session
    host = session.parameters.chart_registry.removeprefix("oci://").partition("/")[0]
    client, base = session.registry._client()
    assert type(client) is oras.client.OrasClient
    cloud.arm("registry-unreachable", f"https://{host}", times=-1)
    with pytest.raises(ValueError, match="Gateway Timeout"):
        client.get_manifest(f"{base}/podinfocluster:0.1.0")
    with pytest.raises(RetryableError, match="the registry does not answer") as caught:
        session.registry.digest("podinfocluster", "0.1.0")
    assert "05_publish_cluster_chart" in caught.value.fix


@pytest.fixture
def kubeconfig(cloud: Cloud, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(managed_clusters.kubeconfig(cloud.azure, GROUP, CLUSTER)))
    return path


@pytest.fixture
def core(kubeconfig: Path) -> Iterator[Any]:
    configuration: Any = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    configuration.proxy = None
    with kubernetes.client.ApiClient(configuration) as api:
        yield kubernetes.client.CoreV1Api(api)


def test_watch_expired_for_the_kubernetes_client(cloud: Cloud, core: Any) -> None:
    since = core.list_namespaced_config_map("default").metadata.resource_version
    cloud.arm("watch-expired")
    with pytest.raises(kubernetes.client.ApiException) as caught:
        list(
            kubernetes.watch.Watch().stream(
                core.list_namespaced_config_map, "default", resource_version=since, timeout_seconds=5
            )
        )
    assert caught.value.status == 410
    assert str(caught.value.reason).startswith(f"Expired: too old resource version: {since} (")


def test_watch_expired_in_the_middle_makes_fleetlib_list_again(cloud: Cloud, core: Any) -> None:
    """The watch ends with 410 at the first change after it is armed. fleetlib lists again and sees both changes."""
    kube = managed_clusters.connect(cloud.azure, GROUP, CLUSTER)
    seen: list[set[str]] = []
    with waiting("config maps", 30) as wait:
        for objects in kube.changes("v1", "ConfigMap", wait, "default"):
            names = {name for _, name in objects if name.startswith("expired-")}
            seen.append(names)
            if not names and len(seen) == 1:
                cloud.arm("watch-expired")
                core.create_namespaced_config_map("default", {"metadata": {"name": "expired-1"}})
                threading.Timer(0, core.create_namespaced_config_map, ("default", {"metadata": {"name": "expired-2"}})).start()
            if names == {"expired-1", "expired-2"}:
                break
    assert seen[0] == set() and not cloud.armed()
    for name in ("expired-1", "expired-2"):
        core.delete_namespaced_config_map(name, "default")


def test_watch_expired_for_kubectl(cloud: Cloud, kubeconfig: Path, core: Any) -> None:
    """kubectl's informers list again, as client-go does, so `kubectl wait` succeeds."""
    core.create_namespaced_config_map("default", {"metadata": {"name": "awaited"}})
    cloud.arm("watch-expired")
    command = [
        "kubectl",
        f"--kubeconfig={kubeconfig}",
        f"--cache-dir={kubeconfig.parent}",
        "wait",
        "configmap/awaited",
        "--for=jsonpath={.data.ready}=yes",
        "--timeout=30s",
    ]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "watch-expired" in cloud.armed() and process.poll() is None:
            pass  # armed once kubectl has begun to watch
        core.patch_namespaced_config_map("awaited", "default", {"data": {"ready": "yes"}})
        out, errors = process.communicate(timeout=40)
    assert process.returncode == 0, errors
    assert out == "configmap/awaited condition met\n"
    core.delete_namespaced_config_map("awaited", "default")
