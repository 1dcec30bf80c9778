"""The table of costs: nodes times price times hours; a note, not a zero, where no price is recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fleetlib.inspect import prices
from fleetlib.parameters import Parameters
from tests.inspect.fleet_documents import Documents, at

PROD = "podinfo-prod-1-aks"


def pool_of(documents: Documents, name: str = PROD) -> Any:
    return documents.clusters[name]["properties"]["agentPoolProfiles"][0]


def test_a_pool_costs_its_nodes_now_and_its_limit_at_most() -> None:
    documents = Documents()
    pool_of(documents)["count"] = 2
    row = at(documents.fleet().costs(), "podinfo-prod", PROD, "pool/system")
    price = prices.node("Standard_D2as_v6", "eastus2")
    assert price is not None and price.hour == pytest.approx(0.091)
    assert (row.units, row.hour, row.month) == (2, pytest.approx(0.182), pytest.approx(132.86))
    assert row.month_max == pytest.approx(3 * 0.091 * 730)
    assert row.priced == datetime(2026, 8, 1, tzinfo=UTC)


def test_the_tier_is_a_row_of_its_own_and_the_hub_stands_apart() -> None:
    documents = Documents()
    documents.clusters[PROD]["sku"]["tier"] = "Standard"
    frame = documents.fleet().costs()
    assert at(frame, "podinfo-prod", PROD, "control plane").month == pytest.approx(73.0)
    assert at(frame, "podinfo-prod", "podinfo-prod-0-aks", "control plane").month == 0
    assert at(frame, "(control plane)", "asocluster-aks", "pool/system").units == 1


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"vmSize": "Standard_M128s"}, "no price is recorded for Standard_M128s in eastus2"),
        ({"vmSize": "Standard_E16-4as_v5"}, "no price is recorded for Standard_E16-4as_v5 in eastus2"),
        ({"vmSize": ""}, "no price is given for a pool whose nodes have several sizes"),
        ({"osType": "Windows"}, "no price is recorded for Windows nodes"),
        ({"scaleSetPriority": "Spot"}, "no price is recorded for spot nodes: it changes all the time"),
    ],
)
def test_a_pool_without_a_price_has_a_note_and_no_costs(changes: dict[str, str], note: str) -> None:
    documents = Documents()
    pool_of(documents).update(changes)
    row = at(documents.fleet().costs(), "podinfo-prod", PROD, "pool/system")
    assert row.note == note and row[["hour", "month", "month_max"]].isna().all() and row.units == 1


def test_a_tier_without_a_price_has_a_note() -> None:
    documents = Documents()
    documents.clusters[PROD]["sku"] = {"name": "Automatic", "tier": "Standard"}
    row = at(documents.fleet().costs(), "podinfo-prod", PROD, "control plane")
    assert row.note == "no price is recorded for the tier Automatic" and row[["hour", "month"]].isna().all()


def test_each_row_of_a_region_without_prices_has_a_note() -> None:
    documents = Documents()
    documents.clusters[PROD]["location"] = "brazilsouth"
    row = at(documents.fleet().costs(), "podinfo-prod", PROD, "pool/system")
    assert row.note == "no price is recorded for Standard_D2as_v6 in brazilsouth"


def test_a_stopped_cluster_has_no_cost_now_but_a_cost_at_its_limit() -> None:
    documents = Documents()
    documents.clusters[PROD]["properties"]["powerState"] = {"code": "Stopped"}
    row = at(documents.fleet().costs(), "podinfo-prod", PROD, "pool/system")
    assert (row.hour, row.month) == (0, 0) and row.month_max > 0 and "stopped" in row.note


@pytest.mark.parametrize("region", prices.regions())
def test_common_sizes_have_prices_in_every_region_and_cost_in_proportion(region: str) -> None:
    for size in (
        "Standard_D2as_v5",
        "standard_d4s_v5",
        "Standard_E4s_v5",
        "Standard_D2s_v3",
        "Standard_B2ms",
        "Standard_B2as_v2",
    ):
        found = prices.node(size, region)
        assert found is not None and 0.03 < found.hour < 0.6, size
    small, big = prices.node("Standard_D2as_v5", region), prices.node("Standard_D64as_v5", region)
    assert small and big and big.hour == pytest.approx(32 * small.hour, rel=0.01)


def test_the_default_parameters_have_prices() -> None:
    p = Parameters()
    assert prices.node(p.controlplane_vm_size, p.location) and prices.node(p.cluster_vm_size, p.location)
    assert {"Free", "Standard", "Premium"} == {
        name for name in ("Free", "Standard", "Premium", "recorded") if prices.tier(name)
    }
