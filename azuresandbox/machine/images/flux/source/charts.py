"""Helm charts as the source-controller builds them: found by version, downloaded or packaged, values files merged in.

May import nothing of the project but the version rules and `sandbox.http`.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import posixpath
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from azuresandbox.http import TooLarge, gunzip
from azuresandbox.machine.images.flux.source import semver, sourceignore

REFERENCE = ("InvalidChartReference", "invalid chart reference")
PULL = ("ChartPullError", "chart pull error")
METADATA = ("MetadataPatchError", "chart metadata patch error")
VALUES = ("ValuesFilesError", "values files merge error")
DEPENDENCY = ("DependencyBuildError", "dependency build error")
PACKAGE = ("ChartPackageError", "chart package error")
MAX_CHART = 100 << 20
"""Bytes that a chart may decompress to, as Helm limits it."""

PERSISTENT = {REFERENCE, METADATA, VALUES}
"""What cannot get better by itself."""


class BuildError(Exception):
    """A chart that could not be had or built; `kind` is one of the pairs above."""

    def __init__(self, kind: tuple[str, str], message: str) -> None:
        super().__init__(f"{kind[1]}: {message}")
        self.kind = kind


@dataclass(frozen=True)
class Build:
    """A chart ready to be stored. `data` is None if the stored one is still right."""

    name: str
    version: str
    data: bytes | None
    packaged: bool = False
    values_files: tuple[str, ...] = ()

    def summary(self, action: str = "") -> str:
        text = f"{action or ('packaged' if self.packaged else 'pulled')} '{self.name}' chart with version '{self.version}'"
        if self.values_files:
            text += f" and merged values files [{' '.join(self.values_files)}]"
        return text

    @property
    def reason(self) -> str:
        return "ChartPackageSucceeded" if self.packaged else "ChartPullSucceeded"


def choose(entries: Mapping[str, Any], name: str, wanted: str) -> Mapping[str, Any]:
    """The entry of an index for a chart and a version or range. Raises `BuildError`."""
    prefix = "failed to get chart version for remote reference: "
    if name not in entries:
        raise BuildError(REFERENCE, prefix + "no chart name found")
    versions: list[Mapping[str, Any]] = entries[name] or []
    if not versions:
        raise BuildError(REFERENCE, prefix + "no chart version found")
    for entry in versions:
        if entry["version"] == wanted:
            return entry
    chosen = best((entry["version"] for entry in versions), wanted, REFERENCE)
    if chosen is None:
        raise BuildError(REFERENCE, f"{prefix}no '{name}' chart with version matching '{wanted}' found")
    return next(entry for entry in versions if entry["version"] == chosen)


def best(versions: Iterable[str], wanted: str, kind: tuple[str, str]) -> str | None:
    """The highest version that a constraint ("*" for all stable ones) allows."""
    try:
        constraint = semver.Constraint(wanted or "*")
    except semver.ConstraintError as error:
        raise BuildError(kind, f"failed to get chart version for remote reference: {error}") from None
    chosen = constraint.highest([found for text in versions if (found := semver.parse(text))])
    return chosen.original if chosen else None


def with_metadata(version: str, metadata: str) -> str:
    """`1.2.3` with build metadata. Raises `BuildError` for a chart whose version is none."""
    if not metadata:
        return version
    if semver.parse(version) is None:
        raise BuildError(METADATA, "failed to parse version from chart metadata as SemVer: Invalid Semantic Version")
    return f"{version.partition('+')[0].removeprefix('v')}+{metadata}"


def unpack(data: bytes) -> dict[str, bytes]:
    """The files of a packaged chart, without the folder that they are in. Raises `BuildError`."""
    try:
        with tarfile.open(fileobj=io.BytesIO(gunzip(data, MAX_CHART)), mode="r:") as tar:
            files = {entry.name.partition("/")[2]: _read(tar, entry) for entry in tar if entry.isfile()}
    except TooLarge as error:
        text = f"failed to load chart: decompressed chart is larger than the maximum size {error.limit} bytes"
        raise BuildError(PULL, text) from None
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise BuildError(PULL, f"failed to load chart metadata from written chart: {error}") from None
    metadata(files, PULL, "failed to load chart metadata from written chart: ")
    return files


def _read(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry)
    return file.read() if file else b""


def metadata(files: Mapping[str, bytes], kind: tuple[str, str], prefix: str = "") -> dict[str, Any]:
    """The chart's validated Chart.yaml. Raises `BuildError`."""
    if "Chart.yaml" not in files:
        raise BuildError(kind, f"{prefix}no 'Chart.yaml' found")
    try:
        document = yaml.safe_load(files["Chart.yaml"])
    except yaml.YAMLError as error:
        raise BuildError(kind, f"{prefix}failed to load 'Chart.yaml': {error}") from None
    for name in ("apiVersion", "name", "version"):
        if not isinstance(document, dict) or not document.get(name):
            raise BuildError(kind, f"{prefix}validation: chart.metadata.{name} is required")
    found: dict[str, Any] = document
    return found


def folder(files: Mapping[str, bytes], path: str) -> dict[str, bytes]:
    """The files of the chart in a folder of a source, without what its `.helmignore` names. Raises `BuildError`."""
    clean = posixpath.normpath("/" + path).strip("/")
    prefix = clean + "/" if clean else ""
    found = {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
    if not found:
        raise BuildError(REFERENCE, f"stat {clean}: no such file or directory")
    ignored = found.get(".helmignore", b"").decode("utf-8", "replace")
    return {name: data for name, data in found.items() if not sourceignore.ignores(ignored, name)}


def check_dependencies(files: Mapping[str, bytes], document: Mapping[str, Any]) -> None:
    """Charts that a chart depends on have to be in its `charts/` folder. Raises `BuildError`."""
    for dependency in document.get("dependencies") or ():
        name = dependency["name"]
        vendored = (f"charts/{name}/", f"charts/{name}-")
        if not any(path.startswith(vendored) for path in files):
            text = f"the sandbox does not download the dependencies of charts in Git: put '{name}' under charts/"
            raise BuildError(DEPENDENCY, text)


def merge_values(files: Mapping[str, bytes], paths: Iterable[str], ignore_missing: bool) -> tuple[bytes, tuple[str, ...]]:
    """The values of several files of a chart, later ones over earlier ones, and which files those were."""
    merged: dict[str, Any] = {}
    used: list[str] = []
    for path in paths:
        data = files.get(posixpath.normpath(path))
        if data is None:
            if ignore_missing:
                continue
            raise BuildError(VALUES, f"failed to merge chart values: no values file found at path '{path}'")
        try:
            merged = _merge(merged, yaml.safe_load(data) or {})
        except yaml.YAMLError as error:
            text = f"failed to merge chart values: unmarshaling values from '{path}' failed: {error}"
            raise BuildError(VALUES, text) from None
        used.append(path)
    return yaml.safe_dump(merged, sort_keys=True).encode(), tuple(used)


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(dict(low))
    for name, value in high.items():
        old = result.get(name)
        result[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def package(files: Mapping[str, bytes], document: Mapping[str, Any]) -> bytes:
    """A reproducible `.tgz` of a chart with that Chart.yaml."""
    chart = yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=True).encode()
    contents = {"Chart.yaml": chart, **{path: data for path, data in sorted(files.items()) if path != "Chart.yaml"}}
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for path, data in contents.items():
            entry = tarfile.TarInfo(f"{document['name']}/{path}")
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
