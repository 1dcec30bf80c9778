"""Git over smart HTTP with the real git client."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from azuresandbox.sources import RepositoryError, copy_repository, locate, mirror, mirror_repository, mirrors, seed_repository
from azuresandbox.wire import Unreachable
from tests.sources.served_sources import OPERATOR, served

FLEET = "github.com/contoso/aks-fleet"


def tree(folder: Path) -> Path:
    (folder / "flux/clusters").mkdir(parents=True)
    (folder / "flux/clusters/release.yaml").write_text("clusterCount: 3 # how many\n")
    (folder / "notes").mkdir()
    (folder / "notes/private.md").write_text("not for the clusters\n")
    script = folder / "flux/run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    return folder


async def test_a_seeded_tree_is_cloned_and_a_commit_pushed(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        commit = seed_repository(port.world.sandbox.state, f"https://{FLEET}", tree(tmp_path / "tree"), folders=["flux"])
        await port.git("clone", port.git_url(FLEET), tmp_path / "clone")
        clone = tmp_path / "clone"
        assert (await port.git("log", "--format=%H %an %ae %ad %s", cwd=clone)).strip() == (
            f"{commit} Fleet Sandbox fleet@sandbox.invalid Thu Jan 1 00:00:00 2026 +0000 Seed the fleet"
        )
        assert sorted(p.name for p in clone.iterdir()) == [".git", "flux"]
        assert (clone / "flux/run.sh").stat().st_mode & 0o111

        (clone / "flux/clusters/release.yaml").write_text("clusterCount: 5 # how many\n")
        await port.git("commit", "-qam", "Five clusters", cwd=clone)
        await port.git("push", "origin", "main", cwd=clone)
        await port.git("clone", "-q", port.git_url(FLEET + ".git"), tmp_path / "again")
        assert "5" in (tmp_path / "again/flux/clusters/release.yaml").read_text()


async def test_equal_trees_have_equal_commits_and_history_survives_a_second_seeding(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        state, source = port.world.sandbox.state, tree(tmp_path / "tree")
        first = seed_repository(state, f"https://{FLEET}", source)
        assert seed_repository(state, "https://github.com/contoso/other", source) == first
        (source / "added.txt").write_text("later\n")
        assert seed_repository(state, f"https://{FLEET}", source) == first


async def test_missing_and_wrong_credentials_are_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        seed_repository(port.world.sandbox.state, f"https://{FLEET}", tree(tmp_path / "tree"))
        for secret in (None, "wrong"):
            answer = await port.git("clone", port.git_url(FLEET, secret=secret), tmp_path / "clone", check=False)
            assert "Authentication failed" in answer or "could not read Username" in answer
        url = port.world.url(f"/git/{FLEET}/info/refs?service=git-upload-pack")
        refused = await port.world.wire.request("GET", url)
        assert (refused.status, refused.headers["www-authenticate"]) == (401, 'Basic realm="Fleet Sandbox"')
        assert refused.headers["content-type"].startswith("text/plain")


async def test_the_clusters_gateway_reads_and_does_not_write(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        sandbox = port.world.sandbox
        seed_repository(sandbox.state, f"https://{FLEET}", tree(tmp_path / "tree"))
        mirror(sandbox, f"https://{FLEET}", "git")
        wire = port.world.wire
        read = await wire.request("GET", f"https://{FLEET}.git/info/refs?service=git-upload-pack")
        write = await wire.request("GET", f"https://{FLEET}/info/refs?service=git-receive-pack")
        assert (read.status, write.status) == (200, 403)


async def test_a_push_creates_the_repository_and_its_mirror(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        source = tree(tmp_path / "tree")
        await port.git("init", "-q", "-b", "main", cwd=source)
        await port.git("add", ".", cwd=source)
        await port.git("commit", "-qm", "First", cwd=source)
        await port.git("push", port.git_url("github.com/contoso/new"), "main", cwd=source)
        assert mirrors(port.world.sandbox.store)["https://github.com/contoso/new"] == "/git/github.com/contoso/new"
        await port.git("push", port.git_url("github.com/contoso/trunk"), "main:trunk", cwd=source)
        head = await port.git("ls-remote", "--symref", port.git_url("github.com/contoso/trunk"), "HEAD")
        assert head.startswith("ref: refs/heads/trunk\tHEAD\n")
        missing = await port.git("ls-remote", port.git_url("github.com/contoso/none"), check=False)
        assert "not found" in missing


async def test_any_local_repository_can_stand_for_any_url(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        source = tree(tmp_path / "tree")
        await port.git("init", "-q", "-b", "trunk", cwd=source)
        await port.git("add", ".", cwd=source)
        await port.git("commit", "-qm", "First", cwd=source)
        await port.git("tag", "-a", "v1.2.0", "-m", "A release", cwd=source)
        await port.git("branch", "staging", cwd=source)
        mirror_repository(port.world.sandbox, "https://github.com/someone/fleet.git", source)
        listed = await port.git("ls-remote", "--symref", port.git_url("github.com/someone/fleet"))
        local = await port.git("for-each-ref", "--format=%(objectname)%09%(refname)", cwd=source)
        assert listed.startswith("ref: refs/heads/trunk\tHEAD\n")
        assert all(line in listed.splitlines() for line in local.splitlines())
        peeled = (await port.git("rev-parse", "v1.2.0^{commit}", cwd=source)).strip()
        assert f"{peeled}\trefs/tags/v1.2.0^{{}}" in listed


async def test_references_are_listed_as_git_lists_them(tmp_path: Path) -> None:
    """`ls-refs` is answered in process, byte for byte as `git upload-pack` answers the same request."""
    async with served(tmp_path) as port:
        source = tree(tmp_path / "tree")
        await port.git("init", "-q", "-b", "main", cwd=source)
        await port.git("add", ".", cwd=source)
        await port.git("commit", "-qm", "First", cwd=source)
        await port.git("tag", "-a", "v1.0.0", "-m", "A release", cwd=source)
        await port.git("tag", "light", cwd=source)
        bare = mirror_repository(port.world.sandbox, f"https://{FLEET}", source)
        lines = [
            b"command=ls-refs\n",
            b"agent=git/2.39.5\n",
            None,
            b"peel\n",
            b"symrefs\n",
            b"ref-prefix HEAD\n",
            b"ref-prefix refs/heads/\n",
            b"ref-prefix refs/tags/\n",
        ]
        request = b"".join(b"0001" if line is None else f"{len(line) + 4:04x}".encode() + line for line in lines) + b"0000"
        headers = {**OPERATOR, "git-protocol": "version=2", "content-type": "application/x-git-upload-pack-request"}
        url = port.world.url(f"/git/{FLEET}/git-upload-pack")
        ours = await port.world.wire.request("POST", url, headers=headers, body=request)
        assert (ours.status, ours.headers["content-type"]) == (200, "application/x-git-upload-pack-result")

        theirs = subprocess.run(
            ["git", "upload-pack", "--stateless-rpc", str(bare)],
            input=request,
            capture_output=True,
            check=True,
            env={"PATH": "/usr/bin:/bin", "GIT_PROTOCOL": "version=2"},
            timeout=300,
        )
        assert ours.body == theirs.stdout


async def test_an_unreachable_host_is_a_failed_connection(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        sandbox = port.world.sandbox
        seed_repository(sandbox.state, f"https://{FLEET}", tree(tmp_path / "tree"))
        mirror(sandbox, f"https://{FLEET}", "git")
        sandbox.faults.arm("git-unreachable", f"https://{FLEET}*", times=2)
        url = f"https://{FLEET}/info/refs?service=git-upload-pack"
        with pytest.raises(Unreachable, match="^dial tcp: lookup github.com: i/o timeout$"):
            await port.world.wire.request("GET", url)
        assert "504" in await port.git("ls-remote", port.git_url(FLEET), check=False)
        assert (await port.world.wire.request("GET", url)).status == 200


@pytest.mark.parametrize(
    "url", ["https://github.com/../../etc", "https://github.com", "https://github.com/a/-x", "https://github.com/a/b c"]
)
def test_paths_without_a_repository_are_not_found(url: str, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="does not name a repository"):
        locate(tmp_path, url)


async def test_a_commit_checked_out_by_its_id_is_mirrored_with_a_branch_as_head(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        source = tree(tmp_path / "tree")
        await port.git("init", "-q", "-b", "main", cwd=source)
        await port.git("add", ".", cwd=source)
        await port.git("commit", "-qm", "First", cwd=source)
        await port.git("checkout", "-q", "--detach", cwd=source)
        mirror_repository(port.world.sandbox, f"https://{FLEET}", source)
        assert (await port.git("ls-remote", "--symref", port.git_url(FLEET), "HEAD")).startswith("ref: refs/heads/main\tHEAD\n")


def test_a_folder_without_a_repository_is_not_mirrored(tmp_path: Path) -> None:
    with pytest.raises(
        RepositoryError, match="cannot be mirrored as https://github.com/a/b: .*not appear to be a git repository"
    ):
        copy_repository(tmp_path / "state", "https://github.com/a/b", tree(tmp_path / "tree"))
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("version", ["0", "1", "2"])
async def test_every_protocol_version_and_partial_clones(version: str, tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        seed_repository(port.world.sandbox.state, f"https://{FLEET}", tree(tmp_path / "tree"))
        protocol = ("-c", f"protocol.version={version}")
        await port.git(*protocol, "clone", "-q", "--depth", "1", "--filter=blob:none", port.git_url(FLEET), tmp_path / "clone")
        clone = tmp_path / "clone"
        assert (clone / "flux/clusters/release.yaml").exists()
        await port.git("commit", "-q", "--allow-empty", "-m", "Nothing", cwd=clone)
        await port.git(*protocol, "push", "-q", "origin", "HEAD:refs/heads/topic", cwd=clone)
        assert "refs/heads/topic" in await port.git(*protocol, "ls-remote", port.git_url(FLEET))


async def test_a_push_that_is_behind_is_rejected(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        seed_repository(port.world.sandbox.state, f"https://{FLEET}", tree(tmp_path / "tree"))
        for name in ("one", "two"):
            await port.git("clone", "-q", port.git_url(FLEET), tmp_path / name)
            await port.git("commit", "-q", "--allow-empty", "-m", name, cwd=tmp_path / name)
        await port.git("push", "-q", cwd=tmp_path / "one")
        assert "fetch first" in await port.git("push", cwd=tmp_path / "two", check=False)


async def test_a_failed_seeding_leaves_no_repository(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        source = tree(tmp_path / "tree")
        with pytest.raises(RepositoryError, match="has no charts, nowhere"):
            seed_repository(port.world.sandbox.state, f"https://{FLEET}", source, folders=["flux", "charts", "nowhere"])
        assert not locate(port.world.sandbox.state, f"https://{FLEET}").exists()
