"""The exercises at the end of notebook 08: what to find, and whether an answer is right. An answer of None is none yet.

May import `fleet`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from fleetlib.inspect.fleet import Fleet


@dataclass(frozen=True, repr=False)
class Verdict:
    """What a check says of an answer."""

    exercise: str
    right: bool | None
    words: str

    def __repr__(self) -> str:
        sign = {None: "○", True: "✓", False: "✗"}[self.right]
        return f"{sign} {self.exercise}: {self.words}"

    def _repr_html_(self) -> str:
        return f"<b>{escape(str(self))}</b>"


def check(fleet: Fleet, exercise: str, answer: Any) -> Verdict:
    """Whether `answer` is right for one of `EXERCISES`, held against the fleet as it is now."""
    if answer is None:
        return Verdict(exercise, None, "no answer yet")
    wrong = EXERCISES[exercise](fleet, answer)
    return Verdict(exercise, not wrong, wrong or "right")


def _growth(fleet: Fleet, answer: Any) -> str:
    """Nodes that each environment's autoscalers may still add: {environment: nodes}."""
    pools = fleet.pools().dropna(subset=["environment", "max"])
    growth = (pools["max"] - pools["count"]).groupby(pools.environment, observed=True).sum()
    wanted = {str(name): int(nodes) for name, nodes in growth.items()}
    try:
        given = {str(name): int(nodes) for name, nodes in dict(answer).items()}
    except (TypeError, ValueError):
        return "give one number an environment, as a dictionary or a Series"
    missing = wanted.keys() ^ given.keys()
    if missing:
        return f"which environments? look at {', '.join(sorted(missing))}"
    off = sorted(name for name in wanted if wanted[name] != given[name])
    return f"not the number for {', '.join(off)}: `max` less `count`, over the pools of the environment" if off else ""


def _suspended(fleet: Fleet, answer: Any) -> str:
    """The clusters that a release suspended by hand holds back: the clusters' table of that moment; and the release goes on again."""
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
    """On how many clusters each container image of the workloads runs: {image: clusters}."""
    workloads = fleet.workloads().reset_index().dropna(subset=["images"])
    pairs = {(image, str(row.cluster)) for row in workloads.itertuples() for image in str(row.images).split(", ")}
    wanted: dict[str, int] = {}
    for image, _ in pairs:
        wanted[image] = wanted.get(image, 0) + 1
    try:
        given = {str(name): int(count) for name, count in dict(answer).items()}
    except (TypeError, ValueError):
        return "give one number an image, as a dictionary or a Series"
    if wanted.keys() != given.keys():
        some = min(wanted.keys() ^ given.keys())
        return f"which images? look at {some}: a workload with several has them in one text, comma-separated"
    off = sorted(name for name in wanted if wanted[name] != given[name])
    return f"not the number for {off[0]}: count clusters, not workloads" if off else ""


EXERCISES: dict[str, Callable[[Fleet, Any], str]] = {"growth": _growth, "images": _images, "suspended": _suspended}
"""Exercise -> the check: what is wrong with an answer, or nothing."""
