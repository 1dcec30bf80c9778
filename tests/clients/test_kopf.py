"""The unmodified kopf as an operator of a CRD: handlers, finalizers, status, retries, events, owner references, deletion."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import kubernetes.client
import kubernetes.config
import kubernetes.watch
import pytest
from kubernetes.client import ApiException

from tests.processes import started

pytestmark = pytest.mark.slow

NAMESPACE = "by-kopf"
NOTES = ("example.org", "v1", NAMESPACE, "notes")
ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "notes.example.org"},
    "spec": {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"plural": "notes", "singular": "note", "kind": "Note"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": ANY, "status": ANY}}},
            }
        ],
    },
}


@dataclass
class Operator:
    """A running operator, and a client that reads its results."""

    api: Any
    process: subprocess.Popen[str]
    lines: queue.Queue[str]

    @property
    def notes(self) -> Any:
        return kubernetes.client.CustomObjectsApi(self.api)

    @property
    def core(self) -> Any:
        return kubernetes.client.CoreV1Api(self.api)

    def create(self, name: str, **spec: Any) -> None:
        note = {"apiVersion": "example.org/v1", "kind": "Note", "metadata": {"name": name}, "spec": spec}
        self.notes.create_namespaced_custom_object(*NOTES, note)

    def until(self, name: str, true: Callable[[Any], bool]) -> Any:
        """Watch the note until `true` holds, twenty seconds at most, and return it."""
        found = self.notes.get_namespaced_custom_object(*NOTES, name)
        if true(found):
            return found
        for event in kubernetes.watch.Watch().stream(
            self.notes.list_namespaced_custom_object,
            *NOTES,
            field_selector=f"metadata.name={name}",
            resource_version=found["metadata"]["resourceVersion"],
            timeout_seconds=20,
        ):
            found = event["object"]
            if event["type"] == "DELETED" or true(found):
                return found
        raise AssertionError(f"{name} never became so: {found}")

    def says(self, part: str) -> None:
        """Wait until the operator logs a line with `part`, twenty seconds at most."""
        seen: list[str] = []
        while not seen or part not in seen[-1]:
            try:
                seen.append(self.lines.get(timeout=20))
            except queue.Empty:
                raise AssertionError(f"{part!r} was never logged; but\n{''.join(seen)}") from None

    def posts(self, name: str, kind: str) -> None:
        """Wait until the operator posts an event of this type about the note, twenty seconds at most.

        kopf posts events in the background.
        """
        for event in kubernetes.watch.Watch().stream(
            self.core.list_namespaced_event, NAMESPACE, field_selector=f"involvedObject.name={name}", timeout_seconds=20
        ):
            if event["object"].type == kind and event["object"].reason == "Logging":
                return
        logged = "".join(self.lines.get() for _ in range(self.lines.qsize()))
        raise AssertionError(f"no event {kind} about {name}; the operator logged\n{logged}")


def _queue_lines(output: IO[str], lines: queue.Queue[str]) -> None:
    for line in output:
        lines.put(line)


@pytest.fixture(scope="module")
def operator(fleet: Any) -> Iterator[Operator]:
    kubeconfig = fleet.cluster("podinfo-staging-0-aks").config
    configuration: Any = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    configuration.proxy = None
    with kubernetes.client.ApiClient(configuration) as api:
        definitions = kubernetes.client.ApiextensionsV1Api(api)
        definitions.create_custom_resource_definition(DEFINITION)
        core = kubernetes.client.CoreV1Api(api)
        core.create_namespace({"metadata": {"name": NAMESPACE}})
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        command = [
            sys.executable,
            "-m",
            "kopf",
            "run",
            "--standalone",
            "--verbose",
            f"--namespace={NAMESPACE}",
            str(Path(__file__).with_name("kopf_operator.py")),
        ]
        lines: queue.Queue[str] = queue.Queue()
        with started(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            assert process.stdout is not None
            reader = threading.Thread(target=_queue_lines, args=(process.stdout, lines), daemon=True)
            reader.start()
            found = Operator(api, process, lines)
            try:
                found.says("Starting the watch-stream for notes.v1.example.org")
                yield found
            finally:
                process.terminate()
                process.wait(20)
                reader.join(5)
        core.delete_namespace(NAMESPACE)
        definitions.delete_custom_resource_definition("notes.example.org")


def test_creating_sets_finalizer_result_events_and_owner(operator: Operator) -> None:
    operator.create("first", text="hello")
    found = operator.until("first", lambda note: "create" in note.get("status", {}))
    assert found["status"]["create"] == {"text": "hello"}
    assert found["metadata"]["finalizers"] == ["notes.example.org/kopf"]
    assert "kopf.zalando.org/last-handled-configuration" in found["metadata"]["annotations"]
    made = operator.core.read_namespaced_config_map("first", NAMESPACE)
    assert made.data == {"text": "hello"} and made.metadata.owner_references[0].uid == found["metadata"]["uid"]
    operator.says("Creation is processed: 1 succeeded; 0 failed")
    operator.posts("first", "Normal")


def test_a_change_is_handled_with_its_difference(operator: Operator) -> None:
    operator.create("changed", text="one")
    operator.until("changed", lambda note: "create" in note.get("status", {}))
    operator.notes.patch_namespaced_custom_object(*NOTES, "changed", {"spec": {"text": "two"}})
    found = operator.until("changed", lambda note: note["status"].get("previous") == "one")
    assert operator.core.read_namespaced_config_map("changed", NAMESPACE).data == {"text": "two"}
    assert found["metadata"]["generation"] == 2, "kopf's own patches of status and metadata do not count"


def test_temporary_errors_are_retried_and_permanent_ones_reported(operator: Operator) -> None:
    operator.create("flaky", text="x", flaky=True)
    found = operator.until("flaky", lambda note: note.get("status", {}).get("retries") == 2)
    assert "kopf" not in found["status"] or "flaky" not in found["status"]["kopf"].get("progress", {})
    operator.create("empty")
    operator.says("Handler 'create' failed permanently: a note needs a text")
    operator.says("Creation is processed: 0 succeeded; 1 failed")
    operator.posts("empty", "Error")


def test_deletion_waits_for_the_finalizer_and_deletes_dependents(operator: Operator) -> None:
    operator.create("held", text="x")
    operator.until("held", lambda note: "create" in note.get("status", {}))
    operator.notes.patch_namespaced_custom_object(*NOTES, "held", {"metadata": {"annotations": {"hold": "yes"}}})
    operator.notes.delete_namespaced_custom_object(*NOTES, "held")
    operator.says("Handler 'delete' failed temporarily: held")
    found = operator.notes.get_namespaced_custom_object(*NOTES, "held")
    assert found["metadata"]["deletionTimestamp"] and found["metadata"]["finalizers"]
    operator.notes.patch_namespaced_custom_object(*NOTES, "held", {"metadata": {"annotations": {"hold": None}}})
    operator.says("Deletion is processed: 1 succeeded; 0 failed")
    for _ in kubernetes.watch.Watch().stream(operator.core.list_namespaced_config_map, NAMESPACE, timeout_seconds=20):
        if "held" not in {item.metadata.name for item in operator.core.list_namespaced_config_map(NAMESPACE).items}:
            break
    else:
        raise AssertionError("the ConfigMap outlived its owner")
    with pytest.raises(ApiException) as caught:
        operator.notes.get_namespaced_custom_object(*NOTES, "held")
    assert caught.value.status == 404


def test_raw_events_of_a_builtin_kind(operator: Operator) -> None:
    operator.core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "labelled", "labels": {"counted": "yes"}}})
    operator.says("saw ADDED of labelled")
    operator.core.delete_namespaced_config_map("labelled", NAMESPACE)
    operator.says("saw DELETED of labelled")
