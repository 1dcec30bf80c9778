"""A flux configuration's document: defaults, rules, and the agent's report. Pure functions.

Source: the reference of Microsoft.KubernetesConfiguration/fluxConfigurations.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from azuresandbox.arm import models
from azuresandbox.arm.errors import ArmError, not_emulated
from azuresandbox.arm.kubernetesconfiguration import data, errors

Document = dict[str, Any]

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
KUSTOMIZATION_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
GIT_URL = re.compile(r"(https?|ssh)://.+|[^@\s]+@[^:\s]+:.+", re.IGNORECASE)
MAX_NAME = 63
MAX_NAMESPACE = 253


def filled(wanted: Document, name: str) -> Document:
    """Return the properties of a new or replaced configuration: the given ones over the defaults, checked."""
    properties = {**copy.deepcopy(data.CONFIGURATION), **_given(wanted)}
    _check_names(name, properties)
    _fill_source(properties)
    _fill_kustomizations(properties, name)
    return properties


def patched(current: Document, patch: Document, name: str) -> Document:
    """Return a configuration after a PATCH: maps are merged key by key, null removes a key."""
    result = merged(current, patch)
    for kind, key in data.SOURCES.items():
        if kind != result.get("sourceKind"):
            result.pop(key, None)
    return filled(result, name)


def merged(base: Document, patch: Document) -> Document:
    """Return `patch` merged into `base`, key by key; null removes a key."""
    result = copy.deepcopy(base)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _given(document: Document) -> Document:
    """Return the properties without nulls, which mean not given, and without those that only the service sets."""
    ignored = {*data.LIVE, "provisioningState"}
    return {key: models.without_nulls(value) for key, value in document.items() if value is not None and key not in ignored}


def _check_names(name: str, properties: Document) -> None:
    if not NAME.match(name) or len(name) > MAX_NAME:
        raise errors.validation(
            f"Invalid configuration name '{name}'. It must be at most {MAX_NAME} characters and consist of lower case "
            "alphanumeric "
            "characters, '-' or '.', and must start and end with an alphanumeric character."
        )
    namespace = properties["namespace"]
    if not NAME.match(namespace) or len(namespace) > MAX_NAMESPACE:
        raise errors.validation(
            f"Invalid namespace '{namespace}'. Maximum of {MAX_NAMESPACE} lower case alphanumeric characters, hyphen and "
            "period only."
        )
    if properties["scope"] not in ("cluster", "namespace"):
        raise errors.validation(f"Invalid scope '{properties['scope']}'. The scope must be 'cluster' or 'namespace'.")


def _fill_source(properties: Document) -> None:
    kind = properties.get("sourceKind")
    if kind not in data.SOURCES or not properties.get(data.SOURCES[kind]):
        raise errors.source_kind_mismatch(str(kind))
    if kind not in data.SUPPORTED_SOURCES:
        raise not_emulated(f"flux configurations whose source is a {kind} (it emulates {' and '.join(data.SUPPORTED_SOURCES)})")
    key = data.SOURCES[kind]
    source = {**copy.deepcopy(data.SOURCE[key]), **properties[key]}
    _check_source(kind, source)
    if kind == "GitRepository":
        reference = dict.fromkeys(("branch", "tag", "semver", "commit"))
        source["repositoryRef"] = {**reference, **source["repositoryRef"]}
    properties[key] = source


def _check_source(kind: str, source: Document) -> None:
    url = source.get("url") or ""
    if kind == "GitRepository" and not GIT_URL.match(url):
        raise errors.validation(
            f"Invalid url '{url}'. The url of a GitRepository must start with http://, https://, ssh:// or git@."
        )
    if kind == "OCIRepository" and not url.startswith("oci://"):
        raise errors.validation(f"Invalid url '{url}'. The url of an OCIRepository must start with oci://.")
    if not any(source["repositoryRef"].values()):
        raise errors.validation(f"Invalid repositoryRef. A {kind} needs one of its repositoryRef's properties.")
    for interval in ("timeoutInSeconds", "syncIntervalInSeconds"):
        _check_interval(interval, source[interval])


def _check_interval(name: str, seconds: Any) -> None:
    if not isinstance(seconds, int) or seconds < 1:
        raise errors.validation(f"Invalid {name} '{seconds}'. It must be a positive number of seconds.")


def _fill_kustomizations(properties: Document, name: str) -> None:
    given = properties.get("kustomizations")
    if not given:
        raise errors.validation("Invalid kustomizations. At least one kustomization must be specified.")
    filled_in = {}
    for key, value in given.items():
        if not KUSTOMIZATION_NAME.match(key) or len(f"{name}-{key}") > MAX_NAME:
            raise errors.validation(
                f"Invalid kustomization name '{key}'. '{name}-{key}' must be at most {MAX_NAME} characters of lower case "
                "alphanumeric characters or '-'."
            )
        filled_in[key] = {**copy.deepcopy(data.KUSTOMIZATION), **value, "name": key}
        for interval in ("timeoutInSeconds", "syncIntervalInSeconds", "retryIntervalInSeconds"):
            if filled_in[key].get(interval) is not None:
                _check_interval(interval, filled_in[key][interval])
    _check_dependencies(filled_in)
    properties["kustomizations"] = filled_in


def _check_dependencies(kustomizations: Document) -> None:
    """Raise if a dependency is not a kustomization of the same configuration, or if dependencies form a cycle."""
    for key, value in kustomizations.items():
        for other in value["dependsOn"]:
            if other not in kustomizations:
                raise errors.validation(
                    f"Invalid dependsOn. The kustomization '{key}' depends on '{other}', which does not exist."
                )
    done: set[str] = set()
    for key in kustomizations:
        _visit(kustomizations, key, (), done)


def _visit(kustomizations: Document, key: str, path: tuple[str, ...], done: set[str]) -> None:
    if key in path:
        raise errors.validation(f"Invalid dependsOn. Circular dependency: {' -> '.join((*path[path.index(key) :], key))}.")
    if key not in done:
        for other in kustomizations[key]["dependsOn"]:
            _visit(kustomizations, other, (*path, key), done)
        done.add(key)


def unchangeable(wanted: Document, current: Document) -> ArmError | None:
    """Return the error for a PUT that changes the scope or the namespace; `None` if it keeps them."""
    for key in ("scope", "namespace"):
        if wanted[key] != current[key]:
            return errors.validation(
                f"Invalid {key} '{wanted[key]}'. The {key} of a configuration cannot be changed from '{current[key]}'."
            )
    return None


def live(properties: Document, details: Document) -> Document:
    """Return the properties with the agent's report over them."""
    result = {**properties, **{key: details[key] for key in data.LIVE if details.get(key) is not None}}
    result.setdefault("complianceState", "Suspended" if properties.get("suspend") else "Pending")
    return result


def without_secrets(properties: Document) -> Document:
    """Return the properties as they are stored and shown: protected settings keep their names only."""
    shown = copy.deepcopy(properties)
    shown["configurationProtectedSettings"] = dict.fromkeys(properties.get("configurationProtectedSettings") or {}, "")
    return shown
