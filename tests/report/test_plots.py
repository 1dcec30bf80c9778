"""The plots: legible for colour-blind readers and in grey, described in words, and small with 1,000 clusters."""

from __future__ import annotations

import base64
import itertools
import re
import xml.etree.ElementTree as ElementTree
from xml.sax.saxutils import unescape

import pandas
import pytest

from fleetlib.inspect import plots
from fleetlib.inspect.drawing import FILLS, STEPS, Plot, contrast, ink, luminance
from tests.inspect.fleet_documents import Documents
from tests.report import some_reports

MATRICES = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "grey": ((0.2126, 0.7152, 0.0722),) * 3,
}
"""Over linear RGB. Source: Machado, Oliveira and Fernandes 2009, severity 1.0; grey is relative luminance."""


def _lab(colour: str, matrix: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """Return CIE L*a*b* (D65) of the colour as seen through the matrix."""
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    r, g, b = (min(max(sum(m * c for m, c in zip(row, linear, strict=True)), 0), 1) for row in matrix)
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883,
    )
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("sight", MATRICES)
@pytest.mark.parametrize(
    "palette",
    [tuple(FILLS.values()), STEPS, (*(colour for _, colour in plots.STAGES.values()), plots.UNFINISHED)],
    ids=["status", "steps", "stages"],
)
def test_the_colours_of_one_plot_differ_for_every_kind_of_sight(sight: str, palette: tuple[str, ...]) -> None:
    """A difference of 10 is visible at a glance (CIE 1976); neighbours in a bar also have a gap and a number."""
    for one, other in itertools.combinations(palette, 2):
        a, b = _lab(one, MATRICES[sight]), _lab(other, MATRICES[sight])
        assert sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5 >= 10, (sight, one, other)


def test_numbers_on_bars_are_legible_and_steps_get_lighter() -> None:
    assert all(
        contrast(colour, {"#fff": "#ffffff", "#000": "#000000"}[ink(colour)]) >= 4.5 for colour in (*FILLS.values(), *STEPS)
    )
    assert [*STEPS] == sorted(STEPS, key=luminance)


def _all(count: int, broken: tuple[int, ...] = (1,)) -> list[Plot]:
    return _of(some_reports.documents(count, broken))


def _of(documents: Documents) -> list[Plot]:
    fleet = some_reports.fleet(documents)
    clusters = fleet.clusters()
    start = pandas.to_datetime("2026-11-23T12:00:00Z")
    steps = range(len(clusters))
    history = pandas.DataFrame(
        {"time": [start + pandas.Timedelta(seconds=5 * n) for n in steps], "compliant": steps, "clusters": len(clusters)}
    )
    return [
        plots.topology("asocluster-aks", clusters, fleet.sources()),
        plots.environments(clusters),
        plots.versions(fleet.versions()),
        plots.provisioning(fleet.operations()),
        plots.compliance(history),
        plots.nodes(fleet.pools()),
        plots.cost(fleet.costs()),
    ]


@pytest.mark.parametrize("count", [3, 60, 1000])
def test_plots_are_well_formed_described_and_inside_their_box(count: int) -> None:
    for plot in _all(count):
        root = ElementTree.fromstring(plot.svg)
        _, _, width, height = map(float, root.get("viewBox", "").split())
        assert root.get("role") == "img" and root.get("aria-label") == plot.alt and plot.title in plot._repr_html_()
        assert len(plot.svg) < 400_000 and height < 1600, plot.name
        for box in root.iter("{http://www.w3.org/2000/svg}rect"):
            assert float(box.get("x", 0)) >= 0 and float(box.get("x", 0)) + float(box.get("width", 0)) <= width + 0.5, (
                plot.name,
                box.attrib,
            )
            assert float(box.get("y", 0)) + float(box.get("height", 0)) <= height + 0.5, (plot.name, box.attrib)


@pytest.mark.parametrize("plot", _all(3), ids=lambda plot: plot.name)
def test_a_notebook_shows_a_plot_as_an_image_that_needs_no_trust(plot: Plot) -> None:
    html = plot._repr_html_()
    assert "<svg" not in html, "JupyterLab strips it from stored outputs"
    [source] = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    root = ElementTree.fromstring(base64.b64decode(source))
    assert root[0].get("fill") == "#fff", "black text needs a white ground on a dark page"
    assert [part.tag for part in root[1:]] == [part.tag for part in ElementTree.fromstring(plot.svg)]
    [shown] = re.findall(r'alt=("[^"]*"|\'[^\']*\')', html)
    assert unescape(shown[1:-1], {"&quot;": '"'}) == plot.alt


def test_a_plots_description_has_the_values_of_the_tables() -> None:
    topology, environments, versions, timeline, compliance, nodes, cost = _all(6)
    assert "podinfo-prod: 1 ✓ ok, 1 ✗ broken" in environments.alt and "podinfo-dev: 2 ✓ ok" in environments.alt
    assert "podinfo-dev: 2 1.34.1" in versions.alt and "(control plane): 1 1.35.8;" in versions.alt
    assert "of 6 clusters" in timeline.alt and "the median took 10 min" in timeline.alt and "1 not finished" in timeline.alt
    assert "from 0 of 6 clusters" in compliance.alt and "to 5 of 6 after 25 s" in compliance.alt
    assert "podinfo-prod: 3 of 6" in nodes.alt and "(control plane): 1 of 3" in nodes.alt
    assert (
        "podinfo-dev: 332 of 399; " in cost.alt
        and "recorded from 2024-11-01 on" in cost.alt
        and "nodes and AKS tiers only" in cost.alt
    )
    assert (
        "cluster-config, aso-cluster-charts feed the hub asocluster-aks" in topology.alt
        and "podinfo-prod with 2 clusters, 1 ok" in topology.alt
    )


def test_a_version_that_the_region_no_longer_offers_is_marked() -> None:
    documents = some_reports.documents(3)
    documents.control_plane["asocluster-aks"]["properties"]["currentKubernetesVersion"] = "1.33.2"
    assert "(control plane): 1 1.33.2 (not supported)" in plots.versions(some_reports.fleet(documents).versions()).alt


def test_a_layers_time_begins_at_the_end_of_the_previous_one() -> None:
    """ASO creates all objects at the same time."""
    timeline = _all(3, broken=())[3]
    for words in re.findall(r"<g><title>(.*?)</title>", timeline.svg):
        assert re.fullmatch(r"podinfo-\w+-0-aks: the cluster 4 min, its Flux 3 min, Flux's first apply 3 min", words)
    unfinished = re.findall(r"<title>(podinfo-prod-0-aks: .*?)</title>", _all(3)[3].svg)
    assert len(unfinished) == 1 and unfinished[0].endswith("so far") and "its Flux" not in unfinished[0]


def test_bars_of_clusters_created_far_apart_start_at_their_own_beginnings() -> None:
    documents = some_reports.documents(3)
    for kind in ("ManagedCluster", "Extension", "FluxConfiguration"):
        obj = documents.hub[kind][0]
        obj["metadata"]["creationTimestamp"] = obj["metadata"]["creationTimestamp"].replace("2026", "2025")
        obj["status"]["conditions"][0]["lastTransitionTime"] = obj["status"]["conditions"][0]["lastTransitionTime"].replace(
            "2026", "2025"
        )
    far, near = _of(documents)[3], _all(3, broken=())[3]
    note = "each bar from its own beginning"
    assert note in far.svg and note not in near.svg
    widths = [float(width) for width in re.findall(r'<g>.*?width="([\d.]+)"', far.svg)]
    assert len(widths) == 3 and min(widths) > 50, "on a scale of a year the bars would be invisible"


def test_one_broken_cluster_among_a_thousand_is_visible() -> None:
    environments = _all(1000)[1]
    [width] = [
        float(box.get("width", 0))
        for box in ElementTree.fromstring(environments.svg).iter("{http://www.w3.org/2000/svg}rect")
        if box.get("fill") == FILLS["broken"] and box.get("height") == "20"
    ]
    assert width >= 3


def test_a_pool_without_a_price_is_named_and_not_counted_as_free() -> None:
    documents = some_reports.documents(2)
    documents.clusters["podinfo-prod-0-aks"]["properties"]["agentPoolProfiles"][0]["vmSize"] = "Standard_M128s"
    cost = _of(documents)[6]
    assert "podinfo-prod: 0, 1 without price" in cost.alt and "podinfo-dev: 66 of 199;" in cost.alt


def test_an_empty_plot_says_so() -> None:
    for plot in _of(Documents({}))[:5]:
        assert plots.NOTHING in plot.alt or "no environments" in plot.alt or plot.name == "versions", plot.alt


def test_a_long_name_stays_inside_its_plot() -> None:
    long = "podinfo-" + "a-very-long-environment-" * 3 + "prod"
    for plot in _of(Documents({long: 1, "podinfo-b": 1})):
        for words in ElementTree.fromstring(plot.svg).iter("{http://www.w3.org/2000/svg}text"):
            if words.get("text-anchor") == "end":
                assert float(words.get("x", 0)) - 7.2 * len(words.text or "") > -1, (plot.name, words.text)
