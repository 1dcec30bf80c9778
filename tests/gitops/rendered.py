"""Objects rendered from the project's charts by Helm, and read from its YAML files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import helm_python
import yaml

from azuresandbox.sources.stand_ins import CHARTS

ROOT = Path(__file__).parents[2]
CLUSTER_CHART = ROOT / "charts" / "podinfocluster"
Object = dict[str, Any]


def render(
    chart: Path, values: Object | None = None, release: str = "podinfo-prod", namespace: str = "clusters"
) -> list[Object]:
    """Return the objects of a release, in the order of the files. Raises `HelmError`."""
    with helm_python.Chart.load(str(chart)) as loaded:
        loaded.validate_schema(values or {})
        files = loaded.render(values or {}, name=release, namespace=namespace)
    texts = [text for path, text in sorted(files.items()) if path.endswith(".yaml")]
    return [obj for text in texts for obj in yaml.safe_load_all(text) if obj]


def stand_in(name: str, values: Object | None = None, release: str = "", namespace: str = "default") -> list[Object]:
    return render(CHARTS / name, values, release or name, namespace)


def documents(folder: str) -> list[Object]:
    """Return all objects in the YAML files below a folder of the project."""
    files = sorted((ROOT / folder).rglob("*.yaml"))
    return [obj for file in files for obj in yaml.safe_load_all(file.read_text()) if obj]


def named(objects: list[Object], kind: str, name: str) -> Object:
    return next(obj for obj in objects if obj["kind"] == kind and obj["metadata"]["name"] == name)
