"""The exercises at the end of notebook 08 can be solved, and their checks tell right answers from wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from fleetlib.inspect.exercises import EXERCISES, check
from fleetlib.inspect.fleet import Fleet as Tables

pytestmark = pytest.mark.xdist_group("runbook")


def test_right_answers_are_accepted_and_wrong_ones_refused(fleet: Any) -> None:
    current = fleet("06")
    current.stage("06").wait()
    tables = Tables(current.session)
    assert [check(tables, name, None).right for name in EXERCISES] == [None] * 3

    pools = tables.pools().dropna(subset=["environment", "max"])
    growth = (pools["max"] - pools["count"]).groupby(pools.environment, observed=True).sum()
    assert check(tables, "growth", growth).right and growth.sum() == 4
    assert not check(tables, "growth", growth + 1).right and not check(tables, "growth", growth.iloc[:1]).right
    assert "dictionary" in check(tables, "growth", 5).words

    images = tables.workloads().images.dropna().str.split(", ").explode().reset_index().groupby("images").cluster.nunique()
    assert check(tables, "images", images).right, check(tables, "images", images)
    assert not check(tables, "images", images * 2).right and not check(tables, "images", {"nginx": 1}).right

    release = ("helm.toolkit.fluxcd.io/v2", "HelmRelease", "podinfoprod", "cluster-config")
    assert "no cluster in this table" in check(tables, "suspended", tables.clusters()).words
    current.session.hub.merge(*release, {"spec": {"suspend": True}})
    suspended = tables.clusters()
    assert "now resume it" in check(tables, "suspended", suspended).words
    current.session.hub.merge(*release, {"spec": {"suspend": False}})
    current.stage("06").wait()
    assert str(check(tables, "suspended", suspended)) == "✓ suspended: right"
