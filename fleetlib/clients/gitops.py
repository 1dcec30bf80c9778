"""The two places that declare the fleet: the Git repository, and the registry of the cluster chart.

Git is the `git` command, Helm is Helm's own SDK, the registry's client is `oras`. An edit of a YAML file changes one value and
keeps comments, order and spacing.
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
from fleetlib.request import Shown

CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
"""Media types of a Helm chart in an OCI registry (Helm: HIP 6)."""

_UNREACHABLE = re.compile(
    r"Could not resolve host|Failed to connect|timed out|returned error: 5\d\d|"
    r"Bad Gateway|Service Unavailable|Gateway Timeout|Max retries exceeded"
)
"""The messages of git and oras for a host that does not answer or is overloaded: the same call may succeed later."""

_LOCKED = re.compile(r"\.lock': File exists|could not lock config file")
"""The messages of git when another git uses the same working copy, or was killed while using it."""


@dataclass
class Repository:
    """A Git repository with a working copy of fleetlib's own under the cloud's `home`; the user's checkouts are not touched.

    The methods raise `RetryableError` if the host does not answer or the push was rejected, else `FinalError`, with git's
    message.
    """

    url: str
    branch: str
    cloud: Cloud

    @property
    def folder(self) -> Path:
        """The folder of the working copy."""
        return self.cloud.home / "git" / hashlib.sha256(self.url.encode()).hexdigest()[:12]

    def sync(self) -> str:
        """Set the working copy to the head of the remote branch and return the commit.

        Raises `FinalError` without such a branch.
        """
        if not self.folder.exists():
            self._clone()
        self._git("fetch", "--quiet", "--prune", "origin")
        try:
            self._git("checkout", "--quiet", "--force", "-B", self.branch, f"origin/{self.branch}")
        except FinalError as error:
            if "is not a commit" not in error.said:
                raise
            raise FinalError(
                f"the repository does not have the branch {self.branch!r}",
                target=self.url,
                said=error.said,
                fix="create the branch, or set the parameter fleet_branch",
            ) from None
        self._git("clean", "--quiet", "-fdx")
        return self.head()

    def _clone(self) -> None:
        """Clone beside the working copy's folder, then rename: an interrupted clone must not be taken for a working copy."""
        parent = self.folder.parent
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix="clone-", dir=parent) as beside:
            copy = Path(beside) / self.folder.name
            self._git("clone", "--quiet", "--no-checkout", self.url, str(copy), cwd=parent)
            try:
                copy.rename(self.folder)
            except OSError:
                if not self.folder.exists():  # otherwise another process has cloned it meanwhile
                    raise

    def head(self) -> str:
        """Return the commit of the working copy."""
        return self._git("rev-parse", "HEAD").strip()

    def read(self, path: str) -> str | None:
        """Return the text of a file in the working copy; `None` if there is no such file."""
        file = self.folder / path
        return file.read_text() if file.exists() else None

    def commit(self, files: dict[str, str | None], message: str) -> str | None:
        """Commit these files (`None`: delete the file) on the remote head and push.

        Returns the commit; `None` if the files already have these contents.
        """
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
        """Return the unified diff that a `commit` of these files would cause."""
        import difflib

        lines: list[str] = []
        for path, text in files.items():
            before, after = self.read(path) or "", text or ""
            old = "/dev/null" if self.read(path) is None else f"a/{path}"
            lines += difflib.unified_diff(before.splitlines(), after.splitlines(), old, f"b/{path}", lineterm="", n=2)
        return "\n".join(lines)

    def log(self, count: int = 10) -> list[tuple[str, str]]:
        """Return (commit, subject) of the last `count` commits, newest first."""
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
            fix = "check the repository's URL and your access to it"
            if _UNREACHABLE.search(said):
                fix = "the Git host does not answer: check its status page and your network, then run the same notebook again"
            if _LOCKED.search(said):
                fix = f"if no other git is running there, delete {self.folder} (fleetlib clones it again), then run again"
            raise kind(f"git {arguments[0]} failed", target=self.url, said=said, fix=fix)
        return done.stdout


@dataclass(frozen=True)
class Commit:
    """Files to be committed to the fleet's branch and pushed (path -> text; `None`: deleted)."""

    repository: Repository
    files: dict[str, str | None]
    message: str

    def send(self) -> str | None:
        """The commit's SHA, or `None` if the branch has these files already."""
        return self.repository.commit(self.files, self.message)

    def shown(self) -> Shown:
        """The commit's message and its unified diff."""
        where = f"{self.repository.url} {self.repository.branch}"
        return Shown(f"commit to {where}: {self.message}", self.repository.diff(self.files), "diff")


def set_value(text: str, path: tuple[str | int, ...], value: Any) -> str:
    """Return YAML `text` with the scalar at `path` replaced and every other byte unchanged.

    For a file of several documents the path starts with the document's number. A missing key is added if its parent exists;
    else `FinalError` is raised, as for text that is not valid YAML.
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
            missing = ".".join(map(str, rest[: depth + 1]))
            raise FinalError(f"the file does not have {missing}", fix="add it to the file, or name another file")
        node = child
    return text[: node.start_mark.index] + _scalar(value) + text[node.end_mark.index :]


def _child(node: Any, key: str | int) -> Any:
    if isinstance(key, int):
        return node.value[key] if key < len(node.value) else None
    return next((value for name, value in node.value if name.value == key), None)


def _insert(text: str, mapping: Any, key: str, value: Any) -> str:
    """Insert a first key into a block mapping, with the indent of its neighbours."""
    first = mapping.value[0][0].start_mark
    return f"{text[: first.index]}{key}: {_scalar(value)}\n{' ' * first.column}{text[first.index :]}"


def _scalar(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


@dataclass
class ChartRegistry:
    """The OCI registry of the cluster chart. `url` is `oci://host/path`; a chart is `<url>/<name>:<version>`."""

    url: str
    cloud: Cloud

    def _client(self) -> tuple[Any, str]:
        with without_iri_grammars():
            import oras.client
            import oras.logger

        oras.logger.logger.set_level(logging.CRITICAL)  # errors are raised here, and a missing chart is not an error
        served = urlsplit(self.cloud.mirrored(self.url))
        verify: Any = str(self.cloud.ca_file) if self.cloud.ca_file and served.netloc != urlsplit(self.url).netloc else True
        client = oras.client.OrasClient(hostname=served.netloc, tls_verify=verify)
        if self.cloud.ca_file is not None:
            client.session.trust_env = False
        if self.cloud.client_secret:
            client.auth.set_basic_auth(self.cloud.client_id, self.cloud.client_secret)
        return client, served.netloc + served.path

    def digest(self, name: str, version: str) -> str | None:
        """Return the digest of the chart's layer in this version; `None` if the version was never pushed.

        Raises `RetryableError` if the registry does not answer, `FinalError` if it refuses.
        """
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
        """Push a packaged chart as `helm push` does: one layer, Helm's media types, the version as tag.

        Raises `RetryableError` if the registry does not answer, `FinalError` if it refuses.
        """
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
        """Return the error to raise: retryable if the registry does not answer, else final."""
        said, target = " ".join(str(error).split()), f"{self.url}/{chart}"
        if _UNREACHABLE.search(said):
            fix = "the registry does not answer: check its status and your network, then run 05_publish_cluster_chart again"
            return RetryableError(what, target=target, said=said, fix=fix)
        return FinalError(what, target=target, said=said, fix=fix)


_SEVERITY = ("UNKNOWN", "INFO", "WARNING", "ERROR")
"""Helm's levels of a lint message, by number (pkg/chart/v2/lint/support)."""


@dataclass
class Chart:
    """The cluster chart in a folder; Helm's own code lints, renders and packages it."""

    folder: Path

    @property
    def metadata(self) -> dict[str, Any]:
        """The content of Chart.yaml."""
        return yaml.safe_load((self.folder / "Chart.yaml").read_text())

    def lint(self, values: dict[str, Any] | None = None) -> list[str]:
        """Return Helm's messages as lines `SEVERITY path: message`; empty if Helm finds no fault."""
        import helm_python

        found = helm_python.lint(str(self.folder), values=values) if values else helm_python.lint(str(self.folder))
        messages = found.get("messages", found) if isinstance(found, dict) else found
        return [f"{_SEVERITY[m['severity']]} {m['path']}: {m['error']}" for m in messages or []]

    def render(self, release: str, namespace: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the objects of a release of the chart. Raises `FinalError` with Helm's message if it does not render."""
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
        """Write the chart as `<name>-<version>.tgz` to the folder and return the path.

        The same content gives the same bytes, so that equal digests mean equal charts.
        """
        metadata = self.metadata
        archive = destination / f"{metadata['name']}-{metadata['version']}.tgz"
        with tempfile.TemporaryDirectory() as folder:
            import helm_python

            helm_python.package(str(self.folder), destination=folder)
            _normalise(next(Path(folder).glob("*.tgz")), archive)
        return archive


def _normalise(source: Path, target: Path) -> None:
    """Repack an archive without timestamps and in a fixed order."""
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


@dataclass(frozen=True)
class Push:
    """A packaged chart to be pushed as an OCI artifact."""

    registry: ChartRegistry
    chart: Chart
    archive: Path

    def send(self) -> None:
        metadata = self.chart.metadata
        self.registry.push(self.archive, metadata["name"], metadata["version"], metadata)

    def shown(self) -> Shown:
        """Reference, media types and digest: the manifest of what is pushed."""
        metadata, content = self.chart.metadata, self.archive.read_bytes()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        manifest = {
            "config": {"mediaType": CHART_CONFIG},
            "layers": [{"mediaType": CHART_LAYER, "digest": digest, "size": len(content)}],
        }
        head = f"push {self.registry.url}/{metadata['name']}:{metadata['version']}"
        return Shown(head, yaml.safe_dump(manifest, sort_keys=False).rstrip(), "yaml")


def publish(registry: ChartRegistry, chart: Chart, archive: Path) -> Step:
    """Return the step that pushes the packaged chart. It raises `FinalError` if the version is published with other content."""
    name, version = chart.metadata["name"], chart.metadata["version"]
    local = "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()

    def compare(current: str) -> list[str]:
        if current == local:
            return []
        raise FinalError(
            f"version {version} of the chart is already published with other content",
            target=f"{registry.url}/{name}:{version}",
            said=f"published {current[:19]}, local {local[:19]}",
            fix="raise `version` in Chart.yaml: a published version must not change",
        )

    return Step(
        "cluster chart",
        f"{registry.url}/{name}:{version}",
        lambda: registry.digest(name, version),
        lambda current: Push(registry, chart, archive),
        compare,
    )
