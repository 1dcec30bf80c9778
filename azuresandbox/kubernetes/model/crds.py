"""CustomResourceDefinitions: what they make the API server serve, and what makes one valid.

apiextensions.k8s.io/v1; conversion `None` only. Pure: no store, no HTTP. May import resources, schema, errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from azuresandbox import trees
from azuresandbox.kubernetes.model.errors import Causes, cause
from azuresandbox.kubernetes.model.resources import BY_PLURAL, Resource
from azuresandbox.kubernetes.model.schema import Schema
from azuresandbox.kubernetes.model.types import Object

GROUP = "apiextensions.k8s.io"
PREFIX = f"/{GROUP}/customresourcedefinitions/"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
    "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@lru_cache(maxsize=1024)
def stored(value: bytes) -> Object:
    """A definition as it is kept, parsed once however many clusters have this very one: it must not be changed."""
    found: Object = trees.parse(value)
    return found


def served(definitions: Iterable[Object]) -> list[Resource]:
    """The resources of the established definitions, one a served version."""
    return [resource for crd in definitions if established(crd) for resource in resources(crd)]


def established(crd: Object) -> bool:
    return condition(crd, "Established") == "True"


def condition(crd: Object, kind: str) -> str:
    conditions = (crd.get("status") or {}).get("conditions") or []
    return next((str(item["status"]) for item in conditions if item["type"] == kind), "")


def storage_version(crd: Object) -> str:
    return next((str(item["name"]) for item in crd["spec"]["versions"] if item.get("storage")), "")


def resources(crd: Object) -> list[Resource]:
    spec = crd["spec"]
    names = spec["names"]
    found = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or {}
        found.append(
            Resource(
                spec["group"],
                version["name"],
                names["plural"],
                names["kind"],
                spec["scope"] == "Namespaced",
                tuple(names.get("shortNames") or ()),
                tuple(names.get("categories") or ()),
                tuple(name for name in ("scale", "status") if name in subresources),
                generation=True,
                singular=names.get("singular") or names["kind"].lower(),
                storage_version=storage_version(crd),
                list_kind=names.get("listKind") or names["kind"] + "List",
                custom=version,
            )
        )
    return found


def schema(resource: Resource) -> Schema:
    assert resource.custom is not None
    return Schema((resource.custom.get("schema") or {}).get("openAPIV3Schema") or {"type": "object"})


def default(crd: Object) -> None:
    """Fill in the names and the conversion strategy, in place."""
    spec = crd["spec"]
    names = spec.setdefault("names", {})
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
    spec.setdefault("conversion", {"strategy": "None"}).setdefault("strategy", "None")
    spec.pop("preserveUnknownFields", None) if spec.get("preserveUnknownFields") is False else None


def validate(crd: Object, old: Object | None) -> Causes:
    """Why the definition is not valid."""
    spec = crd["spec"]
    group, names, versions = spec.get("group", ""), spec.get("names") or {}, spec.get("versions") or []
    causes: Causes = []
    wanted = f"{names.get('plural', '')}.{group}"
    if crd["metadata"]["name"] != wanted:
        text = 'Invalid value: "{}": must be spec.names.plural+"."+spec.group'.format(crd["metadata"]["name"])
        causes.append(cause("FieldValueInvalid", text, "metadata.name"))
    if "." not in group or not _SUBDOMAIN.fullmatch(group):
        causes.append(
            cause("FieldValueInvalid", f'Invalid value: "{group}": should be a domain with at least one dot', "spec.group")
        )
    for member in ("plural", "singular", "kind", "listKind"):
        text = names.get(member) or ""
        if not text:
            causes.append(cause("FieldValueRequired", "Required value", f"spec.names.{member}"))
        elif not _LABEL.fullmatch(text.lower()) or (member not in ("kind", "listKind") and text != text.lower()):
            causes.append(
                cause(
                    "FieldValueInvalid",
                    f'Invalid value: "{text}": {_LABEL_TEXT}',
                    f"spec.names.{member}",
                )
            )
    if sum(1 for version in versions if version.get("storage")) != 1:
        causes.append(
            cause(
                "FieldValueInvalid",
                "Invalid value: " + _names(versions) + ": must have exactly one version marked as storage version",
                "spec.versions",
            )
        )
    if not versions:
        text = "Invalid value: null: must have at least one stored version"
        causes.append(cause("FieldValueInvalid", text, "status.storedVersions"))
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        text = f'Unsupported value: "{spec.get("scope") or ""}": supported values: "Cluster", "Namespaced"'
        causes.append(cause("FieldValueNotSupported", text, "spec.scope"))
    strategy = (spec.get("conversion") or {}).get("strategy")
    if strategy not in (None, "None", "Webhook"):
        text = f'Unsupported value: "{strategy}": supported values: "None", "Webhook"'
        causes.append(cause("FieldValueNotSupported", text, "spec.conversion.strategy"))
    seen: set[str] = set()
    alike = all(version.get("schema") == versions[0].get("schema") for version in versions)
    for position, version in enumerate(versions):
        path = f"spec.versions[{position}]"
        if version.get("name") in seen:
            causes.append(
                cause(
                    "FieldValueInvalid",
                    "Invalid value: " + _names(versions) + ": must contain unique version names",
                    "spec.versions",
                )
            )
        seen.add(version.get("name", ""))
        document = (version.get("schema") or {}).get("openAPIV3Schema")
        if not document:
            causes.append(cause("FieldValueRequired", "Required value", f"{path}.schema.openAPIV3Schema"))
        elif position == 0 or not alike:
            where = "spec.validation.openAPIV3Schema" if alike else f"{path}.schema.openAPIV3Schema"
            if document.get("type") != "object":
                causes.append(
                    cause(
                        "FieldValueInvalid",
                        f'Invalid value: "{document.get("type", "")}": must be object at the root',
                        f"{where}.type",
                    )
                )
            causes += [cause(item.reason, item.message, f"{where}.{item.field}") for item in Schema(document).problems()]
    if old is not None:
        for member, now, before in (
            ("group", group, old["spec"].get("group")),
            ("scope", spec.get("scope"), old["spec"].get("scope")),
        ):
            if now != before:
                causes.append(cause("FieldValueInvalid", f'Invalid value: "{now}": field is immutable', f"spec.{member}"))
        for index, stored in enumerate((old.get("status") or {}).get("storedVersions") or []):
            if stored not in seen:
                causes.append(cause("FieldValueInvalid", STILL_STORED.format(stored), f"status.storedVersions[{index}]"))
    return causes


STILL_STORED = (
    'Invalid value: "{0}": missing from spec.versions; {0} was previously a storage version, and must remain in spec.versions '
    "until a storage migration ensures no data remains persisted in {0} and removes {0} from status.storedVersions"
)
"""Source: apiextensions-apiserver, ValidateCustomResourceDefinitionStoredVersions."""


def _names(versions: list[dict[str, Any]]) -> str:
    return str([version.get("name") for version in versions])


def accept(crd: Object, others: Iterable[Object], now: str) -> None:
    """Set the status in place: the names accepted, or why not; established once they are."""
    spec = crd["spec"]
    status = crd.setdefault("status", {})
    taken = _taken(crd, others)
    if taken:
        _set(status, "NamesAccepted", "False", "PluralConflict", taken, now)
        _set(status, "Established", "False", "NotAccepted", "not all names are accepted", now)
        status.setdefault("acceptedNames", {"plural": "", "kind": ""})
    else:
        status["acceptedNames"] = dict(spec["names"])
        _set(status, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
        _set(status, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now)
    stored = status["storedVersions"] = status.get("storedVersions") or []
    if storage_version(crd) not in stored:
        stored.append(storage_version(crd))


def _taken(crd: Object, others: Iterable[Object]) -> str:
    spec = crd["spec"]
    if (spec["group"], spec["names"]["plural"]) in BY_PLURAL:
        return f'"{spec["names"]["plural"]}" is already in use'
    for other in others:
        if other["metadata"]["name"] == crd["metadata"]["name"] or other["spec"]["group"] != spec["group"]:
            continue
        if other["spec"]["names"]["kind"] == spec["names"]["kind"]:
            return f'"{spec["names"]["kind"]}" is already in use'
    return ""


def _set(status: dict[str, Any], kind: str, value: str, reason: str, message: str, now: str) -> None:
    conditions = status["conditions"] = status.get("conditions") or []
    found = next((item for item in conditions if item["type"] == kind), None)
    if found is None:
        found = {"type": kind}
        conditions.append(found)
    if found.get("status") != value:
        found["lastTransitionTime"] = now
    found.update(status=value, reason=reason, message=message)
