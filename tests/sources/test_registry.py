"""The OCI registry: the distribution spec over HTTP, and the Helm SDK as a client of it."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from azuresandbox.context import OPERATOR_CLIENT_ID
from azuresandbox.sources.oci_store import digest_of
from azuresandbox.wire import Response, Unreachable
from tests.harness import OPERATOR_SECRET
from tests.sources.served_sources import OPERATOR, Port, served

HOST = "contoso.azurecr.io"
REPOSITORY = f"{HOST}/charts/podinfocluster"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Client:
    """The operator at the registry of a world."""

    def __init__(self, port: Port) -> None:
        self.port = port

    async def call(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Response:
        url = self.port.world.url(path if path.startswith("/v2") else f"/v2/{REPOSITORY}/{path}")
        return await self.port.world.wire.request(method, url, headers={**OPERATOR, **(headers or {})}, body=body)

    async def blob(self, data: bytes) -> dict[str, Any]:
        answer = await self.call("POST", f"blobs/uploads/?digest={digest_of(data)}", data)
        assert answer.status == 201
        return {"digest": digest_of(data), "size": len(data), "mediaType": "application/octet-stream"}

    async def manifest(self, tag: str, text: str = "layer", **extra: Any) -> tuple[bytes, Response]:
        layer, config = await self.blob(text.encode()), await self.blob(b"{}")
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer], **extra}
        data = json.dumps(document).encode()
        return data, await self.call("PUT", f"manifests/{tag}", data, {"content-type": MANIFEST})


def code(response: Response) -> str:
    return str(response.json()["errors"][0]["code"])


async def test_push_and_pull(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        client = Client(port)
        data, answer = await client.manifest("0.1.0")
        assert (answer.status, answer.headers["docker-content-digest"]) == (201, digest_of(data))
        for reference in ("0.1.0", digest_of(data)):
            found = await client.call("GET", f"manifests/{reference}")
            assert (found.status, found.body, found.headers["content-type"]) == (200, data, MANIFEST)
            head = await client.call("HEAD", f"manifests/{reference}")
            assert (head.body, head.headers["content-length"]) == (b"", str(len(data)))
        blob = await client.call("GET", f"blobs/{digest_of(b'layer')}", headers={"range": "bytes=1-3"})
        assert (blob.status, blob.body, blob.headers["content-range"]) == (206, b"aye", "bytes 1-3/5")


async def test_chunked_upload(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        client = Client(port)
        location = (await client.call("POST", "blobs/uploads/")).headers["location"]
        first = await client.call("PATCH", location, b"hello ", {"content-range": "0-5"})
        assert (first.status, first.headers["range"]) == (202, "0-5")
        assert (await client.call("PATCH", location, b"x", {"content-range": "9-9"})).status == 416
        assert (await client.call("GET", location)).headers["range"] == "0-5"
        await client.call("PATCH", location, b"wor", {"content-range": "6-8"})
        done = await client.call("PUT", f"{location}?digest={digest_of(b'hello world')}", b"ld")
        assert (done.status, done.headers["docker-content-digest"]) == (201, digest_of(b"hello world"))
        assert (await client.call("GET", f"blobs/{digest_of(b'hello world')}")).body == b"hello world"
        assert code(await client.call("PATCH", location, b"more")) == "BLOB_UPLOAD_UNKNOWN"


async def test_content_that_contradicts_its_digest_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        client = Client(port)
        wrong = await client.call("POST", f"blobs/uploads/?digest={digest_of(b'other')}", b"this")
        assert (wrong.status, code(wrong)) == (400, "DIGEST_INVALID")
        data, _ = await client.manifest("0.1.0")
        by_digest = await client.call("PUT", f"manifests/{digest_of(b'x')}", data, {"content-type": MANIFEST})
        assert code(by_digest) == "DIGEST_INVALID"
        assert code(await client.call("PUT", "manifests/1", data, {"content-type": "text/plain"})) == "MANIFEST_INVALID"
        assert code(await client.call("PUT", "manifests/1", b"[", {"content-type": MANIFEST})) == "MANIFEST_INVALID"
        unknown = json.dumps({"mediaType": MANIFEST, "config": {"digest": digest_of(b"gone")}, "layers": []}).encode()
        assert code(await client.call("PUT", "manifests/1", unknown, {"content-type": MANIFEST})) == "MANIFEST_BLOB_UNKNOWN"
        assert code(await client.call("PUT", "manifests/-bad", data, {"content-type": MANIFEST})) == "TAG_INVALID"


async def test_missing_content_is_named(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        client = Client(port)
        missing = await client.call("GET", "manifests/0.1.0")
        assert (missing.status, missing.json()["errors"][0]) == (
            404,
            {
                "code": "NAME_UNKNOWN",
                "message": "repository name not known to registry",
                "detail": {"name": "charts/podinfocluster"},
            },
        )
        assert code(await client.call("GET", "tags/list")) == "NAME_UNKNOWN"
        await client.manifest("0.1.0")
        assert (await client.call("GET", "manifests/0.2.0")).json()["errors"][0] == {
            "code": "MANIFEST_UNKNOWN",
            "message": "manifest unknown",
            "detail": "unknown tag=0.2.0",
        }
        assert code(await client.call("GET", f"blobs/{digest_of(b'gone')}")) == "BLOB_UNKNOWN"


async def test_tags_are_paged(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        client = Client(port)
        for tag in ("0.1.0", "0.2.0", "0.3.0"):
            await client.manifest(tag)
        first = await client.call("GET", "tags/list?n=2")
        assert first.json() == {"name": REPOSITORY, "tags": ["0.1.0", "0.2.0"]}
        following = first.headers["link"].partition(">")[0].lstrip("<")
        last = await client.call("GET", following)
        assert (last.json()["tags"], "link" in last.headers) == (["0.3.0"], False)


async def test_deleting_a_tag_leaves_the_manifest_and_deleting_that_takes_its_tags(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        client = Client(port)
        data, _ = await client.manifest("0.1.0")
        await client.call("PUT", "manifests/latest", data, {"content-type": MANIFEST})
        assert (await client.call("DELETE", "manifests/latest")).status == 202
        assert (await client.call("GET", "tags/list")).json()["tags"] == ["0.1.0"]
        assert (await client.call("DELETE", f"manifests/{digest_of(data)}")).status == 202
        assert (await client.call("GET", "manifests/0.1.0")).status == 404


async def test_referrers_and_mounts(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        client = Client(port)
        data, _ = await client.manifest("0.1.0")
        subject = {"mediaType": MANIFEST, "digest": digest_of(data), "size": len(data)}
        signature, answer = await client.manifest("sig", subject=subject, artifactType="application/vnd.test.signature")
        assert answer.headers["oci-subject"] == digest_of(data)
        found = (await client.call("GET", f"referrers/{digest_of(data)}")).json()["manifests"]
        assert [item["digest"] for item in found] == [digest_of(signature)]
        other = await client.call("GET", f"referrers/{digest_of(data)}?artifactType=none")
        assert (other.json()["manifests"], other.headers["oci-filters-applied"]) == ([], "artifactType")
        mounted = await client.call(
            "POST", f"/v2/{HOST}/charts/other/blobs/uploads/?mount={digest_of(b'layer')}&from={REPOSITORY}"
        )
        assert mounted.status == 201
        assert (await client.call("GET", f"/v2/{HOST}/charts/other/blobs/{digest_of(b'layer')}")).body == b"layer"


async def test_signing_in(tmp_path: Path) -> None:
    """Requests without credentials get a challenge; a token issued for Basic credentials is accepted, another token is not."""
    async with served(tmp_path) as port:
        wire, url = port.world.wire, port.world.url
        refused = await wire.request("GET", url(f"/v2/{REPOSITORY}/tags/list"))
        assert (refused.status, code(refused)) == (401, "UNAUTHORIZED")
        assert refused.headers["www-authenticate"] == (
            'Bearer realm="https://127.0.0.1:8443/oauth2-registry/token",service="127.0.0.1:8443",'
            f'scope="repository:{REPOSITORY}:pull"'
        )
        issued = await wire.request("GET", url("/oauth2-registry/token?service=x&scope=y"), headers=OPERATOR)
        token = issued.json()["token"]
        assert (await wire.request("GET", url("/v2/"), headers={"authorization": f"Bearer {token}"})).status == 200
        assert (await wire.request("GET", url("/v2/"), headers={"authorization": "Bearer forged"})).status == 401
        wrong = base64.b64encode(f"{OPERATOR_CLIENT_ID}:wrong".encode()).decode()
        answer = await wire.request("GET", url("/oauth2-registry/token"), headers={"authorization": f"Basic {wrong}"})
        assert answer.status == 401
        assert issued.headers["cache-control"] == "no-store"


async def test_clusters_pull_through_the_mirror_and_do_not_push(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        data, _ = await Client(port).manifest("0.1.0")
        base = f"https://{HOST}/v2/charts/podinfocluster"
        pulled = await port.world.wire.request("GET", f"{base}/manifests/0.1.0")
        assert pulled.body == data
        pushed = await port.world.wire.request("PUT", f"{base}/manifests/0.2.0", headers={"content-type": MANIFEST}, body=data)
        assert (pushed.status, code(pushed)) == (403, "DENIED")


async def test_an_unreachable_registry_fails_its_ping(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        await Client(port).manifest("0.1.0")
        port.world.sandbox.faults.arm("registry-unreachable", f"https://{HOST}")
        with pytest.raises(Unreachable, match=f"^dial tcp: lookup {HOST}: i/o timeout$"):
            await port.world.wire.request("GET", f"https://{HOST}/v2/")
        assert (await port.world.wire.request("GET", f"https://{HOST}/v2/")).status == 200


async def test_pushed_content_survives_the_process(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        from azuresandbox.sources.oci_store import OciStore

        data, _ = await Client(port).manifest("0.1.0")
        again = OciStore(port.world.sandbox.store, port.world.sandbox.state / "oci")
        manifest = again.manifest(REPOSITORY, "0.1.0")
        assert manifest is not None
        assert again.content(manifest) == data
        kept = [path for path in (port.world.sandbox.state / "oci").rglob("*") if path.is_file()]
        assert kept
        assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}


async def test_helm_pushes_and_pulls_a_chart(tmp_path: Path) -> None:
    async with served(tmp_path) as port:
        helm = pytest.importorskip("helm_python")
        chart = tmp_path / "podinfocluster"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: podinfocluster\nversion: 0.3.0\n")
        (chart / "templates/cm.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n")

        def push_and_pull() -> dict[str, Any]:
            packed = helm.package(str(chart), destination=str(tmp_path))
            registry = helm.RegistryClient(plain_http=True, credentials_file=str(tmp_path / "auth.json"))
            registry.login(port.address, OPERATOR_CLIENT_ID, OPERATOR_SECRET, plain_http=True)
            helm.push(packed, f"oci://{port.address}/{HOST}/charts", client=registry, plain_http=True)
            return {"tags": registry.tags(f"{port.address}/{REPOSITORY}")}

        assert (await asyncio.to_thread(push_and_pull))["tags"] == ["0.3.0"]
        pulled = await port.world.wire.request("GET", f"https://{HOST}/v2/charts/podinfocluster/manifests/0.3.0")
        assert pulled.json()["layers"][0]["mediaType"] == "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


async def test_oras_pushes_and_reads(tmp_path: Path) -> None:
    """The same client as fleetlib uses to publish charts."""
    async with served(tmp_path) as port:
        oras = pytest.importorskip("oras.client")
        (tmp_path / "layer.tgz").write_bytes(b"layer")
        (tmp_path / "config.json").write_text("{}")
        target = f"{port.address}/{REPOSITORY}"

        def push_and_read() -> str:
            client = oras.OrasClient(hostname=port.address, insecure=True)
            client.auth.set_basic_auth(OPERATOR_CLIENT_ID, OPERATOR_SECRET)
            with pytest.raises(ValueError, match="Not Found"):
                client.get_manifest(f"{target}:0.1.0")
            client.push(
                target=f"{target}:0.1.0",
                files=[f"{tmp_path}/layer.tgz:application/x.layer"],
                manifest_config=f"{tmp_path}/config.json:application/x.config",
                disable_path_validation=True,
                quiet=True,
            )
            manifest = client.get_manifest(f"{target}:0.1.0")
            return str(manifest["layers"][0]["digest"])

        assert await asyncio.to_thread(push_and_read) == digest_of(b"layer")
