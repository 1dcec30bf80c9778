"""The sandbox's Flux builds the same as the real programs: every chart and overlay of this repository and of public ones.

`make -C tools/helm` and `make -C tools/kustomize` build the programs (needs Go); a missing program is skipped by name, and so
are the public repositories without a clone (`FLEET_PUBLIC_FLEET`, `FLEET_PUBLIC_WORKLOADS`).
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from azuresandbox.machine.helm import charts, manifests
from azuresandbox.machine.kustomize import build
from azuresandbox.sources.stand_ins import CHARTS
from tests.clients.helm_binaries import Helm, each_helm

ROOT = Path(__file__).parents[2]
KUSTOMIZE = ROOT / "tools/kustomize/bin/kustomize"
PUBLIC = [Path(os.environ[name]) for name in ("FLEET_PUBLIC_FLEET", "FLEET_PUBLIC_WORKLOADS") if os.environ.get(name)]
TREES = [ROOT / "flux", ROOT / "workloads", *PUBLIC]
OVERLAYS = [(tree, path.parent) for tree in TREES for path in sorted(tree.rglob("kustomization.yaml"))]
SOURCES = [ROOT / "charts", CHARTS, *PUBLIC]
CHART_FOLDERS = [path.parent for source in SOURCES for path in sorted(source.rglob("Chart.yaml"))]


def label(value: Any) -> str:
    folder = value[1] if isinstance(value, tuple) else value
    return "-".join(folder.parts[-3:])


# --- kustomize -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not KUSTOMIZE.exists(), reason="the real kustomize is not built: make -C tools/kustomize (needs Go)")
@pytest.mark.parametrize("overlay", OVERLAYS, ids=label)
def test_overlays_are_built_alike(overlay: tuple[Path, Path]) -> None:
    """The same objects in the same order: Flux sorts them itself before it applies them."""
    tree, folder = overlay
    command = [str(KUSTOMIZE), "build", "--load-restrictor=LoadRestrictionsNone", "--reorder=none", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    files = {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }
    assert build(files, folder.relative_to(tree).as_posix()) == list(yaml.safe_load_all(done.stdout))


# --- helm ------------------------------------------------------------------------------------------------------------


def given(chart: Path) -> Iterator[dict[str, Any]]:
    """Return the values that a chart is rendered with: {}, and those of every HelmRelease in the trees that names it."""
    yield {}
    name = yaml.safe_load((chart / "Chart.yaml").read_text())["name"]
    for path in [path for tree in TREES for path in sorted(tree.rglob("*.yaml")) if "templates" not in path.parts]:
        for obj in yaml.safe_load_all(path.read_text()):
            if isinstance(obj, dict) and obj.get("kind") == "HelmRelease":
                spec = obj["spec"]
                wanted = ((spec.get("chart") or {}).get("spec") or {}).get("chart") or spec.get("chartRef", {}).get("name", "")
                if wanted.rpartition("/")[2] == name:
                    yield spec.get("values") or {}


def packed(chart: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(chart, arcname=chart.name)
    return buffer.getvalue()


KUBERNETES = "--kube-version=1.36.0"
"""The cluster version that Helm's library assumes when it renders without a cluster."""


def comparable(objects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the object for comparison. Values of a Secret become their lengths, because redis generates its password."""
    sized = [{**obj, "data": {key: len(text) for key, text in (obj.get("data") or {}).items()}} for obj in objects]
    return [short if obj["kind"] == "Secret" else obj for short, obj in zip(sized, objects, strict=True)]


def templated(helm: Helm, chart: Path, values: Path) -> tuple[list[dict[str, Any]], str]:
    """Return the objects that `helm template` prints, or its error message."""
    done = helm.run("template", "app", str(chart), "--namespace=ns", f"--values={values}", KUBERNETES)
    return [obj for obj in yaml.safe_load_all(done.stdout) if obj], done.stderr


@pytest.fixture(params=each_helm())
def helm(request: Any, tmp_path: Path) -> Helm:
    return Helm(request.param, tmp_path)


@pytest.mark.parametrize("chart", CHART_FOLDERS, ids=label)
def test_charts_are_rendered_alike(chart: Path, helm: Helm, tmp_path: Path) -> None:
    """The same objects in the same order, hooks last, for all values in use. Where helm fails, the sandbox fails too."""
    loaded = charts.load(packed(chart))
    file, rendered = tmp_path / "values.yaml", 0
    for values in given(chart):
        file.write_text(yaml.safe_dump(values))
        want, said = templated(helm, chart, file)
        try:
            files = loaded.render(values, name="app", namespace="ns", revision=1, upgrade=False)
        except charts.ChartError as error:
            assert not want and str(error).splitlines()[-1].strip("- ") in said
            continue
        release = manifests.take_apart(files, loaded.name, lambda documents: documents)
        hooks = [obj for hook in release.hooks for obj in manifests.objects_of(hook["manifest"])]
        assert comparable([*manifests.objects_of(release.manifest), *hooks]) == comparable(want), said
        rendered += 1
    assert rendered
