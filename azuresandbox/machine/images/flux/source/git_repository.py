"""GitRepository: a commit's tree as an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from azuresandbox.machine.images.flux import artifacts, conditions
from azuresandbox.machine.images.flux.source import engine, sourceignore, texts
from azuresandbox.machine.images.flux.source.engine import Run, SourceError, Stored, unsupported
from azuresandbox.machine.images.flux.source.git import Checkout, GitClient, GitError

OBSERVED = {
    "observedIgnore": "ignore",
    "observedRecurseSubmodules": "recurseSubmodules",
    "observedInclude": "include",
    "observedSparseCheckout": "sparseCheckout",
}


async def read(run: Run) -> Stored:
    """Read the commit that `spec.ref` names. Raises `SourceError`."""
    _refuse(run)
    client = await _client(run)
    artifact = run.artifact
    known = artifact["revision"] if artifact and not _changed(run) else ""
    try:
        found = await client.checkout(run.spec.get("ref") or {}, known)
    except GitError as error:
        raise SourceError(texts.GIT_FAILED(error=error)) from None
    if found is None:
        raise SourceError(texts.GIT_EMPTY())
    revision = _revision(run, found)
    summary = texts.GIT_STORED(revision=revision)
    if known == revision:
        event = texts.GIT_STORED_EVENT(commit=revision)
        return Stored(revision, "", None, summary, event, unchanged=texts.GIT_UNCHANGED(revision=revision))
    if not artifact or artifact["revision"] != revision:
        await run.announce(texts.GIT_NEW(revision=revision))
    return Stored(
        revision,
        f"{found.commit}.tar.gz",
        _archive(run, found),
        summary,
        texts.GIT_STORED_EVENT(commit=found.short_message),
        observed={status: run.spec.get(field) for status, field in OBSERVED.items()},
    )


def _revision(run: Run, found: Checkout) -> str:
    by_name = (run.spec.get("ref") or {}).get("name") and not run.spec["ref"].get("commit")
    return found.full_revision if by_name else found.revision


def _changed(run: Run) -> bool:
    """Return whether the spec selects other files than when the stored artifact was made."""
    return any(run.status.get(status) != run.spec.get(field) for status, field in OBSERVED.items())


def _refuse(run: Run) -> None:
    spec = run.spec
    scheme = urlsplit(spec["url"]).scheme
    if scheme == "ssh":
        raise unsupported(f"Git over SSH ({spec['url']})", "use the repository's https:// URL")
    if spec.get("include"):
        raise unsupported("spec.include", "keep the files in one repository, or let a Kustomization read each")
    if spec.get("verify"):
        raise unsupported("spec.verify", "signatures can only be verified by a real source-controller")
    if spec.get("recurseSubmodules"):
        raise unsupported("spec.recurseSubmodules", "keep the files in the repository itself")
    if spec.get("provider", "generic") != "generic":
        raise unsupported(f"spec.provider {spec['provider']}", "use generic with a secretRef, or none")
    if spec.get("proxySecretRef"):
        raise unsupported("spec.proxySecretRef", "the sandbox has no network that a proxy could lead to")


async def _client(run: Run) -> GitClient:
    data: Mapping[str, bytes] = {}
    if reference := run.spec.get("secretRef"):
        data = await run.secret(reference["name"])
    text = {name: data[name].decode("utf-8", "replace") for name in ("username", "password", "bearerToken") if name in data}
    if text.get("password") and not text.get("username"):
        raise SourceError(texts.GIT_NO_USERNAME())
    if "bearerToken" in text and ("username" in text or "password" in text):
        raise SourceError(texts.GIT_FAILED(error=texts.GIT_TWO_CREDENTIALS().message))
    return GitClient(
        run.pod.wire,
        run.spec["url"].rstrip("/"),
        text.get("username", ""),
        text.get("password", ""),
        text.get("bearerToken", ""),
    )


def _archive(run: Run, found: Checkout) -> bytes:
    files = dict(found.files)
    if sparse := run.spec.get("sparseCheckout"):
        files = _sparse(files, [path.removeprefix("./").strip("/") for path in sparse])
    contents = {path: data for path, (data, _) in files.items() if path.split("/")[-1] == sourceignore.FILE}
    kept = sourceignore.keep(files, run.spec.get("ignore"), contents)
    return artifacts.archive({path: files[path] for path in kept})


def _sparse(files: dict[str, tuple[bytes, bool]], folders: list[str]) -> dict[str, tuple[bytes, bool]]:
    """Return the files in the folders and at the top, as Git's cone mode does. Raises `SourceError`."""
    for folder in folders:
        if folder and not any(path.startswith(folder + "/") for path in files):
            raise SourceError(texts.GIT_NO_FOLDER(folder=folder))
    wanted = tuple(f"{folder}/" if folder else "" for folder in folders)
    return {path: file for path, file in files.items() if "/" not in path or path.startswith(wanted)}


KIND = engine.Kind(
    "GitRepository",
    read,
    conditions=(
        engine.STORAGE_FAILED,
        engine.FETCH_FAILED,
        engine.INCLUDES,
        engine.OUTDATED,
        engine.IN_STORAGE,
        engine.VERIFIED,
        conditions.STALLED,
        conditions.RECONCILING,
    ),
    failures=(engine.FETCH_FAILED, engine.INCLUDES, engine.STORAGE_FAILED),
)
