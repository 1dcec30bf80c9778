"""GitRepository: revisions, artifacts, intervals, and the messages when Git fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from azuresandbox.context import OPERATOR_CLIENT_ID
from azuresandbox.machine.images.flux import artifacts
from azuresandbox.machine.images.flux.artifacts import ArtifactError, ArtifactNotFound
from tests.flux_source.source_cluster import FLEET, NAMESPACE, Cluster, cluster, conditions, running
from tests.harness import OPERATOR_SECRET

SPEC = {"url": FLEET, "interval": "5m", "timeout": "60s", "ref": {"branch": "main"}}
FILES = {"flux/clusters/release.yaml": "clusterCount: 3\n", "picture.png": "x", "README.md": "# fleet\n"}


@cluster
async def test_a_branch_becomes_an_artifact(hub: Cluster) -> None:
    commit = hub.repository(FILES)
    source = await hub.apply("GitRepository", "fleet", SPEC)
    revision = f"main@sha1:{commit}"
    assert conditions(source) == {
        "Ready": ("True", "Succeeded", f"stored artifact for revision '{revision}'"),
        "ArtifactInStorage": ("True", "Succeeded", f"stored artifact for revision '{revision}'"),
    }
    artifact = source["status"]["artifact"]
    path = f"gitrepository/{NAMESPACE}/fleet/{commit}.tar.gz"
    assert (artifact["path"], artifact["revision"]) == (path, revision)
    assert artifact["url"] == f"http://source-controller.flux-system.svc.cluster.local./{path}"
    assert artifact["size"] == len(await artifacts.fetch(hub.pod, artifact))
    assert await hub.files(source) == {path: FILES[path] for path in ("README.md", "flux/clusters/release.yaml")}
    assert source["status"]["observedGeneration"] == 1
    assert source["metadata"]["finalizers"] == ["finalizers.fluxcd.io"]
    assert hub.events("fleet") == [("Normal", "NewArtifact", "stored artifact for commit 'Seed the fleet'")]


@cluster
async def test_a_push_is_seen_at_the_interval_and_not_before(hub: Cluster) -> None:
    hub.repository(FILES)
    first = (await hub.apply("GitRepository", "fleet", SPEC))["status"]["artifact"]
    commit = hub.commit({"flux/clusters/release.yaml": "clusterCount: 5\n"}, "Five clusters")
    await hub.advance(299)
    assert hub.get("GitRepository", "fleet")["status"]["artifact"] == first
    await hub.advance(2)
    source = hub.get("GitRepository", "fleet")
    assert source["status"]["artifact"]["revision"] == f"main@sha1:{commit}"
    assert (await hub.files(source))["flux/clusters/release.yaml"] == "clusterCount: 5\n"
    assert hub.events("fleet")[-1] == ("Normal", "NewArtifact", "stored artifact for commit 'Five clusters'")
    hub.commit({"a": "b"}, "Third")
    await hub.advance(301)
    with pytest.raises(ArtifactNotFound, match="^file not found$"):
        await artifacts.fetch(hub.pod, first)


@cluster
async def test_a_request_by_annotation_is_handled_at_once(hub: Cluster) -> None:
    hub.repository(FILES)
    await hub.apply("GitRepository", "fleet", SPEC)
    commit = hub.commit({"a.yaml": "a\n"}, "More")
    annotations = {"reconcile.fluxcd.io/requestedAt": "2026-01-01T00:00:00Z"}
    source = await hub.apply("GitRepository", "fleet", SPEC, annotations=annotations)
    assert source["status"]["lastHandledReconcileAt"] == "2026-01-01T00:00:00Z"
    assert source["status"]["artifact"]["revision"].endswith(commit)


@cluster
async def test_an_unchanged_revision_is_reported_and_not_stored_again(hub: Cluster) -> None:
    commit = hub.repository(FILES)
    before = (await hub.apply("GitRepository", "fleet", SPEC))["status"]
    await hub.advance(301)
    assert hub.get("GitRepository", "fleet")["status"] == before
    message = f"no changes since last reconcilation: observed revision 'main@sha1:{commit}'"
    assert hub.events("fleet")[-1] == ("Normal", "GitOperationSucceeded", message)


@cluster
async def test_a_suspended_source_is_not_fetched(hub: Cluster) -> None:
    hub.repository(FILES)
    source = await hub.apply("GitRepository", "fleet", {**SPEC, "suspend": True})
    assert "artifact" not in source["status"]
    source = await hub.apply("GitRepository", "fleet", SPEC)
    assert conditions(source)["Ready"][0] == "True"


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ({"tag": "v1.1.0"}, "v1.1.0@sha1:{second}"),
        ({"semver": "1.x"}, "v1.1.0@sha1:{second}"),
        ({"semver": "~1.0.0"}, "1.0.0@sha1:{first}"),
        ({"commit": "{first}"}, "sha1:{first}"),
        ({"commit": "{first}", "branch": "main"}, "main@sha1:{first}"),
        ({"name": "refs/heads/main"}, "refs/heads/main@sha1:{third}"),
        ({"name": "refs/tags/v1.1.0"}, "refs/tags/v1.1.0@sha1:{second}"),
    ],
)
@cluster
async def test_references(hub: Cluster, ref: dict[str, str], expected: str) -> None:
    hub.repository(FILES)
    ids = {
        "first": hub.commit({"a": "1"}, "One", tag="1.0.0"),
        "second": hub.commit({"a": "2"}, "Two", tag="v1.1.0", annotated=True),
        "third": hub.commit({"a": "3"}, "Three", tag="not-a-version"),
    }
    wanted = {key: value.format(**ids) for key, value in ref.items()}
    source = await hub.apply("GitRepository", "fleet", {**SPEC, "ref": wanted})
    assert conditions(source)["Ready"] == (
        "True",
        "Succeeded",
        f"stored artifact for revision '{expected.format(**ids)}'",
    )
    await hub.advance(301)
    assert hub.get("GitRepository", "fleet")["status"]["artifact"] == source["status"]["artifact"]


CHECKOUT = "failed to checkout and determine revision: "


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        (
            {"ref": {"branch": "nope"}},
            "GitOperationFailed",
            f"{CHECKOUT}unable to clone '{FLEET}': couldn't find remote ref \"refs/heads/nope\"",
        ),
        (
            {"ref": {"tag": "v9"}},
            "GitOperationFailed",
            f"{CHECKOUT}unable to clone '{FLEET}': couldn't find remote ref \"refs/tags/v9\"",
        ),
        ({"ref": {"semver": ">=9"}}, "GitOperationFailed", f"{CHECKOUT}no match found for semver: >=9"),
        ({"ref": {"semver": "nonsense"}}, "GitOperationFailed", f"{CHECKOUT}semver parse error: improper constraint: nonsense"),
        (
            {"ref": {"name": "refs/heads/nope"}},
            "GitOperationFailed",
            f"{CHECKOUT}unable to resolve ref 'refs/heads/nope' to a specific commit",
        ),
        (
            {"ref": {"commit": "0" * 40}},
            "GitOperationFailed",
            f"{CHECKOUT}unable to resolve commit object for '{'0' * 40}': object not found",
        ),
        (
            {"ref": None},
            "GitOperationFailed",
            f"{CHECKOUT}unable to clone '{FLEET}': couldn't find remote ref \"refs/heads/master\"",
        ),
        (
            {"url": "https://nowhere.example/a/b"},
            "GitOperationFailed",
            f"{CHECKOUT}unable to clone 'https://nowhere.example/a/b': "
            'Get "https://nowhere.example/a/b/info/refs?service=git-upload-pack": '
            "dial tcp: lookup nowhere.example: no such host",
        ),
        (
            {"url": FLEET + "-of-others"},
            "GitOperationFailed",
            f"{CHECKOUT}unable to clone '{FLEET}-of-others': repository not found: Repository not found.",
        ),
        (
            {"secretRef": {"name": "git"}},
            "AuthenticationFailed",
            f"failed to get secret '{NAMESPACE}/git': secrets \"git\" not found",
        ),
    ],
)
@cluster
async def test_failures(hub: Cluster, change: dict[str, object], reason: str, message: str) -> None:
    hub.repository(FILES)
    spec = {name: value for name, value in {**SPEC, **change}.items() if value is not None}
    source = await hub.apply("GitRepository", "fleet", spec)
    found = conditions(source)
    assert found["Ready"] == ("False", reason, message)
    assert found["FetchFailed"] == ("True", reason, message)
    assert found["Reconciling"] == ("True", "ProgressingWithRetry", "building artifact")
    assert source["status"]["observedGeneration"] == -1
    assert hub.events("fleet") == [("Warning", reason, message)]


@cluster
async def test_an_outage_is_retried_and_the_recovery_reported(hub: Cluster) -> None:
    hub.repository(FILES)
    stored = (await hub.apply("GitRepository", "fleet", SPEC))["status"]["artifact"]
    hub.world.sandbox.faults.arm("git-unreachable", f"{FLEET}*", times=2)
    await hub.advance(301)
    source = hub.get("GitRepository", "fleet")
    url = f"{FLEET}/info/refs?service=git-upload-pack"
    message = f"{CHECKOUT}unable to list remote for '{FLEET}': Get \"{url}\": dial tcp: lookup github.com: i/o timeout"
    assert conditions(source)["Ready"] == ("False", "GitOperationFailed", message)
    assert source["status"]["artifact"] == stored
    await hub.advance(3)
    source = hub.get("GitRepository", "fleet")
    assert conditions(source)["Ready"][0] == "True"
    assert "FetchFailed" not in conditions(source)
    assert hub.events("fleet")[-1][1] in ("Succeeded", "GitOperationSucceeded")


@cluster
async def test_credentials_of_a_secret_are_used(hub: Cluster) -> None:
    hub.repository(FILES)
    hub.secret("git", username=OPERATOR_CLIENT_ID, password="wrong")
    spec = {**SPEC, "secretRef": {"name": "git"}}
    source = await hub.apply("GitRepository", "fleet", spec)
    message = f"{CHECKOUT}unable to clone '{FLEET}': authentication required: Repository not found."
    assert conditions(source)["Ready"] == ("False", "GitOperationFailed", message)
    hub.secret("git", username=OPERATOR_CLIENT_ID, password=OPERATOR_SECRET)
    await hub.advance(2)
    assert conditions(hub.get("GitRepository", "fleet"))["Ready"][0] == "True"


@pytest.mark.parametrize(
    ("ignore", "kept"),
    [
        ("/*\n!/apps\n", ["apps/base/a.yaml", "apps/notes.md"]),
        ("*.md\n", ["apps/base/a.yaml", "infra/b.yaml", "p.png"]),
        ("# none\n", ["apps/base/a.yaml", "apps/notes.md", "infra/b.yaml"]),
        ("apps/**/a.yaml\np.png\n", ["apps/notes.md", "infra/b.yaml"]),
    ],
)
@cluster
async def test_ignored_files(hub: Cluster, ignore: str, kept: list[str]) -> None:
    hub.repository(dict.fromkeys(("apps/base/a.yaml", "apps/notes.md", "infra/b.yaml", "p.png"), "x"))
    source = await hub.apply("GitRepository", "fleet", {**SPEC, "ignore": ignore})
    assert sorted(await hub.files(source)) == kept
    assert source["status"]["observedIgnore"] == ignore


@cluster
async def test_a_sourceignore_file_and_a_change_of_ignore_rebuild_the_artifact(hub: Cluster) -> None:
    hub.repository({"a.yaml": "a", "docs/b.yaml": "b", ".sourceignore": "docs/\n"})
    source = await hub.apply("GitRepository", "fleet", SPEC)
    assert "docs/b.yaml" not in await hub.files(source)
    source = await hub.apply("GitRepository", "fleet", {**SPEC, "ignore": "!docs/\n/a.yaml"})
    assert "docs/b.yaml" in await hub.files(source)
    assert "a.yaml" not in await hub.files(source)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("verify", {"mode": "HEAD", "secretRef": {"name": "k"}}, "spec.verify"),
        ("recurseSubmodules", True, "spec.recurseSubmodules"),
        ("include", [{"repository": {"name": "b"}}], "spec.include"),
        ("url", "ssh://git@github.com/a/b", "Git over SSH"),
        ("provider", "azure", "spec.provider azure"),
    ],
)
@cluster
async def test_unsupported_fields_are_refused_by_name(hub: Cluster, field: str, value: object, named: str) -> None:
    hub.repository(FILES)
    found = conditions(await hub.apply("GitRepository", "fleet", {**SPEC, field: value}))
    assert found["Stalled"][0] == "True"
    assert found["Ready"][:2] == ("False", "Unsupported")
    assert f"the sandbox does not emulate {named}" in found["Ready"][2]


@cluster
async def test_deleting_removes_the_artifact(hub: Cluster) -> None:
    hub.repository(FILES)
    artifact = (await hub.apply("GitRepository", "fleet", SPEC))["status"]["artifact"]
    hub.api.delete("GitRepository", NAMESPACE, "fleet")
    await hub.settle()
    assert ("GitRepository", NAMESPACE, "fleet") not in hub.api.objects
    with pytest.raises(ArtifactNotFound):
        await artifacts.fetch(hub.pod, artifact)


async def test_downloads_fail_without_a_running_controller(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        hub.repository(FILES)
        artifact = (await hub.apply("GitRepository", "fleet", SPEC))["status"]["artifact"]
    with pytest.raises(ArtifactError, match="connect: connection refused"):
        await artifacts.fetch(hub.pod, artifact)
