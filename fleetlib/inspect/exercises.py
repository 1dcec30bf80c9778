"""The exercises at the end of notebook 08, and the check of an answer. `None` means not answered yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from fleetlib.inspect.fleet import Fleet


@dataclass(frozen=True, repr=False)
class Verdict:
    """The result of checking an answer. `right` is `None` if there is no answer yet."""

    exercise: str
    right: bool | None
    words: str

    def __repr__(self) -> str:
        sign = {None: "○", True: "✓", False: "✗"}[self.right]
        return f"{sign} {self.exercise}: {self.words}"

    def _repr_html_(self) -> str:
        return f"<b>{escape(str(self))}</b>"


def check(fleet: Fleet, exercise: str, answer: Any) -> Verdict:
    """Check an answer to one of `EXERCISES` against the current fleet."""
    if answer is None:
        return Verdict(exercise, None, "no answer yet")
    wrong = EXERCISES[exercise](fleet, answer)
    return Verdict(exercise, not wrong, wrong or "right")


def _growth(fleet: Fleet, answer: Any) -> str:
    """Exercise: how many nodes may each environment's autoscalers still add? {environment: nodes}."""
    pools = fleet.pools().dropna(subset=["environment", "max"])
    growth = (pools["max"] - pools["count"]).groupby(pools.environment, observed=True).sum()
    wanted = {str(name): int(nodes) for name, nodes in growth.items()}
    try:
        given = {str(name): int(nodes) for name, nodes in dict(answer).items()}
    except (TypeError, ValueError):
        return "give one number for each environment, as a dictionary or a Series"
    missing = wanted.keys() ^ given.keys()
    if missing:
        return f"the environments are not right: check {', '.join(sorted(missing))}"
    off = sorted(name for name in wanted if wanted[name] != given[name])
    return f"wrong for {', '.join(off)}: sum `max` minus `count` over the environment's pools" if off else ""


def _suspended(fleet: Fleet, answer: Any) -> str:
    """Exercise: which clusters does a suspended release hold back? The clusters' table of that time; then resume
    the release.
    """
    try:
        held = answer[(answer.status == "stopped") & (answer.reason == "Suspended")]
    except (AttributeError, KeyError, TypeError):
        return "give the clusters' table as it was while the release was suspended: answer = fleet.clusters()"
    if not len(held):
        return "no cluster in this table is held back by a suspended release"
    if set(held.first_broken_layer) != {"release"}:
        return f"suspend the HelmRelease, on the control plane: this is the layer {', '.join(set(held.first_broken_layer))}"
    still = fleet.clusters().query("reason == 'Suspended'")
    return "right so far; now resume it: `suspend: false`" if len(still) else ""


def _images(fleet: Fleet, answer: Any) -> str:
    """Exercise: on how many clusters does each image of the workloads run? {image: clusters}."""
    workloads = fleet.workloads().reset_index().dropna(subset=["images"])
    pairs = {(image, str(row.cluster)) for row in workloads.itertuples() for image in str(row.images).split(", ")}
    wanted: dict[str, int] = {}
    for image, _ in pairs:
        wanted[image] = wanted.get(image, 0) + 1
    try:
        given = {str(name): int(count) for name, count in dict(answer).items()}
    except (TypeError, ValueError):
        return "give one number for each image, as a dictionary or a Series"
    if wanted.keys() != given.keys():
        some = min(wanted.keys() ^ given.keys())
        return f"the images are not right: check {some}; a workload's images are one comma-separated text"
    off = sorted(name for name in wanted if wanted[name] != given[name])
    return f"wrong for {off[0]}: count clusters, not workloads" if off else ""


EXERCISES: dict[str, Callable[[Fleet, Any], str]] = {"growth": _growth, "images": _images, "suspended": _suspended}
"""Exercise -> its check, which returns what is wrong with an answer; "" if it is right."""
