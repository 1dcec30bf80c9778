"""GitRepository: a commit's tree as an artifact. May import the engine and the Git client."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from azuresandbox.machine.images.flux import artifacts, conditions
from azuresandbox.machine.images.flux.source import engine, sourceignore
from azuresandbox.machine.images.flux.source.engine import Run, SourceError, Stored, unsupported
from azuresandbox.machine.images.flux.source.git import Checkout, GitClient, GitError

OBSERVED = {
    "observedIgnore": "ignore",
    "observedRecurseSubmodules": "recurseSubmodules",
    "observedInclude": "include",
    "observedSparseCheckout": "sparseCheckout",
}


async def read(run: Run) -> Stored:
    _refuse(run)
    client = await _client(run)
    artifact = run.artifact
    known = artifact["revision"] if artifact and not _changed(run) else ""
    try:
        found = await client.checkout(run.spec.get("ref") or {}, known)
    except GitError as error:
        raise SourceError("GitOperationFailed", f"failed to checkout and determine revision: {error}") from None
    if found is None:
        raise SourceError("EmptyGitRepository", "git repository is empty")
    revision = _revision(run, found)
    summary = f"stored artifact for revision '{revision}'"
    if known == revision:
        message = f"no changes since last reconcilation: observed revision '{revision}'"  # as source-controller v1.6 spells it
        event = f"stored artifact for commit '{revision}'"
        unchanged = ("GitOperationSucceeded", message)
        return Stored(revision, "", None, summary, event, unchanged=unchanged)
    if not artifact or artifact["revision"] != revision:
        await run.announce(f"new upstream revision '{revision}'")
    return Stored(
        revision,
        f"{found.commit}.tar.gz",
        _archive(run, found),
        summary,
        f"stored artifact for commit '{found.short_message}'",
        observed={status: run.spec.get(field) for status, field in OBSERVED.items()},
    )


def _revision(run: Run, found: Checkout) -> str:
    by_name = (run.spec.get("ref") or {}).get("name") and not run.spec["ref"].get("commit")
    return found.full_revision if by_name else found.revision


def _changed(run: Run) -> bool:
    """Whether what decides about the artifact's contents differs from what the stored one was made with."""
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
        raise SourceError(
            engine.AUTHENTICATION,
            "failed to configure authentication options: invalid 'https' auth option: 'password' requires 'username' to be set",
        )
    if "bearerToken" in text and ("username" in text or "password" in text):
        raise SourceError(
            "GitOperationFailed",
            "failed to checkout and determine revision: basic auth and bearer token cannot be set at the same time",
        )
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
    """The folders named, and the files at the top, as Git's cone mode keeps them."""
    for folder in folders:
        if folder and not any(path.startswith(folder + "/") for path in files):
            raise SourceError(
                "GitOperationFailed",
                f"failed to sparse checkout directories : sparse checkout dir '{folder}' does not exist in repository",
            )
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
