"""RBAC as kube-apiserver's authorizer evaluates it: names, subresources, paths, privilege escalation, impersonation."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.cluster_world import Api, cluster, config_map, pod

MAPS = "/api/v1/namespaces/default/configmaps"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROBOT = "system:serviceaccount:default:robot"
GROUPS = '["system:serviceaccounts" "system:serviceaccounts:default" "system:authenticated"]'


def rule(verbs: str, resources: str, group: str = "", **more: Any) -> dict[str, Any]:
    return {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split(), **more}


@contextlib.asynccontextmanager
async def robot_with(state: Path, *rules: dict[str, Any]) -> AsyncIterator[tuple[Api, Api]]:
    """Yield clients of the administrator, and of a service account with these rules on the whole cluster."""
    async with cluster(state) as api:
        await api.ok("POST", ACCOUNTS, {"metadata": {"name": "robot"}})
        await api.ok("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "robot"}, "rules": list(rules)})
        await bind(api, "robot", "robot")
        token = (await api.ok("POST", f"{ACCOUNTS}/robot/token", {"spec": {}}))["status"]["token"]
        yield api, api.someone(token)


async def bind(api: Api, name: str, role: str, namespace: str = "") -> Any:
    return await api.ok("POST", bindings(namespace), binding(name, role))


def bindings(namespace: str = "") -> str:
    return f"{RBAC}/namespaces/{namespace}/rolebindings" if namespace else f"{RBAC}/clusterrolebindings"


def binding(name: str, role: str, kind: str = "ClusterRole") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
    }


async def test_names_subresources_and_paths(tmp_path: Path) -> None:
    rules = (
        rule("get update", "configmaps", resourceNames=["mine"]),
        rule("get", "pods/log */status"),
        {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]},
    )
    async with robot_with(tmp_path, *rules) as (api, robot):
        for name in ("mine", "yours"):
            await api.ok("POST", MAPS, config_map(name))
        await api.ok("POST", "/api/v1/namespaces/default/pods", pod("p"))
        await robot.ok("GET", f"{MAPS}/mine")
        await robot.fails(403, "GET", f"{MAPS}/yours")
        await robot.fails(403, "GET", MAPS)  # the request names no object, so a right with resourceNames does not cover it
        await robot.fails(403, "POST", MAPS, config_map("mine"))
        await robot.ok("GET", "/api/v1/namespaces/default/pods/p/status")
        status = await robot.fails(403, "GET", "/api/v1/namespaces/default/pods/p")
        assert 'cannot get resource "pods" in API group "" in the namespace "default"' in status["message"]
        status = await robot.fails(403, "PATCH", "/api/v1/namespaces/default/pods/p/status", {})
        assert 'cannot patch resource "pods/status"' in status["message"]
        assert (await robot.send("GET", "/metrics")).status == 404
        assert (await robot.send("GET", "/logs/kubelet")).status == 404
        assert (await robot.send("GET", "/debug")).status == 403


async def test_a_user_without_rights_gets_403_and_not_404(tmp_path: Path) -> None:
    async with robot_with(tmp_path) as (api, robot):
        status = await robot.fails(403, "GET", "/apis/nosuch.example.com/v1/unicorns")
        assert 'unicorns.nosuch.example.com is forbidden: User "' in status["message"]
        assert (await api.send("GET", "/apis/nosuch.example.com/v1/unicorns")).status == 404


async def test_the_right_to_patch_does_not_include_create(tmp_path: Path) -> None:
    async with robot_with(tmp_path, rule("patch", "configmaps")) as (api, robot):
        apply = {"content_type": "application/apply-patch+yaml", "fieldManager": "robot"}
        body = {**config_map("new", {"a": "1"}), "apiVersion": "v1", "kind": "ConfigMap"}
        status = await robot.fails(403, "PATCH", f"{MAPS}/new", body, **apply)
        assert f'User "{ROBOT}" cannot create resource "configmaps"' in status["message"]
        await api.ok("PATCH", f"{MAPS}/new", body, **apply)
        await robot.ok("PATCH", f"{MAPS}/new", body, **apply)


async def test_a_refusal_names_bindings_of_missing_roles(tmp_path: Path) -> None:
    async with robot_with(tmp_path) as (api, robot):
        await bind(api, "b", "nobody", "default")  # the administrator may bind a role that does not exist yet
        status = await robot.fails(403, "GET", MAPS)
        assert status["message"].endswith(
            'in the namespace "default": RBAC: clusterrole.rbac.authorization.k8s.io "nobody" not found'
        )


ESCALATIONS = [
    # rule held, rule of the new role, rights that the message names as missing ("" if it is allowed)
    (rule("*", "*", "*"), rule("get", "secrets"), ""),
    (rule("get list", "secrets"), rule("get", "secrets"), ""),
    (
        rule("get", "secrets"),
        rule("get list delete", "secrets"),
        '{APIGroups:[""], Resources:["secrets"], Verbs:["list" "delete"]}',
    ),
    (
        rule("get", "secrets", resourceNames=["one"]),
        rule("get", "secrets"),
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}',
    ),
    (rule("get", "secrets", resourceNames=["one"]), rule("get", "secrets", resourceNames=["one"]), ""),
    (
        rule("get", "secrets", resourceNames=["*"]),
        rule("get", "secrets", resourceNames=["two"]),
        '{APIGroups:[""], Resources:["secrets"], ResourceNames:["two"], Verbs:["get"]}',
    ),
    (rule("get", "*/status"), rule("get", "pods/status"), ""),
    (rule("get", "pods"), rule("get", "pods/log"), '{APIGroups:[""], Resources:["pods/log"], Verbs:["get"]}'),
    (rule("get", "pods"), rule("get", "pods", "*"), '{APIGroups:["*"], Resources:["pods"], Verbs:["get"]}'),
    ({"verbs": ["get"], "nonResourceURLs": ["/logs/*"]}, {"verbs": ["get"], "nonResourceURLs": ["/logs/x"]}, ""),
    (
        {"verbs": ["get"], "nonResourceURLs": ["/logs"]},
        {"verbs": ["get"], "nonResourceURLs": ["*"]},
        '{NonResourceURLs:["*"], Verbs:["get"]}',
    ),
]


@pytest.mark.parametrize(("held", "wanted", "missing"), ESCALATIONS)
async def test_granting_rights_needs_the_same_rights(
    tmp_path: Path, held: dict[str, Any], wanted: dict[str, Any], missing: str
) -> None:
    writer = rule("create update", "clusterroles clusterrolebindings", "rbac.authorization.k8s.io")
    async with robot_with(tmp_path, held, writer) as (api, robot):
        role = {"metadata": {"name": "more"}, "rules": [wanted]}
        if not missing:
            await robot.ok("POST", f"{RBAC}/clusterroles", role)
            await robot.ok("POST", bindings(), binding("more", "more"))
            return
        why = f'user "{ROBOT}" (groups={GROUPS}) is attempting to grant RBAC permissions not currently held:\n{missing}'
        status = await robot.fails(403, "POST", f"{RBAC}/clusterroles", role)
        assert status["message"] == f'clusterroles.rbac.authorization.k8s.io "more" is forbidden: {why}'
        made = await api.ok("POST", f"{RBAC}/clusterroles", role)
        status = await robot.fails(403, "POST", bindings(), binding("more", "more"))
        assert status["message"] == f'clusterrolebindings.rbac.authorization.k8s.io "more" is forbidden: {why}'
        made["metadata"]["labels"] = {"a": "b"}
        await robot.fails(403, "PUT", f"{RBAC}/clusterroles/more", made)
        made["metadata"] |= {"labels": {}, "finalizers": ["example.com/x"]}
        made["metadata"].pop("labels")
        await robot.ok("PUT", f"{RBAC}/clusterroles/more", made)  # finalizers may change: the garbage collector needs it


async def test_the_verbs_escalate_and_bind(tmp_path: Path) -> None:
    rules = (
        rule("create escalate", "roles clusterroles", "rbac.authorization.k8s.io"),
        rule("create", "rolebindings", "rbac.authorization.k8s.io"),
        rule("bind", "clusterroles", "rbac.authorization.k8s.io", resourceNames=["view"]),
    )
    async with robot_with(tmp_path, *rules) as (_, robot):
        gathers = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
        await robot.ok("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "all"}, "rules": [rule("*", "*", "*")]})
        await robot.ok("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "gathers"}, "aggregationRule": gathers})
        await robot.ok("POST", bindings("default"), binding("one", "view"))
        status = await robot.fails(403, "POST", bindings("default"), binding("two", "edit"))
        assert "is attempting to grant RBAC permissions not currently held" in status["message"]
        status = await robot.fails(404, "POST", bindings("default"), binding("three", "nobody", "Role"))
        assert status["message"] == 'roles.rbac.authorization.k8s.io "nobody" not found'


async def test_creating_an_aggregated_role_needs_all_rights(tmp_path: Path) -> None:
    async with robot_with(tmp_path, rule("create", "clusterroles", "rbac.authorization.k8s.io")) as (_, robot):
        gathers = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
        status = await robot.fails(403, "POST", f"{RBAC}/clusterroles", {"metadata": {"name": "x"}, "aggregationRule": gathers})
        assert status["message"].endswith("must have cluster-admin privileges to use the aggregationRule")


async def test_impersonation_needs_the_right_to_impersonate(tmp_path: Path) -> None:
    async with robot_with(tmp_path, rule("impersonate", "users", resourceNames=["jane"])) as (api, robot):

        async def whoami(caller: Api, **headers: str) -> tuple[int, Any]:
            url = api.url("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            sent = caller.headers() | {f"impersonate-{name.replace('_', '-')}": value for name, value in headers.items()}
            answer = await api.world.wire.request("POST", url, headers=sent, body=b"{}")
            return answer.status, answer.json()

        status, found = await whoami(robot, user="jane")
        assert found["status"]["userInfo"] == {"username": "jane", "groups": ["system:authenticated"]}
        status, found = await whoami(robot, user="joe")
        assert (status, found["message"]) == (
            403,
            f'users "joe" is forbidden: User "{ROBOT}" cannot impersonate resource "users" in API group "" '
            "at the cluster scope",
        )
        status, found = await whoami(robot, user="jane", group="system:masters")
        assert status == 403 and found["message"].startswith('groups "system:masters" is forbidden')
        status, found = await whoami(robot, user=ROBOT)
        assert status == 403 and found["message"].startswith('serviceaccounts "robot" is forbidden')
        status, found = await whoami(robot, user="jane", extra_team="x")
        assert status == 403 and 'resource "userextras/team" in API group "authentication.k8s.io"' in found["message"]
        status, found = await whoami(robot, user="jane", uid="1")
        assert status == 403 and found["message"].startswith('uids.authentication.k8s.io "1" is forbidden')
        assert (await whoami(robot, group="x"))[0] == 500
        status, found = await whoami(api, user=ROBOT, extra_team="x")
        assert found["status"]["userInfo"] == {
            "username": ROBOT,
            "extra": {"team": ["x"]},
            "groups": ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"],
        }


async def test_reviews_give_their_reason(tmp_path: Path) -> None:
    authorization = "/apis/authorization.k8s.io/v1"

    async with robot_with(tmp_path, rule("get", "pods")) as (api, robot):
        await bind(api, "viewers", "view", "default")

        async def may(verb: str, resource: str, namespace: str, **who: Any) -> Any:
            spec = {"resourceAttributes": {"verb": verb, "resource": resource, "namespace": namespace}, **who}
            return (await api.ok("POST", f"{authorization}/subjectaccessreviews", {"spec": spec}))["status"]

        reason = 'RBAC: allowed by ClusterRoleBinding "robot" of ClusterRole "robot" to ServiceAccount "robot/default"'
        assert await may("get", "pods", "kube-system", user=ROBOT) == {"allowed": True, "reason": reason}
        reason = 'RBAC: allowed by RoleBinding "viewers/default" of ClusterRole "view" to ServiceAccount "robot/default"'
        assert await may("list", "configmaps", "default", user=ROBOT) == {"allowed": True, "reason": reason}
        assert await may("list", "configmaps", "kube-system", user=ROBOT) == {"allowed": False}
        assert await may("delete", "nodes", "", groups=["system:masters"]) == {"allowed": True}
        question = {"spec": {"user": ROBOT, "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "other"}}}
        local = f"{authorization}/namespaces/default/localsubjectaccessreviews"
        await api.fails(400, "POST", local, question)
        status = await api.fails(422, "POST", f"{authorization}/subjectaccessreviews", {"spec": {"nonResourceAttributes": {}}})
        assert "at least one of user or group must be specified" in status["message"]
        rules = (await robot.ok("POST", f"{authorization}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}))[
            "status"
        ]
        assert rule("get", "pods") in rules["resourceRules"]
        assert any("/healthz" in item["nonResourceURLs"] for item in rules["nonResourceRules"])


async def test_tokens_are_bound_to_pods_secrets_and_nodes(tmp_path: Path) -> None:
    async with robot_with(tmp_path) as (api, _):
        secret = await api.ok("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
        await api.ok("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
        path = f"{ACCOUNTS}/robot/token"

        async def token(**reference: str) -> Api:
            spec = {"boundObjectRef": {"apiVersion": "v1", **reference}}
            return api.someone((await api.ok("POST", path, {"spec": spec}))["status"]["token"])

        by_secret, by_node = (
            await token(kind="Secret", name="s", uid=secret["metadata"]["uid"]),
            await token(kind="Node", name="n"),
        )
        for someone in (by_secret, by_node):
            await someone.ok("GET", "/version")
        await api.ok("DELETE", "/api/v1/namespaces/default/secrets/s")
        await api.ok("DELETE", "/api/v1/nodes/n")
        for someone in (by_secret, by_node):
            await someone.fails(401, "GET", "/version")
        wrong = {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "ConfigMap", "name": "x"}}}
        status = await api.fails(400, "POST", path, wrong)
        assert status["message"] == "cannot bind token to object of type /v1, Kind=ConfigMap"
        status = await api.fails(422, "POST", path, {"spec": {"expirationSeconds": (1 << 32) + 1}})
        assert "may not specify a duration larger than 2^32 seconds" in status["message"]
