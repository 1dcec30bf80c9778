"""`az aks` on a cluster's whole life: reading, scaling, pools, upgrades, stopping, and the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from clients_az.conftest import Shell

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("az-clusters")]

ON = "-g rg -n one"
POOL = "-g rg --cluster-name one"


@pytest.fixture(scope="module")
def cluster(shell: Shell) -> Shell:
    """The shell, with a cluster `one` that is one minor version behind."""
    shell("az provider register -n Microsoft.ContainerService --wait; az group create -n rg -l eastus2 -o none")
    shell(f"az aks create {ON} --node-count 1 -k 1.35.7 --node-vm-size Standard_D2as_v5 --generate-ssh-keys -o none")
    return shell


def test_reading(cluster: Shell) -> None:
    assert cluster.json("az aks list --query '[].[name, powerState.code]'") == [["one", "Running"]]
    table = cluster("az aks list -g rg -o table").splitlines()
    assert table[0].split()[:4] == ["Name", "Location", "ResourceGroup", "KubernetesVersion"]
    assert table[2].split()[:5] == ["one", "eastus2", "rg", "1.35.7", "1.35.7"]
    profile = cluster.json(f"az aks get-upgrades {ON}")["controlPlaneProfile"]
    assert profile["kubernetesVersion"] == "1.35.7"
    offered = cluster.json("az aks get-versions -l eastus2")["values"]
    patches = {patch for one in offered if not one.get("isPreview") for patch in one["patchVersions"]}
    assert {one["kubernetesVersion"] for one in profile["upgrades"]} <= patches
    assert {"1.35.8", "1.36.3"} <= {one["kubernetesVersion"] for one in profile["upgrades"]}
    missing = cluster.fails("az aks show -g rg -n none")
    assert (
        "(ResourceNotFound) The Resource 'Microsoft.ContainerService/managedClusters/none' under resource group 'rg'" in missing
    )
    missing = cluster.fails("az aks get-upgrades -g none -n none")
    assert "(ResourceGroupNotFound) Resource group 'none' could not be found." in missing


def test_scaling_and_pools(cluster: Shell) -> None:
    assert cluster.json(f"az aks scale {ON} --node-count 2 --query agentPoolProfiles[0].count") == 2
    cluster(f"az aks get-credentials {ON} --overwrite-existing && kubectl wait --for=condition=Ready nodes --all --timeout=60s")
    assert len(cluster("kubectl get nodes -o name").split()) == 2
    added = cluster.json(f"az aks nodepool add {POOL} -n more --node-count 1 --labels a=b --node-taints x=y:NoSchedule")
    assert (added["mode"], added["nodeLabels"], added["nodeTaints"]) == ("User", {"a": "b"}, ["x=y:NoSchedule"])
    assert added["vmSize"] == "Standard_D2s_v5"  # none was named: the service chose
    assert cluster.json(f"az aks nodepool list {POOL} --query '[].name'") == ["more", "nodepool1"]
    assert cluster.json(f"az aks nodepool scale {POOL} -n more -c 2 --query count") == 2
    assert cluster.json(f"az aks nodepool update {POOL} -n more --labels c=d --query nodeLabels") == {"c": "d"}
    cluster(f"az aks nodepool delete {POOL} -n more")
    assert cluster.json(f"az aks nodepool list {POOL} --query '[].name'") == ["nodepool1"]
    assert "(ResourceNotFound)" in cluster.fails(f"az aks nodepool show {POOL} -n more")


def test_upgrades(cluster: Shell) -> None:
    upgraded = cluster.json(f"az aks upgrade {ON} -k 1.36.3 --control-plane-only --yes")
    assert (upgraded["currentKubernetesVersion"], upgraded["agentPoolProfiles"][0]["currentOrchestratorVersion"]) == (
        "1.36.3", "1.35.7",
    )  # fmt: skip
    pool = cluster.json(f"az aks nodepool upgrade {POOL} -n nodepool1 -k 1.36.3 --yes")
    assert pool["currentOrchestratorVersion"] == "1.36.3"
    back = cluster.fails(f"az aks upgrade {ON} -k 1.35.7 --yes")
    assert "1.35.7" in back and "(" in back


def test_stop_and_start(cluster: Shell) -> None:
    cluster(f"az aks stop {ON}")
    assert cluster.json(f"az aks show {ON} --query powerState.code") == "Stopped"
    cluster(f"az aks start {ON}")
    assert cluster.json(f"az aks show {ON} --query powerState.code") == "Running"


def test_what_is_not_emulated_is_refused_by_name(cluster: Shell) -> None:
    said = cluster.fails(f"az aks command invoke {ON} -c 'kubectl get nodes'")
    assert "(NotImplemented) The sandbox does not emulate " in said
    said = cluster.fails(f"az aks nodepool add {POOL} -n win --os-type Windows --node-count 1")
    assert "(NotImplemented) The sandbox does not emulate Windows nodes" in said


def test_no_wait_and_wait_while_time_passes(shell_on: Callable[[str], Any]) -> None:
    """On the demo clock Azure's work takes seconds: what `--no-wait` left behind can be watched."""
    with shell_on("demo") as shell:
        shell("az provider register -n Microsoft.ContainerService --wait; az group create -n rg -l eastus2 -o none")
        shell(f"az aks create {ON} --node-count 1 --generate-ssh-keys --no-wait")
        assert shell.json(f"az aks show {ON} --query provisioningState") == "Creating"
        busy = shell.fails(f"az aks scale {ON} --node-count 2")
        assert "(OperationNotAllowed)" in busy
        shell(f"az aks wait {ON} --created --interval 1 --timeout 120")
        assert shell.json(f"az aks show {ON} --query provisioningState") == "Succeeded"
        shell(f"az aks nodepool add {POOL} -n more --node-count 1 --no-wait")
        shell(f"az aks nodepool wait {POOL} -n more --created --interval 1 --timeout 120")
        shell(f"az aks delete {ON} --yes --no-wait")
        assert shell.json(f"az aks show {ON} --query provisioningState") == "Deleting"
        shell(f"az aks wait {ON} --deleted --interval 1 --timeout 120")
        assert shell.json("az aks list") == []
