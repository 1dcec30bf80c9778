"""An edit of YAML changes one value and no other byte; Helm's own linter checks the chart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleetlib.clients.gitops import Chart, set_value
from fleetlib.errors import FinalError

CHART = Path(__file__).parents[2] / "charts" / "podinfocluster"

RELEASE = """\
# One environment
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
spec:
  interval: 5m
  values:        # what the chart takes
    clusterCount: 3   # more is easy
    location:   "eastus2"

    flux: {kustomizationPath: ./apps/production, branch: main}
---
second: document
"""


def test_one_value_changes_and_nothing_else() -> None:
    changed = set_value(RELEASE, ("spec", "values", "clusterCount"), 5)
    assert changed == RELEASE.replace("clusterCount: 3 ", "clusterCount: 5 ")


def test_flow_style_and_quotes_survive() -> None:
    changed = set_value(RELEASE, ("spec", "values", "flux", "branch"), "next")
    assert changed == RELEASE.replace("branch: main", "branch: next")


def test_a_new_key_is_added_to_its_mapping() -> None:
    changed = set_value(RELEASE, ("spec", "values", "kubernetesVersion"), "1.34")
    assert yaml.safe_load(changed.split("---")[0])["spec"]["values"]["kubernetesVersion"] == "1.34"
    assert changed.replace("    kubernetesVersion: '1.34'\n", "") == RELEASE


def test_the_second_document() -> None:
    assert set_value(RELEASE, (1, "second"), "changed") == RELEASE.replace("second: document", "second: changed")


def test_a_missing_parent_is_named() -> None:
    with pytest.raises(FinalError, match="the file does not have spec.nothing"):
        set_value(RELEASE, ("spec", "nothing", "key"), 1)


def test_broken_yaml_is_named() -> None:
    with pytest.raises(FinalError, match="not valid YAML"):
        set_value("a: [", ("a",), 1)


@given(st.one_of(st.integers(), st.booleans(), st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30)))
def test_any_scalar_reads_back_as_itself(value: object) -> None:
    changed = set_value(RELEASE, ("spec", "values", "clusterCount"), value)
    assert yaml.safe_load(changed.split("\n---\n")[0])["spec"]["values"]["clusterCount"] == value
    assert changed.endswith("second: document\n")


def test_helms_findings_are_lines_with_their_severity(tmp_path: Path) -> None:
    folder = shutil.copytree(CHART, tmp_path / "podinfocluster")
    assert Chart(folder).lint() == []
    (folder / "templates" / "broken.yaml").write_text("{{ if }}")
    [line] = Chart(folder).lint()
    assert line.startswith("ERROR templates/: parse error at (podinfocluster/templates/broken.yaml:1)")
