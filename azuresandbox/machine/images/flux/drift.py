"""Drift detection of helm-controller: what the cluster has against what the release says, and how it is put right.

Source: fluxcd/helm-controller internal/{action,diff}, fluxcd/pkg/ssa/jsondiff. May import `machine.{client,helm}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from azuresandbox.machine.client import ApiError, NoMatch
from azuresandbox.machine.helm import manifests
from azuresandbox.machine.helm.actions import Helm, HelmFailure
from azuresandbox.machine.helm.releases import Release
from azuresandbox.machine.images.flux import apply as ssa

Object = dict[str, Any]

EXCLUDE = {"helm.toolkit.fluxcd.io/driftDetection": "disabled"}


@dataclass(frozen=True)
class Change:
    """One object that is not as released. `counts` are fields added, changed and removed; None: the object is gone."""

    obj: Object
    counts: tuple[int, int, int] | None

    def __str__(self) -> str:
        subject = ssa.ref_of(self.obj).subject
        if self.counts is None:
            return f"{subject} removed"
        added, changed, removed = self.counts
        return f"{subject} changed ({added} additions, {changed} changes, {removed} removals)"


def summary(changes: Iterable[Change]) -> str:
    return "\n".join(str(change) for change in changes)


async def find_changes(helm: Helm, release: Release, ignore: Iterable[Mapping[str, Any]]) -> list[Change]:
    """The drifted objects of a release, by dry-run. Objects that are excluded by annotation are left out."""
    rules = tuple(ignore)
    changes = []
    for obj in manifests.objects_of(release.manifest):
        if ssa.in_metadata(obj, EXCLUDE):
            continue
        try:
            placed = helm.owned(await helm.placed(obj))
            metadata = placed["metadata"]
            namespace = metadata.get("namespace", "")
            live = await helm.kube.find(placed["apiVersion"], placed["kind"], metadata["name"], namespace)
            if live is None:
                changes.append(Change(placed, None))
                continue
            planned = await helm.kube.apply(placed, helm.manager, force=True, dry_run=True)
        except (ApiError, NoMatch) as error:
            raise HelmFailure(f"unable to determine cluster state: {error}") from error
        if ssa.in_metadata(live, EXCLUDE):
            continue
        counts = _counts(ssa.comparable(live, rules), ssa.comparable(planned, rules))
        if any(counts):
            changes.append(Change(placed, counts))
    return changes


async def correct(helm: Helm, changes: Iterable[Change]) -> None:
    """Apply what drifted. Raises `HelmFailure` with all that failed."""
    problems = []
    for change in changes:
        try:
            await helm.kube.apply(change.obj, helm.manager, force=True)
        except ApiError as error:
            problems.append(f"{ssa.ref_of(change.obj).subject}: {error}")
    if problems:
        raise HelmFailure("\n".join(problems))


def _counts(live: Any, planned: Any) -> tuple[int, int, int]:
    """(additions, changes, removals) that make `planned` of `live`, as JSON patch operations are counted."""
    if isinstance(live, dict) and isinstance(planned, dict):
        pairs = [_counts(live[name], planned[name]) for name in live.keys() & planned.keys()]
        added, removed = len(planned.keys() - live.keys()), len(live.keys() - planned.keys())
        return added + sum(p[0] for p in pairs), sum(p[1] for p in pairs), removed + sum(p[2] for p in pairs)
    if isinstance(live, list) and isinstance(planned, list):
        pairs = [_counts(a, b) for a, b in zip(live, planned, strict=False)]
        added, removed = max(0, len(planned) - len(live)), max(0, len(live) - len(planned))
        return added + sum(p[0] for p in pairs), sum(p[1] for p in pairs), removed + sum(p[2] for p in pairs)
    return (0, int(live != planned), 0)
