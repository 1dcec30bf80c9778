"""Following a change through the layers: Git -> source -> kustomization -> release -> ASO object -> ARM -> Flux in the cluster.

Every wait is a watch. It ends early with an explanation when an error lasts that waiting does not fix.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from fleetlib.clients.kube import Kube, Object, condition, current, ready
from fleetlib.clients.session import Session
from fleetlib.errors import TimeoutExpired
from fleetlib.progress import waiting
from fleetlib.stages.conditions import Row, observed
from fleetlib.stages.patience import Patience

GIT_REPOSITORY = ("source.toolkit.fluxcd.io/v1", "GitRepository")
OCI_REPOSITORY = ("source.toolkit.fluxcd.io/v1", "OCIRepository")
KUSTOMIZATION = ("kustomize.toolkit.fluxcd.io/v1", "Kustomization")
HELM_RELEASE = ("helm.toolkit.fluxcd.io/v2", "HelmRelease")
DEPLOYMENT = ("apps/v1", "Deployment")
RESOURCE_GROUP = ("resources.azure.com/v1api20200601", "ResourceGroup")
MANAGED_CLUSTER = ("containerservice.azure.com/v1api20240901", "ManagedCluster")
EXTENSION = ("kubernetesconfiguration.azure.com/v1api20230501", "Extension")
FLUX_CONFIGURATION = ("kubernetesconfiguration.azure.com/v1api20230501", "FluxConfiguration")

Kind = tuple[str, str]
Accept = Callable[[Object], bool]


def reconcile_now(kube: Kube, kind: Kind, name: str, namespace: str) -> None:
    """Ask a Flux controller to look now instead of at its next interval, as `flux reconcile` does."""
    stamp = datetime.now(UTC).isoformat()
    kube.merge(*kind, name, namespace, {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": stamp}}})


def await_ready(
    session: Session, kube: Kube, kind: Kind, namespace: str, names: Collection[str], title: str, accept: Accept = ready
) -> dict[str, Object]:
    """Wait until all named objects are accepted (Ready, by default); the objects by name.

    Raises `VerificationError` when an error that waiting does not fix has stood for the session's patience, and
    `TimeoutExpired` with the last states seen.
    """
    wanted, patience = set(names), Patience(session.patience)
    with waiting(title, session.timeout) as wait:
        wait.heartbeat = patience.heartbeat
        for objects in kube.changes(*kind, wait, namespace):
            found = {name: obj for (_, name), obj in objects.items() if name in wanted}
            done = {name for name, obj in found.items() if accept(obj)}
            wait.update(len(done), len(wanted), _states(wanted - done, found))
            if done == wanted:
                return found
            _lose_patience(patience, kind, found, done)
    raise AssertionError("a watch ends only by return or by exception")


def read_settled(session: Session, kind: Kind, name: str, namespace: str) -> Object | None:
    """The object, or `None`; waits up to a minute for a condition that says something lasting."""
    found = session.hub.get(*kind, name, namespace)
    if found is None or _decided(found):
        return found
    with waiting(f"{kind[1]} {name}", min(60.0, session.timeout)) as wait:
        try:
            for objects in session.hub.changes(*kind, wait, namespace):
                found = objects.get((namespace, name))
                if found is None or _decided(found):
                    break
        except TimeoutExpired:
            pass  # the promise reports the condition as it is
    return found


def _decided(obj: Object) -> bool:
    """Whether Ready says something lasting: a dependency that is not ready, or a source that is tried again, does not last."""
    status, reason, message = condition(obj)
    passing = reason == "DependencyNotReady" or "retrying in" in message
    return current(obj) and (status == "True" or (status == "False" and not passing))


def await_gone(session: Session, kube: Kube, kind: Kind, namespace: str, names: Collection[str], title: str) -> None:
    """Wait until none of the named objects is left."""
    wanted, patience = set(names), Patience(session.patience)
    with waiting(title, session.timeout) as wait:
        wait.heartbeat = patience.heartbeat
        for objects in kube.changes(*kind, wait, namespace):
            left = {name: obj for (_, name), obj in objects.items() if name in wanted}
            wait.update(len(wanted) - len(left), len(wanted), _states(set(left), left))
            if not left:
                return
            _lose_patience(patience, kind, left)


def _states(names: Collection[str], found: dict[str, Object]) -> str:
    texts = []
    for name in sorted(names):
        status, reason, message = condition(found.get(name))
        texts.append(f"{name}: {reason or status or 'not there yet'} {message}".strip())
    return "; ".join(texts)


def _lose_patience(patience: Patience, kind: Kind, objects: dict[str, Object], done: Collection[str] = ()) -> None:
    """Raises `VerificationError` for an object that has failed for too long for a reason that waiting does not fix."""
    for name, obj in objects.items():
        target = f"{kind[1]}/{name}"
        if name in done:
            patience.fine(target)
        else:
            status, reason, message = condition(obj)
            patience.judge(target, status, f"{reason}: {message}")


def applied(revision: str) -> Accept:
    """A test for `await_ready`: a Flux object is Ready at a revision that contains this commit, tag or digest."""

    def accept(obj: Object) -> bool:
        status = obj.get("status") or {}
        where = status.get("lastAppliedRevision") or (status.get("artifact") or {}).get("revision") or ""
        return ready(obj) and revision in where

    return accept


def follow_commit(session: Session, commit: str, kustomizations: Collection[str]) -> tuple[Row, ...]:
    """Make the control plane fetch and apply a commit now; the conditions of its source and kustomizations."""
    p, hub = session.parameters, session.hub
    reconcile_now(hub, GIT_REPOSITORY, p.flux_configuration, p.flux_namespace)
    sources = await_ready(
        session, hub, GIT_REPOSITORY, p.flux_namespace, [p.flux_configuration], "source has the commit", applied(commit)
    )
    names = [f"{p.flux_configuration}-{name}" for name in kustomizations]
    found = await_ready(session, hub, KUSTOMIZATION, p.flux_namespace, names, "kustomizations applied it", applied(commit))
    return (*observed("source", GIT_REPOSITORY, sources), *observed("kustomization", KUSTOMIZATION, found))


def await_clusters(session: Session, names: Collection[str]) -> tuple[Row, ...]:
    """Wait through the layers until these workload clusters (named as in ARM) are compliant; the conditions seen."""
    hub, namespace = session.hub, session.parameters.cluster_namespace
    found = await_ready(session, hub, MANAGED_CLUSTER, namespace, names, "clusters provisioned")
    rows = list(observed("aso", MANAGED_CLUSTER, found))
    for layer, kind, title in (
        ("extension", EXTENSION, "Flux installed in the clusters"),
        ("flux", FLUX_CONFIGURATION, "clusters configured"),
    ):
        owned = {obj["metadata"]["name"] for obj in hub.list(*kind, namespace) if _owner(obj) in set(names)}
        rows += observed(layer, kind, await_ready(session, hub, kind, namespace, owned, title))
    await_compliance(session, names)
    return (*rows, *(("flux", f"fluxConfiguration {name}", "Compliant") for name in sorted(names)))


def await_compliance(session: Session, names: Collection[str]) -> None:
    """Wait until ARM calls every Flux configuration of these clusters Compliant. Polls: ARM offers no watch."""
    from fleetlib.clients.azure.providers import pause

    left, delay, patience = set(names), 0.1, Patience(session.patience)
    with waiting("clusters compliant", session.timeout) as wait:
        while True:
            states = {name: compliance(session, name) for name in sorted(left)}
            left = {name for name, (state, _) in states.items() if state != "Compliant"}
            text = "; ".join(f"{name}: {states[name][0]} {states[name][1]}" for name in sorted(left))
            wait.update(len(names) - len(left), len(names), text)
            if not left:
                return
            _lose_patience_with_compliance(patience, states)
            pause(min(delay, wait.remaining()))
            delay = min(delay * 1.5, 15, patience.heartbeat)


_COMPLIANCE = {"Compliant": "True", "Non-Compliant": "False"}
"""ARM's compliance state -> status of a condition. Pending, Suspended and Unknown are not decided yet."""


def _lose_patience_with_compliance(patience: Patience, states: dict[str, tuple[str, str]]) -> None:
    for name, (state, message) in states.items():
        patience.judge(f"fluxConfiguration {name}", _COMPLIANCE.get(state, ""), message)


def compliance(session: Session, cluster: str) -> tuple[str, str]:
    """(complianceState, message) of a workload cluster's Flux configurations; of the worst one, if there are several."""
    from fleetlib.clients.azure import flux

    found = flux.list_of(session.azure, session.parameters.fleet_group, cluster)
    if not found:
        return "Missing", "the cluster has no Flux configuration"
    states = [_state(item["properties"]) for item in found]
    return next((state for state in states if state[0] != "Compliant"), states[0])


def _state(properties: dict[str, Any]) -> tuple[str, str]:
    messages = [properties.get("errorMessage") or ""]
    for status in properties.get("statuses") or []:
        if status.get("complianceState") == "Non-Compliant":
            messages += [c.get("message", "") for c in status.get("statusConditions") or [] if c.get("status") == "False"]
    return properties.get("complianceState") or "Pending", "; ".join(m for m in messages if m)


def _owner(obj: Object) -> str:
    """The ARM name of the managed cluster that owns an extension or a configuration. Objects are named like their resources."""
    return str((obj["spec"].get("owner") or {}).get("name", ""))
