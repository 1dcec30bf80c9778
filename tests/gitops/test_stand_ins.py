"""The stand-in charts: they have the objects, names and images of the real charts, in every version that is served."""

from __future__ import annotations

import helm_python
import pytest

from azuresandbox.kubernetes.model.schema import Schema
from azuresandbox.sources import stand_ins
from tests.gitops.rendered import Object, named, stand_in

ASO = {"crdPattern": "resources.azure.com/*", "azureSubscriptionID": "s", "azureTenantID": "t", "azureClientID": "c"}
REAL_REDIS: Object = {
    "image": {"repository": "bitnamilegacy/redis"},
    "usePassword": False,
    "cluster": {"enabled": False},
    "master": {"persistence": {"enabled": False}},
    "replica": {"persistence": {"enabled": False}},
    "volumePermissions": {"enabled": True},
}


def _names(objects: list[Object], kind: str) -> set[str]:
    return {obj["metadata"]["name"] for obj in objects if obj["kind"] == kind}


def _images(objects: list[Object]) -> set[str]:
    pods = [o["spec"]["template"]["spec"] for o in objects if o["kind"] in ("Deployment", "StatefulSet", "Job", "DaemonSet")]
    return {container["image"] for pod in pods for container in [*pod["containers"], *pod.get("initContainers", [])]}


@pytest.mark.parametrize("name", sorted(stand_ins.VERSIONS))
def test_each_chart_has_a_folder(name: str) -> None:
    assert stand_ins.versions(name) == list(stand_ins.VERSIONS[name])


def test_cert_manager() -> None:
    objects = stand_in("cert-manager", {"crds": {"enabled": True}}, namespace="cert-manager")
    assert _names(objects, "Deployment") == {"cert-manager", "cert-manager-webhook", "cert-manager-cainjector"}
    assert _names(objects, "CustomResourceDefinition") == {
        "certificates.cert-manager.io",
        "certificaterequests.cert-manager.io",
        "issuers.cert-manager.io",
        "clusterissuers.cert-manager.io",
        "orders.acme.cert-manager.io",
        "challenges.acme.cert-manager.io",
    }
    assert "quay.io/jetstack/cert-manager-controller:v1.18.2" in _images(objects)
    crds = [obj for obj in objects if obj["kind"] == "CustomResourceDefinition"]
    assert all(Schema(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]).problems() == [] for crd in crds)
    job = named(objects, "Job", "cert-manager-startupapicheck")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-install"
    assert not _names(stand_in("cert-manager"), "CustomResourceDefinition"), "off by default, as in the real chart"
    assert _names(stand_in("cert-manager", {"installCRDs": True}), "CustomResourceDefinition"), "the older name of the switch"


def test_azure_service_operator() -> None:
    objects = stand_in(
        "azure-service-operator", {**ASO, "useWorkloadIdentityAuth": True}, "aso2", "azureserviceoperator-system"
    )
    deployment = named(objects, "Deployment", "azureserviceoperator-controller-manager")
    pod = deployment["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "azureserviceoperator-default"
    assert _images(objects) == {"mcr.microsoft.com/k8s/azureserviceoperator:v2.13.0"}
    assert "--crd-pattern=resources.azure.com/*" in pod["containers"][0]["args"]
    env = {item["name"]: item["valueFrom"] for item in pod["containers"][0]["env"]}
    assert env["AZURE_CLIENT_ID"]["secretKeyRef"] == {"name": "aso-controller-settings", "key": "AZURE_CLIENT_ID"}
    assert env["USE_WORKLOAD_IDENTITY_AUTH"]["secretKeyRef"]["optional"] is True
    token = next(v for v in pod["volumes"] if v["name"] == "azure-identity")["projected"]["sources"][0]["serviceAccountToken"]
    assert (token["audience"], token["path"]) == ("api://AzureADTokenExchange", "azure-identity")
    settings = named(objects, "Secret", "aso-controller-settings")["data"]
    assert set(settings) == {"AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "USE_WORKLOAD_IDENTITY_AUTH"}
    certificate = named(objects, "Certificate", "azureserviceoperator-serving-cert")
    volumes = {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
    assert volumes == {certificate["spec"]["secretName"]}, "no certificate, no Pod"


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("azure-service-operator", {}, ".Values.crdPattern is required."),
        ("azure-service-operator", {**ASO, "multitenant": {"enable": True}}, "multitenant.enable is not part of"),
        ("azure-service-operator", {**ASO, "azureOperatorMode": "watchers"}, "azureOperatorMode is not part of"),
        ("podinfo", {"tls": {"enabled": True}}, "tls.enabled is not part of"),
        ("ingress-nginx", {"defaultBackend": {"enabled": True}}, "defaultBackend.enabled is not part of"),
        ("redis", {"sentinel": {"enabled": True}}, "sentinel.enabled is not part of"),
        ("redis", {"architecture": "both"}, "Invalid architecture"),
    ],
)
def test_unsupported_values_are_refused_by_name(name: str, values: Object, said: str) -> None:
    with pytest.raises(helm_python.HelmError) as error:
        stand_in(name, values)
    assert said in str(error.value)


def test_podinfo() -> None:
    values = {"cache": "tcp://redis-master.redis:6379", "ingress": {"enabled": True, "className": "nginx"}, "replicaCount": 2}
    objects = stand_in("podinfo", values, namespace="podinfo")
    deployment = named(objects, "Deployment", "podinfo")
    assert deployment["spec"]["replicas"] == 2
    assert "--cache-server=tcp://redis-master.redis:6379" in deployment["spec"]["template"]["spec"]["containers"][0]["command"]
    assert _images(objects) == {"ghcr.io/stefanprodan/podinfo:6.9.2"}
    assert named(objects, "Ingress", "podinfo")["spec"]["rules"][0]["host"] == "podinfo.local"
    assert named(objects, "Service", "podinfo")["spec"]["ports"][0]["port"] == 9898


def test_ingress_nginx_under_both_release_names() -> None:
    own = stand_in("ingress-nginx")
    assert _names(own, "Deployment") == {"ingress-nginx-controller"}
    values = {"controller": {"service": {"type": "NodePort"}, "extraArgs": {"enable-ssl-passthrough": ""}}}
    public = stand_in("ingress-nginx", values, "nginx-ingress-controller", "nginx")
    assert _names(public, "Deployment") == {"nginx-ingress-controller-ingress-nginx-controller"}
    pod = named(public, "Deployment", "nginx-ingress-controller-ingress-nginx-controller")["spec"]["template"]["spec"]
    assert "--enable-ssl-passthrough" in pod["containers"][0]["args"]
    assert _images(public) == {"registry.k8s.io/ingress-nginx/controller:v1.13.0"}


def test_redis_with_the_values_of_the_public_and_of_our_workloads() -> None:
    public = stand_in("redis", REAL_REDIS, namespace="redis")
    assert _names(public, "StatefulSet") == {"redis-master", "redis-replicas"}
    assert _names(public, "Service") == {"redis-headless", "redis-master", "redis-replicas"}
    assert _images(public) == {"docker.io/bitnamilegacy/redis:7.4.3"}, "no init container without a volume"
    assert _names(public, "Secret") == {"redis"}
    ours = stand_in(
        "redis", {"architecture": "standalone", "auth": {"enabled": False}, "master": {"persistence": {"enabled": False}}}
    )
    assert _names(ours, "StatefulSet") == {"redis-master"} and not _names(ours, "Secret")
    kept = named(stand_in("redis", {"architecture": "standalone"}), "StatefulSet", "redis-master")["spec"]
    assert kept["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] == "8Gi"
