"""Helm repositories made of the stand-in charts, and the same charts in OCI registries."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
import yaml

from azuresandbox.context import OPERATOR_CLIENT_ID
from azuresandbox.machine.images.flux.source import semver
from azuresandbox.sources import stand_ins
from azuresandbox.wire import Unreachable
from tests.harness import OPERATOR_SECRET
from tests.sources.served_sources import OPERATOR, served


@pytest.mark.parametrize("url", sorted(stand_ins.REPOSITORIES))
async def test_every_listed_package_is_there_with_its_digest(url: str, tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        index = yaml.safe_load((await port.world.wire.request("GET", f"{url}/index.yaml")).body)
        assert set(index["entries"]) == set(stand_ins.REPOSITORIES[url])
        for name, entries in index["entries"].items():
            assert [entry["version"] for entry in entries] == stand_ins.versions(name)[::-1]
            for entry in entries:
                package = await port.world.wire.request("GET", f"{url}/{entry['urls'][0]}")
                assert package.status == 200
                assert hashlib.sha256(package.body).hexdigest() == entry["digest"]


async def test_reading_needs_credentials(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        url = port.world.url("/helm/charts.jetstack.io/index.yaml")
        assert (await port.world.wire.request("GET", url)).status == 401
        assert (await port.world.wire.request("GET", url, headers=OPERATOR)).status == 200
        assert (await port.world.wire.request("DELETE", url, headers=OPERATOR)).status == 405


async def test_missing_charts_and_hosts(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        wire = port.world.wire
        assert (await wire.request("GET", "https://charts.jetstack.io/cert-manager-v0.0.1.tgz")).status == 404
        assert (await wire.request("GET", port.world.url("/helm/charts.example/index.yaml"), headers=OPERATOR)).status == 404
        with pytest.raises(Unreachable, match="no such host"):
            await wire.request("GET", "https://charts.example/index.yaml")
        port.world.sandbox.faults.arm("registry-unreachable", "https://charts.jetstack.io")
        with pytest.raises(Unreachable, match="i/o timeout"):
            await wire.request("GET", "https://charts.jetstack.io/index.yaml")


@pytest.mark.parametrize(("repository", "name"), sorted(stand_ins.REGISTRIES.items()))
async def test_a_chart_in_a_registry_is_the_one_in_the_repository(repository: str, name: str, tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        host, _, path = repository.partition("/")
        base = f"https://{host}/v2/{path}"
        tags = (await port.world.wire.request("GET", f"{base}/tags/list")).json()["tags"]
        assert sorted(tags) == sorted(stand_ins.versions(name))
        manifest = (await port.world.wire.request("GET", f"{base}/manifests/{tags[-1]}")).json()
        layer = await port.world.wire.request("GET", f"{base}/blobs/{manifest['layers'][0]['digest']}")
        package = stand_ins.package(port.world.sandbox.state, name, tags[-1])
        assert layer.body == package.path.read_bytes()
        assert package.path.stat().st_mode & 0o777 == 0o600


async def test_helm_pulls_a_range_from_a_repository(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        helm = pytest.importorskip("helm_python")
        url = f"http://{port.address}/helm/charts.jetstack.io"

        def pull() -> None:
            helm.pull(
                "cert-manager",
                repo_url=url,
                version="~v1.16.0",
                destination=str(tmp_path),
                plain_http=True,
                username=OPERATOR_CLIENT_ID,
                password=OPERATOR_SECRET,
            )

        await asyncio.to_thread(pull)
        pulled = tmp_path / "cert-manager-v1.16.5.tgz"
        assert pulled.read_bytes() == stand_ins.package(port.world.sandbox.state, "cert-manager", "v1.16.5").path.read_bytes()


RANGES = [
    "*",
    "6.x",
    "~6.6",
    "^6.5.4",
    ">=6.6.0 <6.8.0",
    "6.5 - 6.7",
    "<6.7",
    "!=6.9.2",
    ">6.7",
    "<=6.8",
    "6.9.1",
    "6.5.x || 6.7.x",
    "=6.7",
]


async def test_ranges_choose_the_same_versions_as_helm(tmp_path: Path) -> None:
    """The version rules of the source-controller are compared with Helm's own (Masterminds/semver)."""
    async with served(tmp_path) as port:
        helm = pytest.importorskip("helm_python")
        url = f"http://{port.address}/helm/stefanprodan.github.io/podinfo"
        known = [found for text in stand_ins.versions("podinfo") if (found := semver.parse(text))]

        def pull(wanted: str) -> str:
            target = tmp_path / f"pulled-{RANGES.index(wanted)}"
            target.mkdir()
            helm.pull(
                "podinfo",
                repo_url=url,
                version=wanted,
                destination=str(target),
                plain_http=True,
                username=OPERATOR_CLIENT_ID,
                password=OPERATOR_SECRET,
            )
            return next(target.iterdir()).name.removeprefix("podinfo-").removesuffix(".tgz")

        for wanted in RANGES:
            chosen = semver.Constraint(wanted).highest(known)
            assert chosen is not None
            assert await asyncio.to_thread(pull, wanted) == chosen.original, wanted
