"""Drift detection of helm-controller: the objects in the cluster that differ from the release, and their correction.

Source: fluxcd/helm-controller internal/{action,diff}, fluxcd/pkg/ssa/jsondiff.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from azuresandbox.machine.client import ApiError, NoMatch
from azuresandbox.machine.helm import manifests
from azuresandbox.machine.helm.actions import Helm
from azuresandbox.machine.helm.releases import Release
from azuresandbox.machine.helm.resources import HelmFailure
from azuresandbox.machine.images.flux.helm import texts
from azuresandbox.machine.images.flux.ssa.compare import comparable, in_metadata
from azuresandbox.machine.images.flux.ssa.refs import ref_of
from azuresandbox.machine.types import Object

EXCLUDE = {"helm.toolkit.fluxcd.io/driftDetection": "disabled"}


@dataclass(frozen=True)
class Change:
    """An object that differs from the release. `counts` are the fields added, changed and removed; `None`: it was deleted."""

    obj: Object
    counts: tuple[int, int, int] | None

    def __str__(self) -> str:
        subject = ref_of(self.obj).subject
        if self.counts is None:
            return f"{subject} removed"
        added, changed, removed = self.counts
        return f"{subject} changed ({added} additions, {changed} changes, {removed} removals)"


def summary(changes: Iterable[Change]) -> str:
    return "\n".join(str(change) for change in changes)


async def find_changes(helm: Helm, release: Release, ignore: Iterable[Mapping[str, Any]]) -> list[Change]:
    """Return the drifted objects of a release, by dry-run, except those that an annotation excludes. Raises `HelmFailure`."""
    rules = tuple(ignore)
    changes = []
    for obj in manifests.objects_of(release.manifest):
        if in_metadata(obj, EXCLUDE):
            continue
        try:
            placed = helm.resources.owned(await helm.resources.placed(obj))
            metadata = placed["metadata"]
            namespace = metadata.get("namespace", "")
            live = await helm.kube.find(placed["apiVersion"], placed["kind"], metadata["name"], namespace)
            if live is None:
                changes.append(Change(placed, None))
                continue
            planned = await helm.kube.apply(placed, helm.manager, force=True, dry_run=True)
        except (ApiError, NoMatch) as error:
            raise HelmFailure(texts.STATE_UNDETERMINED(error=error).message) from error
        if in_metadata(live, EXCLUDE):
            continue
        counts = _counts(comparable(live, rules), comparable(planned, rules))
        if any(counts):
            changes.append(Change(placed, counts))
    return changes


async def correct(helm: Helm, changes: Iterable[Change]) -> None:
    """Apply the objects that have drifted. Raises `HelmFailure` with all errors."""
    problems = []
    for change in changes:
        try:
            await helm.kube.apply(change.obj, helm.manager, force=True)
        except ApiError as error:
            problems.append(f"{ref_of(change.obj).subject}: {error}")
    if problems:
        raise HelmFailure("\n".join(problems))


def _counts(live: Any, planned: Any) -> tuple[int, int, int]:
    """Count the JSON patch operations from `live` to `planned`: (additions, changes, removals)."""
    if isinstance(live, dict) and isinstance(planned, dict):
        pairs = [_counts(live[name], planned[name]) for name in live.keys() & planned.keys()]
        added, removed = len(planned.keys() - live.keys()), len(live.keys() - planned.keys())
        return added + sum(p[0] for p in pairs), sum(p[1] for p in pairs), removed + sum(p[2] for p in pairs)
    if isinstance(live, list) and isinstance(planned, list):
        pairs = [_counts(a, b) for a, b in zip(live, planned, strict=False)]
        added, removed = max(0, len(planned) - len(live)), max(0, len(live) - len(planned))
        return added + sum(p[0] for p in pairs), sum(p[1] for p in pairs), removed + sum(p[2] for p in pairs)
    return (0, int(live != planned), 0)
