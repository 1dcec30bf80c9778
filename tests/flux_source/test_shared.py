"""The modules that Flux's controllers share: conditions and their summary, durations, status writes, events, artifacts."""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from azuresandbox.machine import durations
from azuresandbox.machine.images.flux import artifacts, conditions, events, objects
from tests.flux_source.source_cluster import NAMESPACE, Cluster, cluster

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
KINDS, NEGATIVE = ("FetchFailed", "ArtifactInStorage", "Stalled", "Reconciling"), ("FetchFailed", "Stalled", "Reconciling")


def fresh(generation: int = 1) -> dict[str, Any]:
    return objects.draft({"metadata": {"name": "x", "generation": generation}})


def test_the_transition_time_changes_with_the_condition_only() -> None:
    obj = fresh()
    conditions.mark(obj, "Ready", "True", "Succeeded", "stored", NOW)
    obj["metadata"]["generation"] = 2
    conditions.mark(obj, "Ready", "True", "Succeeded", "stored", LATER)
    assert conditions.find(obj, "Ready") == {
        "type": "Ready",
        "status": "True",
        "reason": "Succeeded",
        "message": "stored",
        "observedGeneration": 2,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    conditions.mark(obj, "Ready", "True", "Succeeded", "stored again", LATER)
    assert conditions.of(obj)[0]["lastTransitionTime"] == "2026-01-01T00:01:00Z"


def test_stalled_reconciling_and_ready_come_first() -> None:
    obj = fresh()
    for kind in ("ArtifactInStorage", "Ready", "FetchFailed", "Reconciling"):
        conditions.mark(obj, kind, "True", "R", "", NOW)
    assert [c["type"] for c in conditions.of(obj)] == ["Reconciling", "Ready", "ArtifactInStorage", "FetchFailed"]


@pytest.mark.parametrize(
    ("present", "ready"),
    [
        ({"ArtifactInStorage": "True"}, ("True", "ArtifactInStorage")),
        ({"ArtifactInStorage": "True", "Reconciling": "True"}, ("False", "Reconciling")),
        ({"ArtifactInStorage": "True", "Reconciling": "True", "FetchFailed": "True"}, ("False", "FetchFailed")),
        ({"Stalled": "True", "FetchFailed": "True"}, ("False", "FetchFailed")),
        ({"ArtifactInStorage": "False"}, ("False", "ArtifactInStorage")),
    ],
)
def test_the_summary(present: dict[str, str], ready: tuple[str, str]) -> None:
    obj = fresh()
    for kind, status in present.items():
        conditions.mark(obj, kind, status, kind, f"of {kind}", NOW)
    conditions.summarize(obj, KINDS, NEGATIVE, NOW)
    found = conditions.find(obj, "Ready")
    assert found is not None
    assert (found["status"], found["reason"], found["message"]) == (*ready, f"of {ready[1]}")


def test_progress_keeps_a_decided_ready_without_drift() -> None:
    obj = fresh()
    conditions.mark_progress(obj, "Progressing", "working", NOW)
    assert (conditions.find(obj, "Ready") or {})["status"] == "Unknown"
    conditions.mark(obj, "Ready", "True", "Succeeded", "stored", NOW)
    conditions.mark_progress(obj, "Progressing", "working", NOW)
    assert conditions.is_true(obj, "Ready")
    conditions.mark_progress(obj, "Progressing", "new revision", NOW, drift=True)
    assert (conditions.find(obj, "Ready") or {})["message"] == "new revision"


@pytest.mark.parametrize(("text", "value"), [("5m", 300), ("1h30m0s", 5400), ("1.5s", 1.5), ("300ms", 0.3), ("0", 0)])
def test_durations(text: str, value: float) -> None:
    assert durations.seconds(text) == pytest.approx(value)


@pytest.mark.parametrize(("value", "text"), [(300, "5m0s"), (5400, "1h30m0s"), (1.5, "1.5s"), (86_400, "24h0m0s")])
def test_durations_as_go_writes_them(value: float, text: str) -> None:
    assert durations.go_duration(value) == text


@pytest.mark.parametrize("text", ["", "5", "5 m", "m", "1d"])
def test_invalid_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        durations.seconds(text)


@cluster
async def test_only_differences_are_written(hub: Cluster) -> None:
    before = hub.api.put(
        "Bucket",
        NAMESPACE,
        {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "metadata": {"name": "b"},
            "spec": {"suspend": True},
        },
    )
    await hub.settle()
    before = hub.get("Bucket", "b")
    version = before["metadata"]["resourceVersion"]
    assert (
        await objects.write_status(hub.pod.kube, before, objects.draft(before) | {"status": before["status"]}, "m") is not None
    )
    assert hub.get("Bucket", "b")["metadata"]["resourceVersion"] == version
    after = objects.draft(before)
    after["status"] |= {"url": "x", "observedGeneration": None}
    written = await objects.write_status(hub.pod.kube, before, after, "m")
    assert written["status"]["url"] == "x"
    assert "observedGeneration" not in written["status"]


@cluster
async def test_a_repeated_event_counts_up(hub: Cluster) -> None:
    recorder = events.Recorder(hub.pod.kube, hub.world.clock, "source-controller", hub.lines.append)
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": NAMESPACE, "uid": "u"}}
    await recorder.warning(obj, "Failed", "first")
    await recorder.warning(obj, "Failed", "second")
    await hub.advance(60)
    await recorder.warning(obj, "Failed", "first")
    recorded = [e for (kind, _, _), e in hub.api.objects.items() if kind == "Event"]
    assert [(e["message"], e["count"]) for e in recorded] == [("first", 2), ("second", 1)]
    assert (recorded[0]["firstTimestamp"], recorded[0]["lastTimestamp"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z")
    assert recorded[0]["source"] == {"component": "source-controller"}


def test_equal_files_make_equal_archives() -> None:
    first = artifacts.archive({"b/c.sh": (b"x", True), "a": (b"y", False)})
    assert first == artifacts.archive({"a": (b"y", False), "b/c.sh": (b"x", True)})
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        assert [(entry.name, entry.mode) for entry in tar] == [("b", 0o750), ("a", 0o600), ("b/c.sh", 0o700)]
    assert artifacts.unpack(first) == {"a": b"y", "b/c.sh": b"x"}


def test_an_archive_that_leaves_its_folder_is_refused() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../evil"), io.BytesIO())
    with pytest.raises(ValueError, match="invalid name"):
        artifacts.unpack(buffer.getvalue())
    with pytest.raises(ValueError, match="gzip"):
        artifacts.unpack(b"not an archive")


@cluster
async def test_a_download_with_another_digest_is_refused(hub: Cluster) -> None:
    hub.repository({"a.yaml": "a"})
    spec = {"url": "https://github.com/contoso/aks-fleet", "interval": "5m", "ref": {"branch": "main"}}
    artifact = (await hub.apply("GitRepository", "fleet", spec))["status"]["artifact"]
    with pytest.raises(artifacts.ArtifactError, match="computed digest doesn't match provided"):
        await artifacts.fetch(hub.pod, {**artifact, "digest": "sha256:" + "0" * 64})
    with pytest.raises(artifacts.ArtifactError, match="lookup elsewhere: no such host"):
        await artifacts.fetch(hub.pod, {**artifact, "url": "http://elsewhere/x"})
