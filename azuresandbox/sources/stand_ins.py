"""Stand-ins for public Helm charts: which public address serves which chart of this project, in which versions.

The charts are folders under `charts/`. Their versions come from the table here, so that semver ranges find the versions that
they find on the internet. Packages are made on demand, reproducibly, and kept in the state folder.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from azuresandbox.sources.oci_store import OciStore, digest_of

CHARTS = Path(__file__).parent / "charts"
CREATED = "2026-01-01T00:00:00Z"
CONFIG_TYPE = "application/vnd.cncf.helm.config.v1+json"
LAYER_TYPE = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_IGNORED = {".helmignore", ".git", "__pycache__", ".DS_Store"}

VERSIONS: dict[str, dict[str, str]] = {
    "cert-manager": {
        "v1.14.7": "v1.14.7",
        "v1.15.5": "v1.15.5",
        "v1.16.5": "v1.16.5",
        "v1.17.4": "v1.17.4",
        "v1.18.2": "v1.18.2",
    },
    "azure-service-operator": {
        "v2.9.0": "v2.9.0",
        "v2.10.0": "v2.10.0",
        "v2.11.0": "v2.11.0",
        "v2.12.0": "v2.12.0",
        "v2.13.0": "v2.13.0",
    },
    "podinfo": {
        "6.5.4": "6.5.4",
        "6.6.3": "6.6.3",
        "6.7.1": "6.7.1",
        "6.8.0": "6.8.0",
        "6.9.1": "6.9.1",
        "6.9.2": "6.9.2",
    },
    "ingress-nginx": {"4.10.1": "1.10.1", "4.11.3": "1.11.3", "4.12.1": "1.12.1", "4.13.0": "1.13.0"},
    "redis": {
        "17.15.6": "7.2.1",
        "17.17.1": "7.2.1",
        "18.19.4": "7.2.4",
        "19.6.4": "7.2.5",
        "20.13.4": "7.4.3",
        "21.2.14": "8.0.3",
    },
}
"""Chart -> its versions -> the version of the application in each."""

REPOSITORIES: dict[str, tuple[str, ...]] = {
    "https://charts.jetstack.io": ("cert-manager",),
    "https://raw.githubusercontent.com/Azure/azure-service-operator/main/v2/charts": ("azure-service-operator",),
    "https://stefanprodan.github.io/podinfo": ("podinfo",),
    "https://kubernetes.github.io/ingress-nginx": ("ingress-nginx",),
    "https://charts.bitnami.com/bitnami": ("redis",),
}
"""Helm repository -> its charts."""

REGISTRIES: dict[str, str] = {
    "ghcr.io/stefanprodan/charts/podinfo": "podinfo",
    "registry-1.docker.io/bitnamicharts/redis": "redis",
    "quay.io/jetstack/charts/cert-manager": "cert-manager",
}
"""OCI repository -> its chart."""


class ChartError(Exception):
    """The stand-in chart is missing or invalid."""


@dataclass(frozen=True)
class Package:
    """A packaged chart: its Chart.yaml, its .tgz and the digest Helm's index lists (hex, without algorithm)."""

    metadata: dict[str, Any]
    path: Path
    digest: str


def versions(name: str) -> list[str]:
    """Return the versions of a stand-in; an empty list if this installation lacks its folder."""
    return list(VERSIONS[name]) if (CHARTS / name / "Chart.yaml").is_file() else []


def package(state: Path, name: str, version: str) -> Package:
    """Return the packaged chart in that version. Packages it if that has not been done. Raises `ChartError`."""
    source = CHARTS / name
    try:
        metadata: dict[str, Any] = yaml.safe_load((source / "Chart.yaml").read_text())
        app_version = VERSIONS[name][version]
    except (OSError, KeyError, yaml.YAMLError) as error:
        raise ChartError(f"there is no stand-in for chart {name} {version}: {error}") from error
    metadata |= {"name": name, "version": version, "appVersion": app_version}
    data = _archive(source, name, metadata)
    digest = digest_of(data).removeprefix("sha256:")
    path = state / "helm" / f"{name}-{version}.tgz"
    if not path.exists() or path.stat().st_size != len(data) or path.read_bytes() != data:
        _write(path, data)
    return Package(metadata, path, digest)


def publish(store: OciStore, state: Path, repository: str) -> None:
    """Fill the OCI repository of a stand-in with its charts, once."""
    name = REGISTRIES.get(repository)
    if name is None or store.exists(repository):
        return
    for version in versions(name):
        chart = package(state, name, version)
        config = json.dumps(chart.metadata, sort_keys=True).encode()
        layer = chart.path.read_bytes()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, store.add_blob(repository, config), config),
            "layers": [_descriptor(LAYER_TYPE, store.add_blob(repository, layer), layer)],
            "annotations": {
                "org.opencontainers.image.created": CREATED,
                "org.opencontainers.image.title": name,
                "org.opencontainers.image.version": version,
            },
        }
        tag = version.replace("+", "_")
        store.put_manifest(repository, json.dumps(manifest).encode(), MANIFEST_TYPE, tag)


def _descriptor(media_type: str, digest: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def _archive(source: Path, name: str, metadata: dict[str, Any]) -> bytes:
    files = {"Chart.yaml": yaml.safe_dump(metadata, sort_keys=True).encode()}
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and not _IGNORED & set(relative.parts) and str(relative) != "Chart.yaml":
            files[relative.as_posix()] = path.read_bytes()
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for relative_name, data in files.items():
            entry = tarfile.TarInfo(f"{name}/{relative_name}")
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + ".new")
    with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    temporary.replace(path)
