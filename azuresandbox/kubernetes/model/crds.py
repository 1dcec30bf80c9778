"""CustomResourceDefinitions: the resources that they define, their validation, their status.

apiextensions.k8s.io/v1; the only conversion strategy that is emulated is `None`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from azuresandbox import trees
from azuresandbox.kubernetes.model.errors import Cause, Causes, cause
from azuresandbox.kubernetes.model.names import LABEL_1035, LABEL_1035_TEXT, SUBDOMAIN
from azuresandbox.kubernetes.model.resources import BY_PLURAL, Resource
from azuresandbox.kubernetes.model.schema import Schema
from azuresandbox.kubernetes.model.types import Object

GROUP = "apiextensions.k8s.io"
PREFIX = f"/{GROUP}/customresourcedefinitions/"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


@lru_cache(maxsize=1024)
def stored(value: bytes) -> Object:
    """Return a stored definition, parsed once for all clusters that have the same one: do not change it."""
    found: Object = trees.parse(value)
    return found


def served(definitions: Iterable[Object]) -> list[Resource]:
    """Return the resources of the established definitions, one for each served version."""
    return [resource for crd in definitions if established(crd) for resource in resources(crd)]


def established(crd: Object) -> bool:
    return condition(crd, "Established") == "True"


def condition(crd: Object, kind: str) -> str:
    """Return the status of a condition ("True", "False"), or "" if the definition does not have it."""
    conditions = (crd.get("status") or {}).get("conditions") or []
    return next((str(item["status"]) for item in conditions if item["type"] == kind), "")


def storage_version(crd: Object) -> str:
    return next((str(item["name"]) for item in crd["spec"]["versions"] if item.get("storage")), "")


def resources(crd: Object) -> list[Resource]:
    """Return the resources of one definition, one for each served version."""
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
    """Set the default names and conversion strategy, in place."""
    spec = crd["spec"]
    names = spec.setdefault("names", {})
    if names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
    spec.setdefault("conversion", {"strategy": "None"}).setdefault("strategy", "None")
    if spec.get("preserveUnknownFields") is False:
        del spec["preserveUnknownFields"]


# --- validation ------------------------------------------------------------------------------------------------------


def validate(crd: Object, old: Object | None) -> Causes:
    """Return why the definition is not valid, in the order of apiextensions-apiserver's checks; empty if it is valid."""
    causes = [found for rule in _RULES for found in rule(crd)]
    if old is not None:
        causes += [found for rule in _UPDATE_RULES for found in rule(crd, old)]
    return causes


def _invalid(field: str, shown: str, detail: str) -> Cause:
    return cause("FieldValueInvalid", f"Invalid value: {shown}: {detail}", field)


def _versions(crd: Object) -> list[Object]:
    return crd["spec"].get("versions") or []


def _version_names(crd: Object) -> str:
    return str([version.get("name") for version in _versions(crd)])


def _check_name(crd: Object) -> Iterator[Cause]:
    name, spec = crd["metadata"]["name"], crd["spec"]
    if name != f"{(spec.get('names') or {}).get('plural', '')}.{spec.get('group', '')}":
        yield _invalid("metadata.name", f'"{name}"', 'must be spec.names.plural+"."+spec.group')


def _check_group(crd: Object) -> Iterator[Cause]:
    group = crd["spec"].get("group", "")
    if "." not in group or not SUBDOMAIN.fullmatch(group):
        yield _invalid("spec.group", f'"{group}"', "should be a domain with at least one dot")


_NAMES = (("plural", True), ("singular", True), ("kind", False), ("listKind", False))
"""Member of spec.names -> whether it must be lower case."""


def _check_names(crd: Object) -> Iterator[Cause]:
    names = crd["spec"].get("names") or {}
    for member, lower in _NAMES:
        text = names.get(member) or ""
        if not text:
            yield cause("FieldValueRequired", "Required value", f"spec.names.{member}")
        elif not LABEL_1035.fullmatch(text.lower()) or (lower and text != text.lower()):
            yield _invalid(f"spec.names.{member}", f'"{text}"', LABEL_1035_TEXT)


def _check_storage(crd: Object) -> Iterator[Cause]:
    versions = _versions(crd)
    if sum(1 for version in versions if version.get("storage")) != 1:
        yield _invalid("spec.versions", _version_names(crd), "must have exactly one version marked as storage version")
    if not versions:
        yield _invalid("status.storedVersions", "null", "must have at least one stored version")


def _check_choices(crd: Object) -> Iterator[Cause]:
    spec = crd["spec"]
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        text = f'Unsupported value: "{spec.get("scope") or ""}": supported values: "Cluster", "Namespaced"'
        yield cause("FieldValueNotSupported", text, "spec.scope")
    strategy = (spec.get("conversion") or {}).get("strategy")
    if strategy not in (None, "None", "Webhook"):
        text = f'Unsupported value: "{strategy}": supported values: "None", "Webhook"'
        yield cause("FieldValueNotSupported", text, "spec.conversion.strategy")


def _check_versions(crd: Object) -> Iterator[Cause]:
    """Check the names and the schemas of all versions. Schemas that are all alike are checked once."""
    versions, seen = _versions(crd), set[str]()
    alike = all(version.get("schema") == versions[0].get("schema") for version in versions)
    for position, version in enumerate(versions):
        if version.get("name") in seen:
            yield _invalid("spec.versions", _version_names(crd), "must contain unique version names")
        seen.add(version.get("name", ""))
        document = (version.get("schema") or {}).get("openAPIV3Schema")
        own = f"spec.versions[{position}].schema.openAPIV3Schema"
        if not document:
            yield cause("FieldValueRequired", "Required value", own)
        elif position == 0 or not alike:
            yield from _schema_problems(document, "spec.validation.openAPIV3Schema" if alike else own)


def _schema_problems(document: Object, where: str) -> Iterator[Cause]:
    if document.get("type") != "object":
        yield _invalid(f"{where}.type", f'"{document.get("type", "")}"', "must be object at the root")
    for item in Schema(document).problems():
        yield cause(item.reason, item.message, f"{where}.{item.field}")


def _check_unchanged(crd: Object, old: Object) -> Iterator[Cause]:
    for member, now in (("group", crd["spec"].get("group", "")), ("scope", crd["spec"].get("scope"))):
        if now != old["spec"].get(member):
            yield _invalid(f"spec.{member}", f'"{now}"', "field is immutable")


def _check_stored(crd: Object, old: Object) -> Iterator[Cause]:
    """Source: apiextensions-apiserver, ValidateCustomResourceDefinitionStoredVersions."""
    known = {version.get("name", "") for version in _versions(crd)}
    for index, version in enumerate((old.get("status") or {}).get("storedVersions") or []):
        if version not in known:
            yield _invalid(f"status.storedVersions[{index}]", f'"{version}"', STILL_STORED.format(version))


STILL_STORED = (
    "missing from spec.versions; {0} was previously a storage version, and must remain in spec.versions "
    "until a storage migration ensures no data remains persisted in {0} and removes {0} from status.storedVersions"
)

_RULES: tuple[Callable[[Object], Iterator[Cause]], ...] = (
    _check_name,
    _check_group,
    _check_names,
    _check_storage,
    _check_choices,
    _check_versions,
)
_UPDATE_RULES: tuple[Callable[[Object, Object], Iterator[Cause]], ...] = (_check_unchanged, _check_stored)


# --- names and conditions --------------------------------------------------------------------------------------------


def accept(crd: Object, others: Iterable[Object], now: str) -> None:
    """Set the status in place: the accepted names, or why they are not accepted, and whether it is established."""
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
    """Return why the names are taken by another resource, or "" if they are free."""
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
    """Set a condition; its transition time changes with its status only."""
    conditions = status["conditions"] = status.get("conditions") or []
    found = next((item for item in conditions if item["type"] == kind), None)
    if found is None:
        found = {"type": kind}
        conditions.append(found)
    if found.get("status") != value:
        found["lastTransitionTime"] = now
    found.update(status=value, reason=reason, message=message)
