"""Charts and HelmReleases for the tests of helm-controller, and the releases that it has stored."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import Any

from azuresandbox.machine.helm.releases import Release, decode
from tests.flux_kustomize.apply_world import Cluster

CONFIG = (
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-settings\ndata:\n"
    "  count: {{ .Values.count | quote }}\n  revision: {{ .Release.Revision | quote }}\n"
)
EXTRA = "{{- if .Values.extra }}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n{{- end }}\n"
SCHEMA = '{"type": "object", "properties": {"count": {"type": "integer", "minimum": 0}}}'


def chart(version: str = "0.1.0", name: str = "demo", **files: str) -> bytes:
    """Return a chart archive. In the names of files, `__` stands for `/` and `_dot_` for `.`."""
    contents = {
        "Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: '7'\n",
        "values.yaml": "count: 1\nextra: false\n",
        "values.schema.json": SCHEMA,
        "templates/config.yaml": CONFIG,
        "templates/extra.yaml": EXTRA,
        **{path.replace("__", "/").replace("_dot_", "."): text for path, text in files.items()},
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, text in contents.items():
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def publish(cluster: Cluster, data: bytes, revision: str = "0.1.0", name: str = "charts") -> None:
    """Make a chart the artifact of an OCIRepository. The digest in the revision is computed from its tag."""
    digest = hashlib.sha256(revision.encode()).hexdigest()
    cluster.source(f"{revision}@sha256:{digest}", data, kind="OCIRepository", name=name)


def release(name: str = "app", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": name},
        "spec": {"interval": "5m", "chartRef": {"kind": "OCIRepository", "name": "charts"}, **spec},
        "status": {"observedGeneration": -1},
    }


def stored(cluster: Cluster, version: int, name: str = "app") -> Release:
    """Return a release as Helm has stored it."""
    return decode(cluster.get("Secret", f"sh.helm.release.v1.{name}.v{version}")["data"]["release"])


def secrets(cluster: Cluster) -> list[str]:
    """Return the names of the Secrets of all stored releases."""
    return sorted(name for kind, _, name in cluster.api.objects if kind == "Secret" and name.startswith("sh.helm"))


def version_of(cluster: Cluster, name: str = "app") -> str:
    """Return the version of the released chart."""
    return str(cluster.get("HelmRelease", name)["status"]["history"][0]["chartVersion"])
