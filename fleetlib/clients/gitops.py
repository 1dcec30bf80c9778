"""The two places the fleet is declared in: the Git repository, and the registry of the cluster chart.

Git is the `git` command, Helm is Helm's own SDK, the registry is spoken to by `oras`. A change to a YAML file touches the one
value that changes: comments, order and spacing survive. May import `cloud`, `errors`, `change`.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from fleetlib.change import Step
from fleetlib.clients.cloud import Cloud
from fleetlib.errors import FinalError, FleetError, RetryableError
from fleetlib.imports import without_iri_grammars

CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
"""Media types of a Helm chart in an OCI registry (Helm: HIP 6)."""

_UNREACHABLE = re.compile(
    r"Could not resolve host|Failed to connect|timed out|returned error: 5\d\d|Bad Gateway|Service Unavailable|Gateway Timeout|Max retries exceeded"
)
"""How git and oras say that a host does not answer, or answers that it cannot: it may later."""

_LOCKED = re.compile(r"\.lock': File exists|could not lock config file")
"""How git says that another git works in the same copy, or was killed there."""


@dataclass
class Repository:
    """A Git repository with a working copy of fleetlib's own. Nobody else's checkout is touched."""

    url: str
    branch: str
    cloud: Cloud

    @property
    def folder(self) -> Path:
        return self.cloud.home / "git" / hashlib.sha256(self.url.encode()).hexdigest()[:12]

    def sync(self) -> str:
        """Make the working copy the remote branch's head; its commit. Raises `FinalError` if there is no such branch."""
        if not self.folder.exists():
            self._clone()
        self._git("fetch", "--quiet", "--prune", "origin")
        try:
            self._git("checkout", "--quiet", "--force", "-B", self.branch, f"origin/{self.branch}")
        except FinalError as error:
            if "is not a commit" not in error.said:
                raise
            raise FinalError(
                f"the repository has no branch {self.branch!r}",
                target=self.url,
                said=error.said,
                fix="create the branch, or set the parameter fleet_branch",
            ) from None
        self._git("clean", "--quiet", "-fdx")
        return self.head()

    def _clone(self) -> None:
        """A working copy, all of it or not at all: one that was interrupted must not be taken for the repository."""
        parent = self.folder.parent
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix="clone-", dir=parent) as beside:
            copy = Path(beside) / self.folder.name
            self._git("clone", "--quiet", "--no-checkout", self.url, str(copy), cwd=parent)
            try:
                copy.rename(self.folder)
            except OSError:
                if not self.folder.exists():  # else another process was faster: its copy is as good
                    raise

    def head(self) -> str:
        return self._git("rev-parse", "HEAD").strip()

    def read(self, path: str) -> str | None:
        """A file of the working copy, or None."""
        file = self.folder / path
        return file.read_text() if file.exists() else None

    def commit(self, files: dict[str, str | None], message: str) -> str | None:
        """Commit and push these files (None: deleted) on top of the remote head; the commit, or None if nothing differs."""
        self.sync()
        for path, text in files.items():
            self._write(path, text)
        self._git("add", "--all")
        if not self._git("status", "--porcelain").strip():
            return None
        self._git("commit", "--quiet", "--message", message)
        self._git("push", "--quiet", "origin", f"HEAD:refs/heads/{self.branch}")
        return self.head()

    def _write(self, path: str, text: str | None) -> None:
        file = self.folder / path
        if text is None:
            file.unlink(missing_ok=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def diff(self, files: dict[str, str | None]) -> str:
        """What `commit` of these files would change, as a unified diff."""
        import difflib

        lines: list[str] = []
        for path, text in files.items():
            before, after = self.read(path) or "", text or ""
            lines += difflib.unified_diff(before.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", lineterm="", n=2)
        return "\n".join(lines)

    def log(self, count: int = 10) -> list[tuple[str, str]]:
        """(commit, subject) of the last commits."""
        out = self._git("log", f"--max-count={count}", "--format=%H%x09%s")
        return [(line.split("\t")[0], line.split("\t")[1]) for line in out.splitlines()]

    def _git(self, *arguments: str, cwd: Path | None = None) -> str:
        identity = {
            "GIT_AUTHOR_NAME": "fleetlib",
            "GIT_AUTHOR_EMAIL": "fleetlib@localhost.invalid",
            "GIT_COMMITTER_NAME": "fleetlib",
            "GIT_COMMITTER_EMAIL": "fleetlib@localhost.invalid",
        }
        environment = {**identity, **os.environ, **self.cloud.git_environment()}
        done = subprocess.run(
            ["git", *arguments], cwd=cwd or self.folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = " ".join(done.stderr.split())
            kind = RetryableError if "fetch first" in said or "rejected" in said or _UNREACHABLE.search(said) else FinalError
            fix = "check the repository's URL and your rights to it"
            if _UNREACHABLE.search(said):
                fix = "the Git host does not answer: look at its status page and your network, then run the same notebook again"
            if _LOCKED.search(said):
                fix = f"if no other git works there, one was killed: delete {self.folder} (a copy, made anew) and run again"
            raise kind(f"git {arguments[0]} failed", target=self.url, said=said, fix=fix)
        return done.stdout


def set_value(text: str, path: tuple[str | int, ...], value: Any) -> str:
    """YAML `text` with the scalar at `path` replaced, every other byte as it was. Raises `FinalError` if it is not there.

    For a file of several documents the path starts with the document's number. A key whose parent is there is added.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        nodes = list(YAML().compose_all(io.StringIO(text)))
    except YAMLError as error:
        raise FinalError("the file is not valid YAML", said=" ".join(str(error).split())) from None
    node, rest = (nodes[path[0]], path[1:]) if isinstance(path[0], int) else (nodes[0], path)
    for depth, key in enumerate(rest):
        child = _child(node, key)
        if child is None and depth == len(rest) - 1:
            return _insert(text, node, str(key), value)
        if child is None:
            raise FinalError(f"the file has no {'.'.join(map(str, rest[: depth + 1]))}", fix="add it, or name another file")
        node = child
    return text[: node.start_mark.index] + _scalar(value) + text[node.end_mark.index :]


def _child(node: Any, key: str | int) -> Any:
    if isinstance(key, int):
        return node.value[key] if key < len(node.value) else None
    return next((value for name, value in node.value if name.value == key), None)


def _insert(text: str, mapping: Any, key: str, value: Any) -> str:
    """A new first key of a block mapping, indented as its neighbours."""
    first = mapping.value[0][0].start_mark
    return f"{text[: first.index]}{key}: {_scalar(value)}\n{' ' * first.column}{text[first.index :]}"


def _scalar(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


@dataclass
class ChartRegistry:
    """The OCI registry of the cluster chart: `url` is `oci://host/path`, charts are below it by name."""

    url: str
    cloud: Cloud

    def _client(self) -> tuple[Any, str]:
        with without_iri_grammars():
            import oras.client
            import oras.logger

        oras.logger.logger.set_level(logging.CRITICAL)  # failures are raised here, and a missing chart is none
        served = urlsplit(self.cloud.mirrored(self.url))
        verify: Any = str(self.cloud.ca_file) if self.cloud.ca_file and served.netloc != urlsplit(self.url).netloc else True
        client = oras.client.OrasClient(hostname=served.netloc, tls_verify=verify)
        if self.cloud.ca_file is not None:
            client.session.trust_env = False
        if self.cloud.client_secret:
            client.auth.set_basic_auth(self.cloud.client_id, self.cloud.client_secret)
        return client, served.netloc + served.path

    def digest(self, name: str, version: str) -> str | None:
        """The digest of the chart's layer under this version, or None if it was never pushed."""
        client, base = self._client()
        try:
            manifest = client.get_manifest(
                f"{base}/{name}:{version}", allowed_media_type=["application/vnd.oci.image.manifest.v1+json"]
            )
        except ValueError as error:
            if (
                "404" in str(error)
                or "MANIFEST_UNKNOWN" in str(error)
                or "NAME_UNKNOWN" in str(error)
                or "not found" in str(error).lower()
            ):
                return None
            raise self._failure("the registry refused to read the chart", f"{name}:{version}", error) from None
        layers = [layer["digest"] for layer in manifest["layers"] if layer["mediaType"] == CHART_LAYER]
        return layers[0] if layers else None

    def push(self, archive: Path, name: str, version: str, metadata: dict[str, Any]) -> None:
        """Push a packaged chart as `helm push` does: one layer, Helm's media types, the version as tag."""
        client, base = self._client()
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.json"
            config.write_text(json.dumps(metadata))
            try:
                client.push(
                    target=f"{base}/{name}:{version}",
                    files=[f"{archive}:{CHART_LAYER}"],
                    manifest_config=f"{config}:{CHART_CONFIG}",
                    disable_path_validation=True,
                    quiet=True,
                )
            except ValueError as error:
                fix = "sign in to the registry (az acr login) with a role that may push (AcrPush)"
                raise self._failure("the registry refused the chart", f"{name}:{version}", error, fix) from None

    def _failure(self, what: str, chart: str, error: ValueError, fix: str = "") -> FleetError:
        """A registry that does not answer may answer later; any other refusal is final."""
        said, target = " ".join(str(error).split()), f"{self.url}/{chart}"
        if _UNREACHABLE.search(said):
            fix = "the registry does not answer: look at its status and your network, then run 05_publish_cluster_chart again"
            return RetryableError(what, target=target, said=said, fix=fix)
        return FinalError(what, target=target, said=said, fix=fix)


_SEVERITY = ("UNKNOWN", "INFO", "WARNING", "ERROR")
"""Helm's levels of a lint message, by number (pkg/chart/v2/lint/support)."""


@dataclass
class Chart:
    """The cluster chart in the fleet's repository: linted, rendered and packaged by Helm's own code."""

    folder: Path

    @property
    def metadata(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "Chart.yaml").read_text())

    def lint(self, values: dict[str, Any] | None = None) -> list[str]:
        """Helm's findings as lines `SEVERITY path: message`; none if the chart is good."""
        import helm_python

        found = helm_python.lint(str(self.folder), values=values) if values else helm_python.lint(str(self.folder))
        messages = found.get("messages", found) if isinstance(found, dict) else found
        return [f"{_SEVERITY[m['severity']]} {m['path']}: {m['error']}" for m in messages or []]

    def render(self, release: str, namespace: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        """The objects that a release of the chart consists of. Raises `FinalError` with Helm's words."""
        import helm_python

        try:
            with helm_python.Chart.load(str(self.folder)) as chart:
                chart.validate_schema(values)
                files = chart.render(values, name=release, namespace=namespace)
        except helm_python.HelmError as error:
            raise FinalError("the chart does not render", target=str(self.folder.name), said=str(error)) from None
        texts = [text for path, text in sorted(files.items()) if path.endswith((".yaml", ".yml"))]
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with libyaml
        return [obj for text in texts for obj in yaml.load_all(text, Loader=loader) if obj]

    def package(self, destination: Path) -> Path:
        """The chart as `<name>-<version>.tgz`, byte for byte the same for the same content: its digest says if it changed."""
        metadata = self.metadata
        archive = destination / f"{metadata['name']}-{metadata['version']}.tgz"
        with tempfile.TemporaryDirectory() as folder:
            import helm_python

            helm_python.package(str(self.folder), destination=folder)
            _normalise(next(Path(folder).glob("*.tgz")), archive)
        return archive


def _normalise(source: Path, target: Path) -> None:
    """Repack an archive without times and in a fixed order."""
    import gzip

    with tarfile.open(source) as tar:
        files = sorted((m.name, tar.extractfile(m).read()) for m in tar if m.isfile())  # type: ignore[union-attr]
    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed,
        tarfile.open(fileobj=packed, mode="w") as out,
    ):
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            out.addfile(info, io.BytesIO(content))


def publish(registry: ChartRegistry, chart: Chart, archive: Path) -> Step:
    """The step to the packaged chart in the registry. A version that is there with other content is refused."""
    name, version = chart.metadata["name"], chart.metadata["version"]
    local = "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()

    def compare(current: str) -> list[str]:
        if current == local:
            return []
        raise FinalError(
            f"version {version} of the chart is already published with other content",
            target=f"{registry.url}/{name}:{version}",
            said=f"published {current[:19]}, local {local[:19]}",
            fix="raise `version` in Chart.yaml: published versions never change",
        )

    return Step(
        "cluster chart",
        f"{registry.url}/{name}:{version}",
        lambda: registry.digest(name, version),
        lambda current: registry.push(archive, name, version, chart.metadata),
        compare,
    )
