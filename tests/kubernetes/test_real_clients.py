"""kubectl and the Python client, unmodified, over TLS."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.watch
import pytest
import yaml

from tests.kubernetes.cluster_world import deployment, widget, widget_definition
from tests.processes import started

ROOT = Path(__file__).parents[2]
KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


@dataclass
class Hub:
    """A served cluster, with its administrator's token, client certificate and key (PEM), and clients for it."""

    server: str
    token: str
    cert: str
    key: str
    folder: Path

    def client(self, token: str) -> Any:
        """Return a Python client that sends the token."""
        configuration: Any = kubernetes.client.Configuration(host=self.server)
        configuration.ssl_ca_cert, configuration.proxy = str(self.folder / "ca.pem"), None
        configuration.api_key = {"authorization": f"Bearer {token}"}
        return kubernetes.client.ApiClient(configuration)

    def kubeconfig(self, user: dict[str, str]) -> Path:
        authority = base64.b64encode((self.folder / "ca.pem").read_bytes()).decode()
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "hub",
            "clusters": [{"name": "hub", "cluster": {"server": self.server, "certificate-authority-data": authority}}],
            "users": [{"name": "me", "user": user}],
            "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": "me"}}],
        }
        path = self.folder / f"kubeconfig-{'-'.join(user)}"
        path.write_text(yaml.safe_dump(document))
        return path

    def kubectl(self, *arguments: str, text: str | None = None, user: dict[str, str] | None = None) -> str:
        """Return the output of kubectl, which must succeed."""
        done = self.run(*arguments, text=text, user=user)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(
        self, *arguments: str, text: str | None = None, user: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        assert KUBECTL is not None
        config = self.kubeconfig(user or {"token": self.token})
        command = [KUBECTL, f"--kubeconfig={config}", f"--cache-dir={self.folder / 'cache'}", *arguments]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "NO_PROXY": "127.0.0.1"}
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, env=environment, check=False)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    command = [sys.executable, "-m", "tests.kubernetes.serve", str(folder)]
    with started(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        yield Hub(found["server"], found["token"], found["cert"], found["key"], folder)


@needs_kubectl
def test_kubectl_get_shows_the_usual_columns(hub: Hub) -> None:
    out = hub.kubectl("get", "services", "-A")
    assert out.splitlines()[0].split() == ["NAMESPACE", "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert out.splitlines()[1].split()[:4] == ["default", "kubernetes", "ClusterIP", "10.0.0.1"]
    assert {line.split()[0] for line in hub.kubectl("get", "ns").splitlines()[1:]} >= {"default", "kube-system"}


@needs_kubectl
def test_kubectl_applies_edits_and_deletes(hub: Hub) -> None:
    kubectl = hub.kubectl
    manifest = json.dumps(deployment("web"))
    assert kubectl("apply", "-f", "-", text=manifest) == "deployment.apps/web created\n"
    assert kubectl("apply", "-f", "-", text=manifest) == "deployment.apps/web unchanged\n"
    assert kubectl("scale", "deployment/web", "--replicas=3") == "deployment.apps/web scaled\n"
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    assert "web" in kubectl("describe", "deployment", "web")
    patch = json.dumps({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "redis:8"}]}}}})
    assert kubectl("patch", "deployment", "web", "-p", patch) == "deployment.apps/web patched\n"
    assert kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=manifest).endswith("serverside-applied\n")
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={..image}") == "redis:7"
    assert kubectl("delete", "deployment", "web") == 'deployment.apps "web" deleted\n'
    wrong = deployment("bad")
    wrong["spec"]["replicsa"] = 1
    done = hub.run("apply", "-f", "-", text=json.dumps(wrong))
    assert done.returncode == 1 and 'unknown field "spec.replicsa"' in done.stderr


@needs_kubectl
def test_kubectl_knows_custom_resources(hub: Hub) -> None:
    kubectl = hub.kubectl
    kubectl("apply", "-f", "-", text=json.dumps(widget_definition()))
    kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=10s")
    kubectl("apply", "-f", "-", text=json.dumps(widget("one", size=3)))
    lines = kubectl("get", "wd").splitlines()
    assert [line.split() for line in lines] == [["NAME", "SIZE"], ["one", "3"]]
    assert "size" in kubectl("explain", "widget.spec")
    kubectl("delete", "crd", "widgets.example.com")


@needs_kubectl
def test_kubectl_with_a_client_certificate(hub: Hub) -> None:
    user = {
        "client-certificate-data": base64.b64encode(hub.cert.encode()).decode(),
        "client-key-data": base64.b64encode(hub.key.encode()).decode(),
    }
    assert "masterclient" in hub.kubectl("auth", "whoami", user=user)
    assert hub.kubectl("auth", "can-i", "delete", "pods", user=user) == "yes\n"
    done = hub.run("get", "pods", user={"token": "wrong"})
    assert done.returncode == 1 and "Unauthorized" in done.stderr


@needs_kubectl
def test_kubectl_create_token_explain_and_api_resources(hub: Hub) -> None:
    kubectl = hub.kubectl
    token = kubectl("create", "token", "default").strip()
    done = hub.run("get", "pods", user={"token": token})
    assert done.returncode == 1 and 'cannot list resource "pods" in API group ""' in done.stderr
    assert "deployments" in kubectl("api-resources")
    assert "replicas" in kubectl("explain", "deployment.spec")
    assert "Server Version: v1.33.2" in kubectl("version")


def test_the_python_client_reads_writes_and_watches(hub: Hub) -> None:
    with hub.client(hub.token) as api:
        core = kubernetes.client.CoreV1Api(api)
        body = kubernetes.client.V1ConfigMap(metadata=kubernetes.client.V1ObjectMeta(name="py"), data={"a": "1"})
        created = core.create_namespaced_config_map("default", body)
        listed = core.list_namespaced_config_map("default")
        assert "py" in {item.metadata.name for item in listed.items}
        core.patch_namespaced_config_map("py", "default", {"data": {"a": "2"}})
        core.delete_namespaced_config_map("py", "default")
        watch = kubernetes.watch.Watch()
        kinds = []
        started = time.monotonic()
        for event in watch.stream(
            core.list_namespaced_config_map, "default", resource_version=created.metadata.resource_version, timeout_seconds=2
        ):
            kinds.append(event["type"])
        assert kinds == ["MODIFIED", "DELETED"]
        assert 1.5 < time.monotonic() - started < 10, "timeoutSeconds are the client's seconds"
        with pytest.raises(kubernetes.client.ApiException) as caught:
            core.read_namespaced_config_map("py", "default")
        assert caught.value.status == 404


@needs_kubectl
def test_kubectl_create_sends_protobuf(hub: Hub) -> None:
    kubectl = hub.kubectl
    kubectl("create", "namespace", "team")
    kubectl("create", "secret", "generic", "aso-identity", "-n", "team", "--from-literal=values.yaml=a: b\n")
    secret = json.loads(kubectl("get", "secret", "aso-identity", "-n", "team", "-o", "json"))
    assert base64.b64decode(secret["data"]["values.yaml"]) == b"a: b\n" and secret["type"] == "Opaque"
    kubectl("create", "deployment", "web", "--image=redis:7", "--replicas=0", "--port=80", "-n", "team")
    made = json.loads(kubectl("get", "deployment", "web", "-n", "team", "-o", "json"))
    assert (
        made["spec"]["replicas"] == 0 and made["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] == 80
    )
    kubectl("expose", "deployment", "web", "--port=80", "--target-port=http", "-n", "team")
    service = json.loads(kubectl("get", "service", "web", "-n", "team", "-o", "json"))
    assert service["spec"]["ports"][0]["targetPort"] == "http" and service["spec"]["selector"] == {"app": "web"}
    kubectl("delete", "namespace", "team")


@needs_kubectl
def test_kubectl_auth_can_i_with_and_without_impersonation(hub: Hub) -> None:
    kubectl = hub.kubectl
    kubectl("create", "serviceaccount", "robot")
    kubectl("create", "role", "reader", "--verb=get", "--verb=list", "--resource=configmaps", "--resource-name=mine")
    kubectl("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:robot")
    robot = "--as=system:serviceaccount:default:robot"
    assert kubectl("auth", "can-i", "get", "configmaps/mine", robot) == "yes\n"
    done = hub.run("auth", "can-i", "get", "configmaps", robot)
    assert (done.returncode, done.stdout) == (1, "no\n")
    token = kubectl("create", "token", "robot", "--duration=10m").strip()
    listed = kubectl("auth", "can-i", "--list", user={"token": token})
    assert any(line.split() == ["configmaps", "[]", "[mine]", "[get", "list]"] for line in listed.splitlines()), listed
    assert listed == kubectl("auth", "can-i", "--list", robot)
    assert any(line.split() == ["*.*", "[]", "[]", "[*]"] for line in kubectl("auth", "can-i", "--list").splitlines())
    done = hub.run("get", "pods", "--as=jane", user={"token": token})
    assert done.returncode == 1
    assert 'users "jane" is forbidden: User "system:serviceaccount:default:robot" cannot impersonate resource' in done.stderr
    done = hub.run("create", "rolebinding", "more", "--clusterrole=edit", "--serviceaccount=default:robot", robot)
    assert done.returncode == 1 and 'cannot create resource "rolebindings"' in done.stderr


def test_the_python_client_is_refused_without_rights(hub: Hub) -> None:
    with hub.client(hub.token) as admin:
        core = kubernetes.client.CoreV1Api(admin)
        spec = {"spec": {"audiences": [], "expirationSeconds": 600}}
        token = core.create_namespaced_service_account_token("default", "default", spec).status.token
    with hub.client(token) as robot:
        review = kubernetes.client.V1SelfSubjectAccessReview(
            spec={"resourceAttributes": {"verb": "list", "resource": "secrets", "namespace": "default"}}
        )
        assert kubernetes.client.AuthorizationV1Api(robot).create_self_subject_access_review(review).status.allowed is False
        with pytest.raises(kubernetes.client.ApiException) as caught:
            kubernetes.client.CoreV1Api(robot).list_namespaced_secret("default")
    status = json.loads(caught.value.body)
    assert (caught.value.status, status["reason"], status["details"]) == (403, "Forbidden", {"kind": "secrets"})
