"""Admission: the API server changes, completes or refuses objects before it stores them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.kubernetes.cluster_world import cluster, config_map, deployment, pod

PODS = "/api/v1/namespaces/default/pods"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"


def _identity_pod(name: str, **metadata: Any) -> dict[str, Any]:
    found = pod(name, labels={"azure.workload.identity/use": "true"}, **metadata)
    found["spec"]["serviceAccountName"] = "robot"
    return found


async def test_pods_get_their_service_account_and_its_token(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        created = await api.ok("POST", PODS, pod("p"))
        (volume,) = created["spec"]["volumes"]
        assert volume["name"].startswith("kube-api-access-")
        sources = volume["projected"]["sources"]
        assert sources[0] == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
        (mount,) = created["spec"]["containers"][0]["volumeMounts"]
        assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount" and mount["name"] == volume["name"]
        config = await api.ok("GET", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt")
        assert config["data"]["ca.crt"] == api.world.sandbox.ca_pem
        without = pod("q")
        without["spec"]["automountServiceAccountToken"] = False
        assert "volumes" not in (await api.ok("POST", PODS, without))["spec"]
        nobody = pod("r")
        nobody["spec"]["serviceAccountName"] = "nobody"
        status = await api.fails(403, "POST", PODS, nobody)
        assert status["message"] == (
            'pods "r" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found'
        )


async def test_workload_identity_is_injected(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        account = {"metadata": {"name": "robot", "annotations": {"azure.workload.identity/client-id": CLIENT_ID}}}
        await api.ok("POST", ACCOUNTS, account)
        created = await api.ok("POST", PODS, _identity_pod("p"))
        (container,) = created["spec"]["containers"]
        assert {item["name"]: item["value"] for item in container["env"]} == {
            "AZURE_CLIENT_ID": CLIENT_ID,
            "AZURE_TENANT_ID": api.world.sandbox.tenant_id,
            "AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/tokens/azure-identity-token",
            "AZURE_AUTHORITY_HOST": "https://127.0.0.1:8443/",
        }
        volume = next(item for item in created["spec"]["volumes"] if item["name"] == "azure-identity-token")
        (source,) = volume["projected"]["sources"]
        assert source["serviceAccountToken"] == {
            "path": "azure-identity-token",
            "expirationSeconds": 3600,
            "audience": "api://AzureADTokenExchange",
        }
        plain = pod("q")
        plain["spec"]["serviceAccountName"] = "robot"
        assert "env" not in (await api.ok("POST", PODS, plain))["spec"]["containers"][0]
        odd = _identity_pod("r", annotations={"azure.workload.identity/service-account-token-expiration": "5"})
        status = await api.fails(400, "POST", PODS, odd)
        assert "Expected value to be between 3600 and 86400" in status["message"]


async def test_without_workload_identity_no_token_is_injected(tmp_path: Path) -> None:
    async with cluster(tmp_path, workload_identity=False) as api:
        await api.ok("POST", ACCOUNTS, {"metadata": {"name": "robot"}})
        assert "env" not in (await api.ok("POST", PODS, _identity_pod("p")))["spec"]["containers"][0]


async def test_features_that_are_not_emulated_are_refused_by_name(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}
        status = await api.fails(501, "POST", "/api/v1/namespaces/default/resourcequotas", quota)
        assert status["message"].startswith("the sandbox does not emulate ResourceQuota: ")
        await api.fails(501, "POST", "/api/v1/namespaces/default/limitranges", {"metadata": {"name": "l"}})
        await api.ok("POST", PODS, pod("p"))
        status = await api.fails(501, "POST", f"{PODS}/p/exec")
        assert status["message"].startswith("the sandbox does not emulate exec into containers: ")
        hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        response = await api.send("POST", hooks, {"metadata": {"name": "h"}, "webhooks": []})
        assert response.status == 201 and "does not call the webhooks" in response.headers["warning"]


async def test_built_in_kinds_are_checked(tmp_path: Path) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"

    async with cluster(tmp_path) as api:
        wrong = deployment("web")
        wrong["spec"]["replicsa"] = 2
        status = await api.fails(400, "POST", path, wrong, fieldValidation="Strict")
        assert status["message"] == (
            'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.replicsa"'
        )
        response = await api.send("POST", path, wrong)
        assert response.headers["warning"] == '299 - "unknown field \\"spec.replicsa\\""'
        assert "replicsa" not in response.json()["spec"]
        wrong = deployment("two")
        wrong["spec"]["replicas"] = "many"
        status = await api.fails(400, "POST", path, wrong)
        assert (
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32" in status["message"]
        )
        wrong = deployment("two")
        wrong["spec"]["selector"] = {"matchLabels": {"app": "other"}}
        status = await api.fails(422, "POST", path, wrong)
        assert "`selector` does not match template `labels`" in status["message"]
        wrong = deployment("two")
        del wrong["spec"]["template"]["spec"]["containers"][0]["image"]
        status = await api.fails(422, "POST", path, wrong)
        assert status["message"] == ('Deployment.apps "two" is invalid: spec.template.spec.containers[0].image: Required value')
        wrong = {**deployment("two"), "kind": "DaemonSet"}
        status = await api.fails(400, "POST", path, wrong)
        assert "DaemonSet" in status["message"]


async def test_each_service_gets_its_own_address(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/default/services"

    async with cluster(tmp_path) as api:
        spec = {"ports": [{"port": 80}], "selector": {"a": "b"}}
        one = await api.ok("POST", path, {"metadata": {"name": "one"}, "spec": spec})
        two = await api.ok("POST", path, {"metadata": {"name": "two"}, "spec": {**spec, "type": "LoadBalancer"}})
        assert one["spec"]["clusterIP"] != two["spec"]["clusterIP"] and one["spec"]["ports"][0]["targetPort"] == 80
        assert 30000 <= two["spec"]["ports"][0]["nodePort"] <= 32767 and two["status"] == {"loadBalancer": {}}
        taken = {"metadata": {"name": "three"}, "spec": {**spec, "clusterIP": one["spec"]["clusterIP"]}}
        status = await api.fails(422, "POST", path, taken)
        assert "provided value is already allocated" in status["message"]
        kept = await api.ok("PUT", f"{path}/one", {**one, "spec": {**spec, "ports": [{"port": 81}]}})
        assert kept["spec"]["clusterIP"] == one["spec"]["clusterIP"]
        status = await api.fails(422, "PUT", f"{path}/one", {**kept, "spec": {**kept["spec"], "clusterIP": "10.0.0.99"}})
        assert "may not change once set" in status["message"]
        await api.ok("DELETE", f"{path}/one")
        await api.ok("POST", path, taken)


async def test_secrets_take_plain_text_and_keep_their_type(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/default/secrets"

    async with cluster(tmp_path) as api:
        made = await api.ok("POST", path, {"metadata": {"name": "s"}, "stringData": {"a": "b"}})
        assert made["data"] == {"a": "Yg=="} and made["type"] == "Opaque" and "stringData" not in made
        status = await api.fails(422, "PUT", f"{path}/s", {**made, "type": "other"})
        assert status["message"] == 'Secret "s" is invalid: type: Invalid value: "other": field is immutable'
        frozen = {**config_map("f", {"a": "1"}), "immutable": True}
        maps = "/api/v1/namespaces/default/configmaps"
        frozen = await api.ok("POST", maps, frozen)
        await api.fails(422, "PUT", f"{maps}/f", {**frozen, "data": {"a": "2"}})
