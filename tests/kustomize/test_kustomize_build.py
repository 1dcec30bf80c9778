"""The sandbox's kustomize against goldens of the real one, and the goldens against the real one if its binary is built."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from azuresandbox.machine.kustomize import KustomizeError, Unsupported, build
from tests.kustomize.kustomize_cases import BINARY, CASES, TOP, Case, read, run_real


def _key(obj: dict[str, Any]) -> tuple[str, ...]:
    metadata = obj["metadata"]
    return (obj["apiVersion"], obj["kind"], metadata.get("namespace", ""), metadata["name"])


def _sorted(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(objects, key=_key)


@pytest.mark.parametrize("case", [read(path) for path in CASES], ids=lambda case: case.path.stem)
def test_build_is_what_the_real_kustomize_builds(case: Case) -> None:
    if case.error is not None:
        with pytest.raises(KustomizeError) as failure:
            build(case.files, case.folder, top=TOP)
        assert str(failure.value).strip() == case.error.strip()
    else:
        assert case.want is not None, "no golden: run python tests/kustomize/kustomize_cases.py"
        built = build(case.files, case.folder, top=TOP)
        assert _sorted(built) == _sorted(list(yaml.safe_load_all(case.want)))


@pytest.mark.skipif(not BINARY.exists(), reason="the real kustomize is not built: make -C tools/kustomize")
@pytest.mark.parametrize("case", [read(path) for path in CASES], ids=lambda case: case.path.stem)
def test_goldens_are_what_the_real_kustomize_builds(case: Case) -> None:
    want, error = run_real(case)
    assert (want, error) == (case.want, case.error)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("helmCharts: [{name: x}]", "helmCharts"),
        ("vars: [{name: X}]", "vars"),
        ("transformers: [t.yaml]", "transformers"),
        ("resources: ['https://github.com/example/repo//base?ref=v1']", "https://github.com/example/repo//base?ref=v1"),
    ],
)
def test_unsupported_fields_are_refused_by_name(text: str, name: str) -> None:
    with pytest.raises(Unsupported, match=name.replace("?", r"\?")):
        build({"kustomization.yaml": text.encode()}, ".")
