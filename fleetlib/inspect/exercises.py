"""The exercises at the end of notebooks 01 to 08: each checks an answer against the fleet as it is now.

An answer of `None` means not answered yet, so that notebooks run from top to bottom without answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from html import escape
from typing import Any

from fleetlib.clients.azure import identities, managed_clusters, roles
from fleetlib.errors import FinalError
from fleetlib.inspect.fleet import Fleet
from fleetlib.stages.bootstrap_flux import BootstrapFlux
from fleetlib.stages.deploy_workloads import PROD
from fleetlib.stages.prepare_fleet import PrepareFleet
from fleetlib.stages.publish_chart import PublishChart
from fleetlib.stages.rollout import EXTENSION, FLUX_CONFIGURATION, KUSTOMIZATION, MANAGED_CLUSTER, RESOURCE_GROUP


@dataclass(frozen=True, repr=False)
class Verdict:
    """The result of a check. `right` is `None` while there is no answer; `words` give a hint if it is wrong."""

    exercise: str
    right: bool | None
    words: str

    def __repr__(self) -> str:
        sign = {None: "○", True: "✓", False: "✗"}[self.right]
        return f"{sign} {self.exercise}: {self.words}"

    def _repr_html_(self) -> str:
        return f"<b>{escape(str(self))}</b>"


def check(fleet: Fleet, exercise: str, answer: Any) -> Verdict:
    """Compare an answer to one of `EXERCISES` with the fleet as it is now."""
    if answer is None:
        return Verdict(exercise, None, "no answer yet")
    wrong = EXERCISES[exercise](fleet, answer)
    return Verdict(exercise, not wrong, wrong or "right")


def _keys(fleet: Fleet, answer: Any) -> str:
    """Notebook 01: the ids (`kid`) of the keys that the control plane publishes."""
    session, p = fleet.session, fleet.session.parameters
    cluster = managed_clusters.get(session.azure, p.controlplane_group, p.controlplane_cluster) or {"properties": {}}
    document = session.cloud.fetch_json(managed_clusters.issuer(cluster).rstrip("/") + "/.well-known/openid-configuration")
    return _same(answer, {key["kid"] for key in session.cloud.fetch_json(document["jwks_uri"])["keys"]}, "a list of `kid`")


def _scopes(fleet: Fleet, answer: Any) -> str:
    """Notebook 02: the scopes (resource ids) at which ASO's identity holds a role."""
    session, p = fleet.session, fleet.session.parameters
    identity = identities.get(session.azure, p.controlplane_group, p.aso_identity) or {"properties": {}}
    held = roles.held(session.azure, identity["properties"].get("principalId", ""))
    given = [str(scope).lower() for scope in answer] if isinstance(answer, list | tuple | set) else answer
    return _same(given, {item["properties"]["scope"].lower() for item in held}, "a list of resource ids")


def _inventory(fleet: Fleet, answer: Any) -> str:
    """Notebook 03: the objects that the kustomization `controlplane` applied, counted by kind: {kind: objects}."""
    p = fleet.session.parameters
    found = fleet.session.hub.get(*KUSTOMIZATION, BootstrapFlux(fleet.session).kustomization, p.flux_namespace) or {}
    entries = ((found.get("status") or {}).get("inventory") or {}).get("entries") or []
    return _counted(answer, dict(Counter(entry["id"].rpartition("_")[2] for entry in entries)), "kind", "objects")


def _pruned(fleet: Fleet, answer: Any) -> str:
    """Notebook 04: what is deleted after group.yaml is removed from Git: {"object": bool, "group": bool}."""
    p, hub = fleet.session.parameters, fleet.session.hub
    kustomization = hub.get(*KUSTOMIZATION, PrepareFleet(fleet.session).kustomization, p.flux_namespace) or {"spec": {}}
    group = hub.get(*RESOURCE_GROUP, p.fleet_group, p.cluster_namespace) or {"metadata": {}}
    policy = (group["metadata"].get("annotations") or {}).get("serviceoperator.azure.com/reconcile-policy", "manage")
    pruned = bool(kustomization["spec"].get("prune"))
    if not isinstance(answer, dict) or answer.keys() != {"object", "group"}:
        return 'give two answers: {"object": True or False, "group": True or False}'
    if bool(answer["object"]) != pruned:
        return "not for the object: what does `prune` of the kustomization say?"
    return (
        "" if bool(answer["group"]) == (pruned and policy == "manage") else "not for the group: what does its annotation say?"
    )


def _refused(fleet: Fleet, answer: Any) -> str:
    """Notebook 05: values for the cluster chart that its schema refuses."""
    if not isinstance(answer, dict):
        return 'give values as a dictionary, such as {"clusterCount": 2}'
    try:
        objects = PublishChart(fleet.session).chart.render("exercise", fleet.session.parameters.cluster_namespace, answer)
    except FinalError as error:
        return "" if "- at '" in error.said else f"refused, but not by the schema: {error.said}"
    return f"the schema accepts these: {len(objects)} objects are rendered"


def _objects(fleet: Fleet, answer: Any) -> str:
    """Notebook 06: the control plane's objects that stand for podinfo-prod-0-aks: {kind: name}."""
    p, hub = fleet.session.parameters, fleet.session.hub
    label = f"fleet/cluster={PROD}-0-aks"
    found = [
        (kind[1], hub.list(*kind, p.cluster_namespace, label)) for kind in (MANAGED_CLUSTER, EXTENSION, FLUX_CONFIGURATION)
    ]
    wanted = {kind: items[0]["metadata"]["name"] for kind, items in found if items}
    if not isinstance(answer, dict):
        return "give the name of one object a kind, as a dictionary"
    off = sorted(wanted.keys() ^ answer.keys()) or sorted(kind for kind in wanted if wanted[kind] != answer[kind])
    return f"look at {off[0]}: the label is {label}" if off else ""


def _revert(fleet: Fleet, answer: Any) -> str:
    """Notebook 07: the commit that gave production its present size (SHA, or at least seven characters of it)."""
    repository = fleet.session.repository
    repository.sync()
    found = [sha for sha, subject in repository.log(100) if subject.startswith(f"{PROD}: ") and "->" in subject]
    if not isinstance(answer, str) or len(answer) < 7:
        return "give the commit's SHA as a text"
    if not found:
        return "no commit has changed the size of production yet"
    return "" if found[0].startswith(answer) else "this is another commit: look at the subjects of session.repository.log()"


def _same(answer: Any, wanted: Collection[str], form: str) -> str:
    if isinstance(answer, str) or not isinstance(answer, Collection):
        return f"give {form}"
    missing, extra = set(wanted) - set(answer), set(answer) - set(wanted)
    if extra:
        return f"not {min(extra, key=str)}"
    return f"{len(missing)} more" if missing else ""


def _counted(answer: Any, wanted: dict[str, int], key: str, unit: str) -> str:
    try:
        given = {str(name): int(count) for name, count in dict(answer).items()}
    except (TypeError, ValueError):
        return f"give {unit} by {key}, as a dictionary or a Series"
    off = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
    return f"not the number for {off[0]}" if off else ""


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
    """The clusters' table while a release was suspended by hand; the release must be resumed again."""
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


EXERCISES: dict[str, Callable[[Fleet, Any], str]] = {
    "keys": _keys,
    "scopes": _scopes,
    "inventory": _inventory,
    "pruned": _pruned,
    "refused": _refused,
    "objects": _objects,
    "revert": _revert,
    "growth": _growth,
    "images": _images,
    "suspended": _suspended,
}
"""Exercise -> its check, which returns a hint if the answer is wrong and "" if it is right."""
