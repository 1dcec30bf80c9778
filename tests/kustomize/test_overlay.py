"""Flux's preparation of a build: the kustomization that it writes, and the spec that it adds to one."""

from __future__ import annotations

import pytest

from azuresandbox.machine.kustomize import KustomizeError, build, with_overlay
from azuresandbox.machine.kustomize.documents import parse_one

MAP = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
FILES = {
    "apps/b.yaml": MAP % b"b",
    "apps/a.yml": MAP % b"a",
    "apps/readme.md": b"# not a manifest",
    "apps/deep/er/c.yaml": MAP % b"c",
    "apps/own/kustomization.yaml": b"namePrefix: own-\nresources: [d.yaml]\n",
    "apps/own/d.yaml": MAP % b"d",
    "apps/own/ignored.yaml": MAP % b"ignored",
    "elsewhere.yaml": MAP % b"elsewhere",
}


def names(files: dict[str, bytes], path: str = "apps") -> list[str]:
    return [obj["metadata"]["name"] for obj in build(files, path)]


def test_a_folder_without_a_kustomization_builds_all_its_manifests() -> None:
    files = with_overlay(FILES, "apps", {}, top="/tmp/x")
    assert parse_one(files["apps/kustomization.yaml"])["resources"] == ["./a.yml", "./b.yaml", "./deep/er/c.yaml", "./own"]
    assert names(files) == ["a", "b", "c", "own-d"]


def test_an_empty_folder_builds_nothing() -> None:
    assert names(with_overlay({"apps/readme.md": b""}, "apps", {}, top="/tmp/x")) == []


def test_the_root_can_be_built() -> None:
    assert "elsewhere" in names(with_overlay(FILES, "", {}, top="/tmp/x"), ".")


def test_a_malformed_manifest_is_named() -> None:
    with pytest.raises(KustomizeError) as failure:
        with_overlay({"apps/x.yaml": b"a: b: c"}, "apps", {}, top="/tmp/x")
    text = "failed to decode Kubernetes YAML from /tmp/x/apps/x.yaml: yaml: mapping values are not allowed in this context"
    assert str(failure.value) == text


def test_images_of_the_spec_win_over_those_of_the_file() -> None:
    pod = b"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: 'app:1'}]}\n"
    digest = "sha256:" + "0" * 64
    own = f"resources: [p.yaml]\nimages: [{{name: app, newName: mirror/app, digest: '{digest}'}}]\n".encode()
    files = {"kustomization.yaml": own, "p.yaml": pod}
    overlaid = with_overlay(files, "", {"images": [{"name": "app", "newTag": "2"}]}, top="/tmp/x")
    assert build(overlaid, ".")[0]["spec"]["containers"][0]["image"] == "mirror/app:2"


def test_missing_components_are_an_error_unless_ignored() -> None:
    files = {"kustomization.yaml": b"resources: [a.yaml]\n", "a.yaml": MAP % b"a"}
    with pytest.raises(KustomizeError):
        build(with_overlay(files, "", {"components": ["components/none"]}, top="/tmp/x"), ".")
    assert names(with_overlay(files, "", {"components": ["components/none"], "ignoreMissingComponents": True}, top="/x"), ".")
    with pytest.raises(KustomizeError, match="must be local and relative"):
        with_overlay(files, "", {"components": ["https://example.org/c"]}, top="/tmp/x")
