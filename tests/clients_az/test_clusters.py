"""`az aks` from a cluster's creation to its deletion: reading, scaling, pools, upgrades, stopping."""

from __future__ import annotations

import pytest

from tests.clients_az.conftest import Shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ON = "-g rg -n one"
POOL = "-g rg --cluster-name one"


@pytest.fixture(scope="module")
def cluster(shell: Shell) -> Shell:
    """Return the shell, with a cluster `one` that is one minor version behind."""
    shell("az provider register -n Microsoft.ContainerService; az group create -n rg -l eastus2 -o none")
    shell(f"az aks create {ON} --node-count 1 -k 1.35.7 --node-vm-size Standard_D2as_v5 --generate-ssh-keys -o none")
    shell(f"az aks get-credentials {ON}")
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


NOT_THERE = (
    "(ResourceNotFound) The Resource 'Microsoft.ContainerService/managedClusters/none' under resource group 'rg' was "
    "not found. "
    "For more details please go to https://aka.ms/ARMResourceNotFoundFix"
)
NO_GROUP = "(ResourceGroupNotFound) Resource group 'none' could not be found."
REFUSED = (
    ("az aks show -g rg -n none", NOT_THERE),
    ("az aks get-credentials -g rg -n none", NOT_THERE),
    ("az aks get-upgrades -g none -n none", NO_GROUP),
    ("az aks list -g none", NO_GROUP),
    ("az aks create -g none -n two --node-count 1 --generate-ssh-keys", NO_GROUP),
    (
        "az aks create -g rg -n two --node-count 1 -k 1.11.1 --generate-ssh-keys",
        "(K8sVersionNotSupported) Version 1.11.1 is not supported in this region. Please use [az aks get-versions] "
        "command to get the "
        "supported version list in this region.",
    ),
    (
        "az aks create -g rg -n two --node-count 1 --node-vm-size Standard_Nope --generate-ssh-keys",
        "(VMSizeNotSupported) Virtual Machine size: 'Standard_Nope' is not supported for subscription ",
    ),
    (
        f"az aks scale {ON} --node-count 900",
        "(ErrCode_InsufficientVCPUQuota) Insufficient regional vcpu quota left for location eastus2. left regional vcpu quota ",
    ),
    (
        f"az aks upgrade {ON} -k 1.37.0 --yes",
        "(OperationNotAllowed) Upgrading Kubernetes version 1.35.7 to 1.37.0 is not allowed. Available upgrades: [",
    ),
    (
        f"az aks nodepool add {POOL} -n more --node-count 1 -k 1.36.3",
        "(NodePoolMcVersionIncompatible) Node pool version 1.36.3 and control plane version 1.35.7 are incompatible. "
        "Minor version of node pool version 36 is bigger than control plane version 35.",
    ),
    (
        f"az aks nodepool add {POOL} -n BADNAME --node-count 1",
        "(InvalidParameter) The value of parameter agentPoolProfile.name is invalid.",
    ),
    (
        f"az aks nodepool add {POOL} -n nodepool1 --node-count 1",
        "Node pool nodepool1 already exists, please try a different name",
    ),
    (f"az aks nodepool delete {POOL} -n nodepool1", "(OperationNotAllowed) There has to be at least one system agent pool."),
    (f"az aks command invoke {ON} -c 'kubectl get nodes'", "(NotImplemented) The sandbox does not emulate "),
    (f"az aks rotate-certs {ON} --yes", "(NotImplemented) The sandbox does not emulate rotating a cluster's certificates."),
    (
        f"az aks nodepool add {POOL} -n win --os-type Windows --node-count 1",
        "(NotImplemented) The sandbox does not emulate Windows nodes",
    ),
)


@pytest.mark.parametrize(("command", "words"), REFUSED, ids=[command for command, _ in REFUSED])
def test_refusals_in_azures_words(cluster: Shell, command: str, words: str) -> None:
    """Azure's own words for its refusals, and the sandbox's for features that it does not emulate."""
    assert words in cluster.fails(command)


def test_scaling_and_pools(cluster: Shell) -> None:
    assert cluster.json(f"az aks scale {ON} --node-count 2 --query agentPoolProfiles[0].count") == 2
    cluster("kubectl wait --for=condition=Ready nodes --all --timeout=60s")
    assert len(cluster("kubectl get nodes -o name").split()) == 2
    added = cluster.json(f"az aks nodepool add {POOL} -n more --node-count 1 --labels a=b --node-taints x=y:NoSchedule")
    assert (added["mode"], added["nodeLabels"], added["nodeTaints"]) == ("User", {"a": "b"}, ["x=y:NoSchedule"])
    assert added["vmSize"] == "Standard_D2s_v5"  # without a size the service chooses one
    assert cluster.json(f"az aks nodepool list {POOL} --query '[].name'") == ["more", "nodepool1"]
    assert cluster.json(f"az aks nodepool scale {POOL} -n more -c 2 --query count") == 2
    assert cluster.json(f"az aks nodepool update {POOL} -n more --labels c=d --query nodeLabels") == {"c": "d"}
    cluster(f"az aks nodepool delete {POOL} -n more")
    assert cluster.json(f"az aks nodepool list {POOL} --query '[].name'") == ["nodepool1"]
    assert "(ResourceNotFound)" in cluster.fails(f"az aks nodepool show {POOL} -n more")


def test_upgrades(cluster: Shell) -> None:
    upgraded = cluster.json(f"az aks upgrade {ON} -k 1.36.3 --control-plane-only --yes")
    assert (upgraded["currentKubernetesVersion"], upgraded["agentPoolProfiles"][0]["currentOrchestratorVersion"]) == (
        "1.36.3",
        "1.35.7",
    )
    offered = cluster.json(
        f"az aks nodepool get-upgrades {POOL} --nodepool-name nodepool1 --query upgrades[].kubernetesVersion"
    )
    assert "1.36.3" in offered
    pool = cluster.json(f"az aks nodepool upgrade {POOL} -n nodepool1 -k 1.36.3 --yes")
    assert pool["currentOrchestratorVersion"] == "1.36.3"
    both = cluster.json(f"az aks upgrade {ON} -k 1.36.4 --yes")
    assert (both["currentKubernetesVersion"], both["agentPoolProfiles"][0]["currentOrchestratorVersion"]) == (
        "1.36.4",
        "1.36.4",
    )
    assert {line.split()[-1] for line in cluster("kubectl get nodes --no-headers").splitlines()} == {"v1.36.4"}
    back = cluster.fails(f"az aks upgrade {ON} -k 1.36.3 --yes")
    assert "(OperationNotAllowed) Upgrading Kubernetes version 1.36.4 to 1.36.3 is not allowed. Available upgrades: [" in back


def test_stop_and_start(cluster: Shell) -> None:
    cluster(f"az aks stop {ON}")
    assert cluster.json(f"az aks show {ON} --query powerState.code") == "Stopped"
    assert (
        "(OperationNotAllowed) managed cluster is in Provisioning State(Succeeded) and Power State(Stopped), updating "
        "cannot be "
        "performed"
    ) in cluster.fails(f"az aks scale {ON} --node-count 1")
    cluster(f"az aks start {ON}")
    assert cluster.json(f"az aks show {ON} --query powerState.code") == "Running"


def test_an_update_writes_back_what_it_read(cluster: Shell) -> None:
    before = cluster.json(f"az aks show {ON}")
    after = cluster.json(f"az aks update {ON} --tags c=d")
    assert after["tags"] == {"c": "d"}
    assert {name for name in before if before[name] != after[name]} <= {"tags", "eTag", "systemData", "agentPoolProfiles"}
    scaler = (
        "--enable-cluster-autoscaler --min-count 1 --max-count 3 --query "
        "agentPoolProfiles[0].[enableAutoScaling,minCount,maxCount]"
    )
    assert cluster.json(f"az aks update {ON} {scaler}") == [True, 1, 3]


def test_deleting_a_group_deletes_clusters_and_node_groups(cluster: Shell) -> None:
    assert sorted(cluster.json("az group list --query [].name")) == ["MC_rg_one_eastus2", "rg"]
    cluster("az group delete -n rg --yes")
    assert cluster.json("az group list --query [].name") == []
    assert cluster.json("az aks list") == []
