"""Helm charts as source-controller builds them: chosen by version, downloaded or packaged, with values files merged."""

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
from azuresandbox.machine.images.flux.source import semver, sourceignore, texts
from azuresandbox.machine.images.flux.texts import Said, Text

REFERENCE = ("InvalidChartReference", "invalid chart reference")
PULL = ("ChartPullError", "chart pull error")
METADATA = ("MetadataPatchError", "chart metadata patch error")
VALUES = ("ValuesFilesError", "values files merge error")
DEPENDENCY = ("DependencyBuildError", "dependency build error")
PACKAGE = ("ChartPackageError", "chart package error")
MAX_CHART = 100 << 20
"""Bytes that a chart may decompress to, as Helm limits it."""

PERSISTENT = {REFERENCE, METADATA, VALUES}
"""The errors that only a change of the object can fix."""


class BuildError(Exception):
    """A chart could not be pulled or built. `kind` is one of the pairs above: the reason, and the beginning of the message."""

    def __init__(self, kind: tuple[str, str], message: str) -> None:
        self.kind = kind
        self.said = Said(kind[0], f"{kind[1]}: {message}")
        super().__init__(self.said.message)


@dataclass(frozen=True)
class Build:
    """A chart to store. `data` is `None` if the stored one is up to date."""

    name: str
    version: str
    data: bytes | None
    packaged: bool = False
    values_files: tuple[str, ...] = ()

    @property
    def stored(self) -> Said:
        """The text of condition and event once the chart is stored."""
        return self._said(texts.CHART_PACKAGED if self.packaged else texts.CHART_PULLED)

    @property
    def news(self) -> Said:
        """The text of the condition before the chart is stored."""
        return self._said(texts.CHART_NEW)

    def _said(self, text: Text) -> Said:
        files = texts.CHART_VALUES(files=" ".join(self.values_files)).message if self.values_files else ""
        return text(name=self.name, version=self.version, values=files)


def choose(entries: Mapping[str, Any], name: str, wanted: str) -> Mapping[str, Any]:
    """Return the entry of an index for a chart and a version or range. Raises `BuildError`."""
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
    """Return the highest version that a constraint ("*": all stable ones) allows, or `None`. Raises `BuildError`."""
    try:
        constraint = semver.Constraint(wanted or "*")
    except semver.ConstraintError as error:
        raise BuildError(kind, f"failed to get chart version for remote reference: {error}") from None
    chosen = constraint.highest([found for text in versions if (found := semver.parse(text))])
    return chosen.original if chosen else None


def with_metadata(version: str, metadata: str) -> str:
    """Return a version with build metadata: `1.2.3+4`. Raises `BuildError` if the version is invalid."""
    if not metadata:
        return version
    if semver.parse(version) is None:
        raise BuildError(METADATA, "failed to parse version from chart metadata as SemVer: Invalid Semantic Version")
    return f"{version.partition('+')[0].removeprefix('v')}+{metadata}"


def unpack(data: bytes) -> dict[str, bytes]:
    """Return the files of a packaged chart, without the name of their folder. Raises `BuildError`."""
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
    """Return the chart's validated Chart.yaml. Raises `BuildError`; `prefix` begins its message."""
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
    """Return the files of a chart in a folder of a source, except those that `.helmignore` names. Raises `BuildError`."""
    clean = posixpath.normpath("/" + path).strip("/")
    prefix = clean + "/" if clean else ""
    found = {name.removeprefix(prefix): data for name, data in files.items() if name.startswith(prefix)}
    if not found:
        raise BuildError(REFERENCE, f"stat {clean}: no such file or directory")
    ignored = found.get(".helmignore", b"").decode("utf-8", "replace")
    return {name: data for name, data in found.items() if not sourceignore.ignores(ignored, name)}


def check_dependencies(files: Mapping[str, bytes], document: Mapping[str, Any]) -> None:
    """Raise `BuildError` if a dependency of a chart is not in its `charts/` folder."""
    for dependency in document.get("dependencies") or ():
        name = dependency["name"]
        vendored = (f"charts/{name}/", f"charts/{name}-")
        if not any(path.startswith(vendored) for path in files):
            text = f"the sandbox does not download the dependencies of charts in Git: put '{name}' under charts/"
            raise BuildError(DEPENDENCY, text)


def merge_values(files: Mapping[str, bytes], paths: Iterable[str], ignore_missing: bool) -> tuple[bytes, tuple[str, ...]]:
    """Merge values files, later ones over earlier ones. Returns the values as YAML, and the files that exist.

    Raises `BuildError`.
    """
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
    """Return a reproducible `.tgz` of a chart, with `document` as its Chart.yaml."""
    chart = yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=True).encode()
    contents = {"Chart.yaml": chart, **{path: data for path, data in sorted(files.items()) if path != "Chart.yaml"}}
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for path, data in contents.items():
            entry = tarfile.TarInfo(f"{document['name']}/{path}")
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
