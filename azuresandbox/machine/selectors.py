"""Label selectors, node affinity and taints, as the built-in controllers evaluate them."""

from __future__ import annotations

from collections.abc import Mapping

from azuresandbox.machine.types import Object


def matches(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Return whether a LabelSelector matches labels. `None` matches no object, an empty selector every object."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_requirement(item, labels) for item in selector.get("matchExpressions") or ())


def _requirement(item: Object, labels: Mapping[str, str]) -> bool:
    found, values = labels.get(item["key"]), list(item.get("values") or ())
    match item["operator"]:
        case "In":
            return found in values
        case "NotIn":
            return found not in values
        case "Exists":
            return found is not None
        case "DoesNotExist":
            return found is None
        case "Gt":
            return found is not None and int(found) > int(values[0])
        case "Lt":
            return found is not None and int(found) < int(values[0])
        case other:
            raise ValueError(f"selector operator {other!r} is not known")


def node_matches(spec: Object, node: Object) -> bool:
    """Return whether a Pod's nodeSelector and required node affinity match a node."""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        all(_requirement(item, labels) for item in term.get("matchExpressions") or ())
        and all(_requirement(item, fields) for item in term.get("matchFields") or ())
        for term in required.get("nodeSelectorTerms") or ()
    )


def tolerates(spec: Object, taint: Object) -> bool:
    """Return whether a Pod tolerates a taint. `spec`: the Pod's."""
    return any(_tolerates(item, taint) for item in spec.get("tolerations") or ())


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def untolerated(spec: Object, node: Object) -> Object | None:
    """Return the first taint that keeps a Pod off a node, or `None`."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return next((t for t in taints if t["effect"] in ("NoSchedule", "NoExecute") and not tolerates(spec, t)), None)
