"""The history in a HelmRelease's status: snapshots of the releases that Helm has stored, and their digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from azuresandbox.machine.helm import releases
from azuresandbox.machine.helm.releases import Release
from azuresandbox.machine.images.flux.helm.run import GROUP, Run
from azuresandbox.machine.kustomize.documents import dump
from azuresandbox.machine.types import Object


def take(release: Release, oci_digest: str) -> Object:
    """Return the snapshot of a release. Its digest covers the whole release."""
    metadata, info = release.chart_metadata, release.info
    observed = {
        "name": release.name,
        "namespace": release.namespace,
        "version": release.version,
        "info": info,
        "chartMetadata": metadata,
        "config": release.config,
        "manifest": release.manifest,
        "hooks": release.hooks,
        "ociDigest": oci_digest,
    }
    digest = hashlib.sha256(json.dumps(observed, sort_keys=True).encode()).hexdigest()
    snapshot: Object = {
        "digest": f"sha256:{digest}",
        "name": release.name,
        "namespace": release.namespace,
        "version": release.version,
        "status": release.status,
        "chartName": metadata.get("name", ""),
        "chartVersion": metadata.get("version", ""),
        "configDigest": values_digest(release.config),
        "firstDeployed": _second(info.get("first_deployed", "")),
        "lastDeployed": _second(info.get("last_deployed", "")),
    }
    optional = {"appVersion": metadata.get("appVersion"), "deleted": _second(info.get("deleted", "")), "ociDigest": oci_digest}
    return snapshot | {name: str(value) for name, value in optional.items() if value}


def matches(snapshot: Mapping[str, Any], release: Release) -> bool:
    """Return whether a stored release is the one that a snapshot was taken of, unchanged since."""
    return bool(take(release, str(snapshot.get("ociDigest", "")))["digest"] == snapshot.get("digest"))


def record(run: Run, written: Mapping[int, Release]) -> None:
    """Enter the releases that an action has written (by version): known ones are updated, the newest is added."""
    for version in sorted(written):
        known = next((s for s in run.history if int(s["version"]) == version), None)
        digest = known.get("ociDigest", "") if known else run.status.get("lastAttemptedRevisionDigest", "")
        snapshot = take(written[version], digest)
        if known is not None:
            known.clear()
            known.update(snapshot)
        elif version == max(written):
            run.history.insert(0, snapshot)
    run.status["history"] = run.history


def update(run: Run, release: Release) -> None:
    """Update the snapshot of a release that was written, if the history has it."""
    for snapshot in run.history:
        same = (snapshot["name"], snapshot["namespace"], int(snapshot["version"]))
        if same == (release.name, release.namespace, release.version):
            digest = snapshot.get("ociDigest", "")
            snapshot.clear()
            snapshot.update(take(release, digest))


def truncate(run: Run) -> None:
    """Drop the snapshots older than the last release that can be rolled back to."""
    history = run.history
    for index, snapshot in enumerate(history[1:], start=1):
        if snapshot["status"] in (releases.DEPLOYED, releases.SUPERSEDED):
            run.status["history"] = history[: index + 1]
            return
    run.status["history"] = history[:5]


def previous(run: Run) -> Object | None:
    """Return the snapshot to roll back to, or `None`."""
    return next((s for s in run.history[1:] if s["status"] in (releases.DEPLOYED, releases.SUPERSEDED)), None)


def full_name(snapshot: Mapping[str, Any]) -> str:
    return f"{snapshot['namespace']}/{snapshot['name']}.v{snapshot['version']}"


def chart_version(snapshot: Mapping[str, Any]) -> str:
    return f"{snapshot['chartName']}@{snapshot['chartVersion']}"


def annotations_of(snapshot: Mapping[str, Any]) -> dict[str, str]:
    """Return the annotations of an event about a release."""
    return event_annotations(snapshot["chartVersion"], snapshot["configDigest"])


def event_annotations(revision: str, token: str) -> dict[str, str]:
    return {f"{GROUP}/revision": revision, f"{GROUP}/token": token}


def values_digest(values: Mapping[str, Any]) -> str:
    """Return the digest of values as YAML with sorted keys; empty values have the digest of an empty text."""
    return "sha256:" + hashlib.sha256(dump(dict(values)).encode() if values else b"").hexdigest()


def renderers_digest(spec: Mapping[str, Any]) -> str:
    """Return the digest of `spec.postRenderers`, "" if it is missing."""
    renderers = spec.get("postRenderers")
    if renderers is None:
        return ""
    return "sha256:" + hashlib.sha256(json.dumps(renderers, sort_keys=True).encode()).hexdigest()


def _second(moment: str) -> str:
    """Return a time without fractions of a second, as Kubernetes writes it."""
    return moment.partition(".")[0].rstrip("Z") + "Z" if moment else ""
