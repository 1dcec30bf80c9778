"""Output of the unmodified kubectl about the fleet: tables, descriptions, logs, explanations, rights."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ASO_COLUMNS = ["NAMESPACE", "NAME", "READY", "SEVERITY", "REASON", "MESSAGE"]


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("pods", ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"]),
        ("deploy", ["NAMESPACE", "NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]),
        ("services", ["NAMESPACE", "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]),
        ("helmreleases", ["NAMESPACE", "NAME", "AGE", "READY", "STATUS"]),
        ("ks", ["NAMESPACE", "NAME", "AGE", "READY", "STATUS"]),
        ("gitrepo", ["NAMESPACE", "NAME", "URL", "AGE", "READY", "STATUS"]),
        ("helmcharts", ["NAMESPACE", "NAME", "CHART", "VERSION", "SOURCE KIND", "SOURCE NAME", "AGE", "READY", "STATUS"]),
        ("managedclusters", ASO_COLUMNS),
        ("resourcegroups", ASO_COLUMNS),
        ("fluxconfigurations", ASO_COLUMNS),
        ("extensions", ASO_COLUMNS),
    ],
)
def test_get_has_kubectls_usual_columns(hub: Any, kind: str, columns: list[str]) -> None:
    rows = hub.table(kind, "-A")
    assert rows and list(rows[0]) == columns


def test_every_pod_of_every_cluster_runs(hub: Any, staging: Any, prod: Any) -> None:
    for kubectl in (hub, staging, prod):
        rows = kubectl.table("pods", "-A")
        assert len(rows) > 10
        for row in rows:
            ready, wanted = row["READY"].split("/")
            assert row["STATUS"] in ("Running", "Completed") and (ready == wanted or row["STATUS"] == "Completed"), row


def test_get_nodes(hub: Any) -> None:
    (row,) = hub.table("nodes", "-o", "wide")
    assert list(row) == [
        "NAME",
        "STATUS",
        "ROLES",
        "AGE",
        "VERSION",
        "INTERNAL-IP",
        "EXTERNAL-IP",
        "OS-IMAGE",
        "KERNEL-VERSION",
        "CONTAINER-RUNTIME",
    ]
    assert row["NAME"].startswith("aks-nodepool1-") and row["STATUS"] == "Ready"
    image = hub.objects("node", row["NAME"])["metadata"]["labels"]["kubernetes.azure.com/node-image-version"]
    assert image.startswith("AKSUbuntu-2404") and row["OS-IMAGE"].startswith("Ubuntu 24.04")


def test_get_crds_with_their_states(hub: Any) -> None:
    assert {(row["NAME"], row["READY"], row["REASON"]) for row in hub.table("managedclusters", "-A")} == {
        ("podinfo-staging-0-aks", "True", "Succeeded"),
        ("podinfo-prod-0-aks", "True", "Succeeded"),
    }
    statuses = {row["NAME"]: row["STATUS"] for row in hub.table("helmreleases", "-n", "cluster-config")}
    assert set(statuses) == {"aso2", "cert-manager", "podinfostaging", "podinfoprod"}
    assert "clusters/podinfo-prod" in statuses["podinfoprod"] and "podinfocluster@" in statuses["podinfoprod"]


def test_describe_node(hub: Any) -> None:
    text = hub("describe", "nodes")
    assert "Non-terminated Pods:" in text and "azureserviceoperator-controller-manager" in text
    assert "Allocated resources:" in text and "KubeletReady" in text


def test_describe_pod_shows_events_in_order(prod: Any) -> None:
    text = prod("describe", "pods", "-n", "podinfo")
    first = text.split("\n\n\n")[0]
    assert "Controlled By:  ReplicaSet/podinfo-" in first and "Image:         ghcr.io/stefanprodan/podinfo:" in first
    reasons = [line.split()[1] for line in first.partition("Events:")[2].splitlines()[3:] if line.strip()]
    # An image that another Pod has pulled to the node is not pulled again.
    assert reasons in (["Scheduled", "Pulling", "Pulled", "Created", "Started"], ["Scheduled", "Pulled", "Created", "Started"])


def test_describe_managed_cluster(hub: Any) -> None:
    text = hub("describe", "managedcluster", "podinfo-prod-0-aks", "-n", "clusters")
    for part in ("Provisioning State:  Succeeded", "Reason:                    Succeeded", "Fqdn:", "BeginCreateOrUpdate"):
        assert part in text


def test_logs_of_aso(hub: Any) -> None:
    text = hub("logs", "-n", "azureserviceoperator-system", "deploy/azureserviceoperator-controller-manager")
    assert '"azureName"="podinfo-prod-0-aks"' in text and "Resource successfully created/updated" in text


@pytest.mark.parametrize(
    ("controller", "kind", "said"),
    [
        ("source-controller", "GitRepository", "stored artifact"),
        ("kustomize-controller", "Kustomization", "server-side apply completed"),
        ("helm-controller", "HelmRelease", "running 'install' action"),
    ],
)
def test_logs_of_the_flux_controllers(hub: Any, controller: str, kind: str, said: str) -> None:
    """Each line is a JSON object with the fields that log queries filter by."""
    lines = [json.loads(line) for line in hub("logs", "-n", "flux-system", f"deploy/{controller}").splitlines()]
    about = [line for line in lines if line.get("controllerKind") == kind]
    assert about and any(said in line["msg"] for line in about)
    for line in about:
        assert line["level"] in ("info", "error") and line["ts"].endswith("Z")
        assert line[kind] == {"name": line["name"], "namespace": line["namespace"]}


def test_explain(hub: Any) -> None:
    text = hub("explain", "managedcluster.spec.agentPoolProfiles", "--api-version=containerservice.azure.com/v1api20240901")
    assert "KIND:       ManagedCluster" in text and "vmSize\t<string>" in text and "enableAutoScaling\t<boolean>" in text
    assert "<map[string]string>" in hub("explain", "managedcluster.metadata.labels"), "what every object has"
    text = hub("explain", "deployment.spec.strategy")
    assert "rollingUpdate\t<RollingUpdateDeployment>" in text
    assert 'field "nosuch" does not exist' in hub.fails("explain", "pod.spec.nosuch")


def test_auth(hub: Any) -> None:
    assert hub("auth", "can-i", "create", "managedclusters", "-n", "clusters").strip() == "yes"
    token = "--token=" + hub("create", "token", "default", "-n", "default").strip()
    assert hub.run("auth", "can-i", "list", "secrets", "-n", "cluster-config", token).stdout.strip() == "no"
    said = hub.fails("get", "secrets", "-n", "cluster-config", token)
    assert 'User "system:serviceaccount:default:default" cannot list resource "secrets"' in said
    assert "system:authenticated" in hub("auth", "whoami")


def test_selectors_output_formats_and_sorting(prod: Any) -> None:
    names = prod("get", "pods", "-n", "podinfo", "-l", "app.kubernetes.io/name=podinfo", "-o", "name").split()
    assert names and all(name.startswith("pod/podinfo-") for name in names)
    running = prod(
        "get", "pods", "-A", "--field-selector=status.phase=Running", "--sort-by=.metadata.name", "-o", "name"
    ).split()
    assert running == sorted(running) and len(running) > 10
    image = prod("get", "deploy", "podinfo", "-n", "podinfo", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    assert image.startswith("ghcr.io/stefanprodan/podinfo:")


def test_watch(prod: Any) -> None:
    """`get -w` prints the existing objects and then each change."""
    with prod.watching(
        "get", "configmaps", "-n", "default", "-w", "--no-headers", "-o", "custom-columns=N:.metadata.name"
    ) as lines:
        assert next(lines) == "kube-root-ca.crt"
        prod("create", "configmap", "seen", "-n", "default")
        assert next(lines) == "seen"
        prod("delete", "configmap", "seen", "-n", "default")
        assert next(lines) == "seen"


def test_mistakes_get_kubectls_usual_messages(prod: Any) -> None:
    assert prod.fails("get", "nosuch") == 'error: the server doesn\'t have a resource type "nosuch"\n'
    assert prod.fails("get", "pod", "nosuch") == 'Error from server (NotFound): pods "nosuch" not found\n'
    assert "the sandbox does not emulate exec" in prod.fails("exec", "-n", "podinfo", "deploy/podinfo", "--", "ls")


@pytest.mark.parametrize(
    ("account", "may"),
    [
        ("source-controller", "no"),
        ("notification-controller", "no"),
        ("kustomize-controller", "yes"),
        ("helm-controller", "yes"),
    ],
)
def test_flux_controllers_have_the_rights_that_flux_gives_them(hub: Any, account: str, may: str) -> None:
    """All controllers have the rights on Flux's kinds; those that apply manifests have the rights on the cluster."""
    robot = f"--as=system:serviceaccount:flux-system:{account}"
    assert hub.run("auth", "can-i", "delete", "deployments", "-A", robot).stdout.strip() == may
    assert hub("auth", "can-i", "patch", "gitrepositories", "--subresource=status", "-A", robot).strip() == "yes"
    assert hub("auth", "can-i", "get", "secrets", "-A", robot).strip() == "yes"
