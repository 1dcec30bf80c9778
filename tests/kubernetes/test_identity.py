"""Authentication and authorization: tokens, client certificates, the issuer, roles and bindings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509

from azuresandbox import fabric
from azuresandbox.kubernetes.state import tokens
from azuresandbox.kubernetes.state.cluster import clusters
from tests.kubernetes.cluster_world import CLUSTER, ISSUER, Api, cluster, config_map, goal, pod

MAPS = "/api/v1/namespaces/default/configmaps"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


async def account_token(api: Api, name: str = "default", **spec: Any) -> str:
    return str((await api.ok("POST", f"{ACCOUNTS}/{name}/token", {"spec": spec}))["status"]["token"])


async def test_requests_without_or_with_a_foreign_token_are_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        for token in ("", "nonsense", "a.b.c"):
            for path in ("/api", "/healthz", MAPS):
                status = await api.someone(token).fails(401, "GET", path)
                assert (status["reason"], status["message"]) == ("Unauthorized", "Unauthorized")
        response = await api.world.wire.request("GET", api.url("/version"))
        assert response.status == 401


async def test_a_token_is_refused_by_other_clusters(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        store = api.world.sandbox.store
        revision = fabric.put_goal(store, goal(cluster_id="c2", oidc_issuer=""))
        await fabric.settled(store, "cluster", "c2", "", revision, ("api",))
        other = fabric.get_cluster_report(store, "c2")
        assert other is not None
        for token in (api.token, await account_token(api)):
            response = await api.world.wire.request(
                "GET", api.world.url("/clusters/c2/version"), headers={"authorization": f"Bearer {token}"}
            )
            assert response.status == 401
        await api.someone(other.credentials["admin"]["token"]).fails(401, "GET", "/version")


async def test_service_account_tokens_verify_against_the_published_keys(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        token = await account_token(api, audiences=["api://AzureADTokenExchange"], expirationSeconds=3600)
        wire, base = api.world.wire, api.world.url(f"/oidc/{CLUSTER}")
        document = (await wire.request("GET", f"{base}/.well-known/openid-configuration")).json()
        assert document["issuer"] == ISSUER and document["jwks_uri"] == f"{base}/openid/v1/jwks"
        (key,) = (await wire.request("GET", document["jwks_uri"])).json()["keys"]
        assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": key["kid"]}
        public = jwt.PyJWK(key)
        options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
        claims = jwt.decode(token, public, audience="api://AzureADTokenExchange", issuer=ISSUER, options=options)
        assert claims["sub"] == "system:serviceaccount:default:default" and claims["exp"] - claims["iat"] == 3600
        account = await api.ok("GET", f"{ACCOUNTS}/default")
        assert claims["kubernetes.io"]["serviceaccount"] == {"name": "default", "uid": account["metadata"]["uid"]}
        await api.someone(token).fails(401, "GET", "/version")  # the token is for another audience


async def test_the_issuer_is_published_while_it_is_enabled(tmp_path: Path) -> None:
    async with cluster(tmp_path, oidc_issuer="", workload_identity=False) as api:
        url = api.world.url(f"/oidc/{CLUSTER}/.well-known/openid-configuration")
        assert (await api.world.wire.request("GET", url)).status == 404
        old = await account_token(api)
        store = api.world.sandbox.store
        revision = fabric.put_goal(store, goal())
        await fabric.settled(store, "cluster", CLUSTER, "", revision, ("api",))
        assert (await api.world.wire.request("GET", url)).json()["issuer"] == ISSUER
        await api.someone(old).ok("GET", "/version")
        new = await account_token(api)
        assert jwt.decode(new, options={"verify_signature": False})["iss"] == ISSUER
        await api.someone(new).ok("GET", "/version")


async def test_tokens_expire_with_their_time_account_or_pod(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        await api.ok("POST", ACCOUNTS, {"metadata": {"name": "robot"}})
        await api.ok("POST", "/api/v1/namespaces/default/pods", pod("p"))
        lasting = await account_token(api, "robot", expirationSeconds=600)
        bound = await account_token(api, boundObjectRef={"apiVersion": "v1", "kind": "Pod", "name": "p"})
        await api.someone(lasting).ok("GET", "/version")
        me = await api.someone(bound).ok("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
        assert me["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"
        assert me["status"]["userInfo"]["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
        await api.ok("DELETE", "/api/v1/namespaces/default/pods/p")
        await api.someone(bound).fails(401, "GET", "/version")
        await api.world.clock.advance(601)
        await api.someone(lasting).fails(401, "GET", "/version")
        fresh = await account_token(api, "robot")
        await api.someone(fresh).ok("GET", "/version")
        await api.ok("DELETE", f"{ACCOUNTS}/robot")
        await api.someone(fresh).fails(401, "GET", "/version")
        status = await api.fails(422, "POST", f"{ACCOUNTS}/default/token", {"spec": {"expirationSeconds": 10}})
        assert "may not specify a duration less than 10 minutes" in status["message"]


async def test_rights_come_from_roles_and_bindings(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        robot = api.someone(await account_token(api))
        status = await robot.fails(403, "GET", MAPS)
        assert status["message"] == (
            'configmaps is forbidden: User "system:serviceaccount:default:default" cannot list resource "configmaps" in API '
            'group "" in the namespace "default"'
        )
        status = await robot.fails(403, "GET", "/apis/apps/v1/deployments")
        assert status["message"].startswith("deployments.apps is forbidden:") and status["message"].endswith(
            "at the cluster scope"
        )
        status = await robot.fails(403, "GET", f"{MAPS}/one")
        assert status["message"].startswith('configmaps "one" is forbidden: User ')
        subjects = [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]
        binding = {
            "metadata": {"name": "b"},
            "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        }
        await api.ok("POST", f"{RBAC}/namespaces/default/rolebindings", binding)
        await robot.ok("POST", MAPS, config_map("one"))
        await robot.ok("GET", f"{MAPS}/one")  # edit aggregates view
        await robot.fails(403, "GET", "/api/v1/namespaces/kube-system/configmaps")
        question = {"spec": {"resourceAttributes": {"verb": "create", "resource": "secrets", "namespace": "default"}}}
        answer = await robot.ok("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", question)
        assert answer["status"]["allowed"] is True
        await api.ok("DELETE", f"{RBAC}/namespaces/default/rolebindings/b")
        await robot.fails(403, "GET", f"{MAPS}/one")
        status = await robot.fails(403, "GET", "/metrics")
        assert status["message"] == 'forbidden: User "system:serviceaccount:default:default" cannot get path "/metrics"'


async def test_cluster_roles_aggregate(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        rule = {"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}
        labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
        role = {"metadata": {"name": "widgets", "labels": labels}, "rules": [rule]}
        await api.ok("POST", f"{RBAC}/clusterroles", role)
        for name in ("view", "edit", "admin"):
            assert rule in (await api.ok("GET", f"{RBAC}/clusterroles/{name}"))["rules"], name
        await api.ok("DELETE", f"{RBAC}/clusterroles/widgets")
        assert rule not in (await api.ok("GET", f"{RBAC}/clusterroles/admin"))["rules"]


async def test_a_client_certificate_is_for_one_cluster(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        report = fabric.get_cluster_report(api.world.sandbox.store, CLUSTER)
        assert report is not None
        subject = x509.load_pem_x509_certificate(report.credentials["admin"]["cert"].encode()).subject
        names = [(attribute.oid._name, str(attribute.value)) for attribute in subject]
        found = clusters(api.world.sandbox)[CLUSTER]
        user = found.user_of_certificate(names)
        assert user is not None
        assert user.name == "masterclient" and user.groups == ("system:masters", "system:authenticated")
        assert found.user_of_certificate([("organizationName", "system:masters"), ("commonName", "masterclient")]) is None


async def test_token_review_answers_for_both_kinds_of_token(tmp_path: Path) -> None:
    path = "/apis/authentication.k8s.io/v1/tokenreviews"

    async with cluster(tmp_path) as api:
        token = await account_token(api)
        status = (await api.ok("POST", path, {"spec": {"token": token}}))["status"]
        assert status["authenticated"] and status["user"]["username"] == "system:serviceaccount:default:default"
        status = (await api.ok("POST", path, {"spec": {"token": token, "audiences": ["other"]}}))["status"]
        assert not status.get("authenticated")
        assert (await api.ok("POST", path, {"spec": {"token": "x"}}))["status"].get("authenticated") is None


async def test_fixed_tokens_are_stable_and_stored_hashed(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api:
        store = api.world.sandbox.store
        one = tokens.component_token(api.world.sandbox, CLUSTER, "system:node:n1", ("system:nodes",))
        assert one == tokens.component_token(api.world.sandbox, CLUSTER, "system:node:n1", ("system:nodes",))
        me = await api.someone(one).ok("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
        assert me["status"]["userInfo"] == {
            "username": "system:node:n1",
            "groups": ["system:nodes", "system:authenticated"],
        }
        identities = store.list(tokens.private(CLUSTER), "token/").records
        assert all(json.loads(record.value)["user"] for record in identities)
        assert all(one not in record.key for record in identities)
