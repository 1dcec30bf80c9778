"""The environments of the fleet as Git declares them: one HelmRelease of the cluster chart each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from fleetlib.clients.gitops import Repository, set_value
from fleetlib.errors import FinalError
from fleetlib.parameters import MAX_CLUSTERS

FOLDER = "flux/clusters"
SOURCE = "aso-cluster-charts"
"""The OCIRepository that the releases refer to."""


@dataclass(frozen=True)
class Environment:
    """A release of the cluster chart.

    `document` is its number in the file; `values` are those in Git, without the chart's defaults.
    """

    name: str
    release: str
    file: str
    document: int
    values: dict[str, Any]

    @property
    def count(self) -> int:
        """The declared number of clusters."""
        return int(self.values.get("clusterCount", 0))

    def clusters(self, count: int | None = None) -> list[str]:
        """Return the names that the chart gives to its clusters; those of the first `count`, if it is given."""
        return [cluster_name(self.release, number) for number in range(self.count if count is None else count)]


def cluster_name(release: str, number: int) -> str:
    """Return the name that the chart gives to the release's cluster with this number."""
    return f"{release}-{number}-aks"


def read(repository: Repository) -> dict[str, Environment]:
    """Return the environments in the working copy by the release's name, such as `podinfo-prod`. Call `repository.sync()`
    first.

    Raises `FinalError` if a file is not valid YAML.
    """
    found: dict[str, Environment] = {}
    for path in sorted((repository.folder / FOLDER).glob("*.yaml")):
        name = f"{FOLDER}/{path.name}"
        for number, document in enumerate(_documents(name, path.read_text())):
            if _is_environment(document):
                environment = _environment(document, name, number)
                found[environment.release] = environment
    return found


CHART = "charts/podinfocluster/Chart.yaml"


def chart_version(repository: Repository) -> str:
    """Return the version of the cluster chart in the working copy; "" if the chart cannot be read."""
    try:
        documents = _documents(CHART, repository.read(CHART) or "")
    except FinalError:
        return ""
    return str(documents[0].get("version") or "") if documents and isinstance(documents[0], dict) else ""


def _documents(name: str, text: str) -> list[Any]:
    try:
        return list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise FinalError("a file of the fleet is not valid YAML", target=name, said=" ".join(str(error).split())) from None


def _is_environment(document: Any) -> bool:
    return bool(
        isinstance(document, dict)
        and document.get("kind") == "HelmRelease"
        and (document["spec"].get("chartRef") or {}).get("name") == SOURCE
    )


def _environment(document: dict[str, Any], file: str, number: int) -> Environment:
    name, spec = document["metadata"]["name"], document["spec"]
    return Environment(name, spec.get("releaseName", name), file, number, spec.get("values") or {})


def edit(repository: Repository, environment: Environment, values: dict[str, Any]) -> dict[str, str | None]:
    """Return the environment's file, path -> text, with these values set (`clusterCount`, or dotted: `flux.repository`).

    Comments and order are kept. Raises `FinalError` for a count beyond the chart's limit.
    """
    count = values.get("clusterCount", 0)
    if not 0 <= count <= MAX_CLUSTERS:
        raise FinalError(f"clusterCount must be between 0 and {MAX_CLUSTERS}", target=environment.release, said=str(count))
    text = repository.read(environment.file) or ""
    for key, value in values.items():
        if lookup(environment.values, key) != value:
            text = set_value(text, (environment.document, "spec", "values", *key.split(".")), value)
    return {environment.file: text}


def lookup(values: dict[str, Any], dotted: str) -> Any:
    """A value by its dotted key, such as `flux.repository`; `None` if it is not set."""
    found: Any = values
    for key in dotted.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def add(repository: Repository, template: Environment, name: str, values: dict[str, Any]) -> dict[str, str | None]:
    """Return the files of a new environment, path -> text: a copy of the release `template` with its own name and values."""
    release = f"podinfo-{name}"
    object_name = f"podinfo{name.replace('-', '')}"
    text = repository.read(template.file) or ""
    text = text.replace(template.release, release).replace(template.name, object_name)
    copy = Environment(object_name, release, f"{FOLDER}/{object_name}.yaml", template.document, template.values)
    for key, value in values.items():
        text = set_value(text, (copy.document, "spec", "values", *key.split(".")), value)
    return {copy.file: text, **_listed(repository, f"{object_name}.yaml")}


def _listed(repository: Repository, file: str) -> dict[str, str | None]:
    """Return flux/clusters/kustomization.yaml with the new file at the end of `resources`; empty if it is listed already
    or flux/clusters has no kustomization.yaml.
    """
    path = f"{FOLDER}/kustomization.yaml"
    text = repository.read(path)
    if text is None or file in (yaml.safe_load(text).get("resources") or []):
        return {}
    lines = text.rstrip("\n").split("\n")
    last = max(number for number, line in enumerate(lines) if line.lstrip().startswith("- "))
    indent = lines[last][: len(lines[last]) - len(lines[last].lstrip())]
    return {path: "\n".join([*lines[: last + 1], f"{indent}- {file}", *lines[last + 1 :]]) + "\n"}
