"""Plots of the fleet, for notebooks and the report.

Each function takes tables of `Fleet` and returns a `Plot` that stays readable with 1,000 clusters. This module reads no data.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fleetlib.inspect.columns import HUB, NONE, SIGNS, STATUS
from fleetlib.inspect.drawing import FILLS, STEPS, WIDTH, Plot, bar, ink, legend, line, path, plot, rect, text, ticks

if TYPE_CHECKING:
    import pandas

ROW = 30
BAR = "#3b6ea8"
NAMED = 40
"""The most bars that are shown with their names."""

FEEDS = {"GitRepository": "Git", "OCIRepository": "OCI", "HelmRepository": "Helm", "Bucket": "bucket"}
"""Kind of a source -> its short name."""

WORDS = {name: f"{SIGNS[name]} {name}" for name in STATUS}
NOTHING = "There is nothing to show yet."


def environments(clusters: pandas.DataFrame) -> Plot:
    """Draw the clusters by environment, split by their status."""
    order = list(reversed(STATUS))  # `ok` first, so that its lengths can be compared
    counts = _counts(_named(clusters.environment), clusters.status.astype(str), order)
    return _stacked("environments", "Clusters by environment", "clusters", counts, {name: FILLS[name] for name in order}, WORDS)


def versions(versions: pandas.DataFrame) -> Plot:
    """Draw the Kubernetes versions of the control planes by environment, oldest darkest; unsupported ones are marked."""
    rows = versions[versions.index.get_level_values("component").astype(str) == "kubernetes"]
    environment, known = _named(rows.environment, HUB), rows.version.astype(object).where(rows.version.notna(), "unknown")
    order = sorted({str(name) for name in known}, key=_version)
    steps = STEPS if len(order) > 1 else STEPS[1:]
    colours = {name: steps[n * (len(steps) - 1) // max(len(order) - 1, 1)] for n, name in enumerate(order)}
    old = {str(name) for name, supported in zip(known, rows.supported.astype(object), strict=True) if supported is False}
    words = {name: f"{name} (not supported)" if name in old else name for name in order}
    return _stacked(
        "versions", "Kubernetes versions by environment", "clusters", _counts(environment, known, order), colours, words
    )


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in str(name).split("."))


def _named(environment: Any, otherwise: str = NONE) -> list[str]:
    return [otherwise if name != name or not name else str(name) for name in environment.astype(object)]


Counts = dict[str, dict[str, float]]
"""Environment -> (value -> number)."""


def _counts(environment: Iterable[str], what: Any, order: list[str]) -> Counts:
    found: Counts = {}
    for row, name in zip(environment, what, strict=True):
        row_counts = found.setdefault(row, dict.fromkeys(order, 0))
        row_counts[str(name)] += 1
    return dict(sorted(found.items()))


def _stacked(name: str, title: str, unit: str, counts: Counts, colours: dict[str, str], words: dict[str, str]) -> Plot:
    if not counts:
        return _nothing(name, title)
    left = _left(counts)
    scale, axis = _scale(max(sum(row.values()) for row in counts.values()), left)
    parts = _axis(axis, scale, left, ROW * len(counts), unit)
    for number, (environment, row) in enumerate(counts.items()):
        y, x = number * ROW + 6, left
        parts.append(_label(left, y, environment))
        for what, count in row.items():
            width = max(count * scale, 4.0) if count else 0  # one cluster in a thousand must be visible
            if count:
                parts.append(rect(x, y, width - 1, 20, colours[what], f"{environment}: {count:g} {words[what]}"))
            if width > 14 + 7 * len(f"{count:g}"):
                parts.append(text(x + width / 2, y + 14.5, f"{count:g}", anchor="middle", fill=ink(colours[what]), bold=True))
            x += width
        parts.append(text(x + 6, y + 14.5, f"{sum(row.values()):g}", soft=True))
    used = [what for what in colours if any(row.get(what) for row in counts.values())]
    bottom = ROW * len(counts) + 52
    entries, height = legend(bottom, [(words[what], colours[what]) for what in used])
    said = "; ".join(f"{env}: " + ", ".join(f"{n:g} {words[w]}" for w, n in row.items() if n) for env, row in counts.items())
    return plot(name, title, f"{title}. {said}.", [*parts, *entries], height + 12)


def _nothing(name: str, title: str) -> Plot:
    return plot(name, title, f"{title}. {NOTHING}", [text(8, 20, NOTHING, soft=True)], 34)


def _label(left: float, y: float, words: str) -> str:
    """Return the label at the left of a bar, cut if it is longer than the space."""
    room = int((left - 14) / 7.2)
    return text(left - 10, y + 14, words if len(words) <= room else words[: room - 1] + "…", anchor="end")


def _left(names: Any) -> float:
    return min(20 + 7.2 * max((len(str(name)) for name in names), default=4), WIDTH * 0.4)


def _scale(most: float, left: float, right: float = 60) -> tuple[float, list[float]]:
    axis = ticks(most)
    return (WIDTH - left - right) / max(axis[-1], 1e-9), axis


def _axis(axis: list[float], scale: float, left: float, height: float, unit: str) -> list[str]:
    parts = []
    for value in axis:
        x = left + value * scale
        parts += [line(x, 0, x, height + 4, opacity=0.18), text(x, height + 20, f"{value:,g}", anchor="middle", soft=True)]
    return [*parts, text(WIDTH - 4, height + 38, unit, anchor="end", soft=True)]


# --- time -------------------------------------------------------------------------------------------------------------

STAGES = {"arm": ("the cluster", STEPS[1]), "extension": ("its Flux", STEPS[3]), "flux": ("Flux's first apply", STEPS[4])}
"""Layer -> (label, colour), in the order in which a cluster is created."""
UNFINISHED = FILLS["broken"]


LONG = 20
"""If the creation of all clusters spans more than this many times the slowest one, all bars start at the left edge:
otherwise they would be too short to see."""


def provisioning(operations: pandas.DataFrame) -> Plot:
    """Draw when each cluster was created: one bar for each, split by layer; an unfinished layer has another colour.

    The bars of clusters that were created far apart in time all begin at the left edge. With more than `NAMED` clusters the
    bars are thin and have no names; an environment's clusters stay together.
    """
    title = "Provisioning timeline"
    bars = _bars(operations)
    if not bars:
        return _nothing("provisioning", title)
    begin, span, apart = _span(bars)
    named = len(bars) <= NAMED
    left = _left([name for name, _, _ in bars] if named else {environment for _, environment, _ in bars})
    step, scale = 18.0 if named else max(600 / len(bars), 0.6), (WIDTH - left - 90) / span
    drawn, seen = [], ""
    for number, (name, environment, parts) in enumerate(bars):
        y, zero = number * step + 4, parts[0][1] if apart else begin
        if not named and environment != seen:
            seen = environment
            drawn += [line(0, y - 1, WIDTH, y - 1, opacity=0.2), _label(left, y - 2, seen)]
        ends = [min((stop - zero).total_seconds(), span * 1.02) for _, _, stop, _ in parts]
        begins = [(start - zero).total_seconds() for _, start, _, _ in parts]
        words = f"{name}: " + ", ".join(f"{STAGES[part[0]][0]} {_lasted(part)}" for part in parts)
        shapes = [
            (left + x * scale, (stop - x) * scale, STAGES[p[0]][1] if p[3] else UNFINISHED)
            for x, stop, p in zip(begins, ends, parts, strict=True)
        ]
        drawn.append(bar(y, step * (0.72 if named else 1.7), shapes, words))
        drawn += (
            [_label(left, y - 3, name), text(left + ends[-1] * scale + 6, y + 11, _took(parts), soft=True)] if named else []
        )
    height = step * len(bars) + 4
    drawn += [
        line(left, height, WIDTH - 90, height, opacity=0.4),
        text(left, height + 16, "each bar from its own beginning" if apart else f"{begin:%Y-%m-%d %H:%M:%S}", soft=True),
        text(WIDTH - 90, height + 16, f"+ {duration(span)}", anchor="end", soft=True),
    ]
    at_it = sum(not parts[-1][3] for _, _, parts in bars)
    entries = [STAGES[layer] for layer in STAGES if any(part[0] == layer and part[3] for _, _, parts in bars for part in parts)]
    shown, bottom = legend(height + 42, [*entries, *([("not finished", UNFINISHED)] if at_it else [])])
    lasted = sorted(_seconds(parts) for _, _, parts in bars)
    alt = (
        f"{title} of {len(bars)} clusters, the first begun at {begin:%Y-%m-%d %H:%M:%S}; "
        f"the median took {duration(lasted[len(lasted) // 2])}, the longest {duration(lasted[-1])}; {at_it} not finished."
    )
    return plot("provisioning", title, alt, [*drawn, *shown], bottom + 12)


def _span(bars: list[Bar]) -> tuple[Any, float, bool]:
    """Return (first beginning, seconds that the drawing spans, whether each bar starts at its own beginning)."""
    begin = min(parts[0][1] for _, _, parts in bars)
    whole = max((max(parts[-1][2] for _, _, parts in bars) - begin).total_seconds(), 1.0)
    longest = max((_seconds(parts) for _, _, parts in bars if parts[-1][3]), default=0.0)
    if longest and whole > LONG * longest:
        return begin, longest * 1.25, True
    return begin, whole, False


def _seconds(parts: list[Part]) -> float:
    return (parts[-1][2] - parts[0][1]).total_seconds()


def _lasted(part: Part) -> str:
    return duration((part[2] - part[1]).total_seconds()) + ("" if part[3] else " so far")


Part = tuple[str, Any, Any, bool]
"""(layer, start, end, whether it is finished): a part of a cluster's creation."""

Bar = tuple[str, str, list[Part]]
"""(cluster, environment, parts)."""


def _bars(operations: pandas.DataFrame) -> list[Bar]:
    """Return one bar for each cluster, sorted by environment and beginning."""
    import pandas

    rows = operations.reset_index()
    rows = rows[rows.layer.astype(str).isin(list(STAGES)) & rows.started.notna()]
    if rows.empty:
        return []
    now = max(rows.started.max(), (rows.started + pandas.to_timedelta(rows.seconds.astype(float), unit="s")).max())
    found: dict[str, tuple[str, dict[str, tuple[Any, Any]]]] = {}
    names, environments = rows.cluster.astype(str), _named(rows.environment)
    for name, environment, layer, start, end in zip(
        names, environments, rows.layer.astype(str), rows.started, rows.ended, strict=True
    ):
        found.setdefault(name, (environment, {}))[1][layer] = (start, end)
    bars = [(name, environment, _in_turn(layers, now)) for name, (environment, layers) in found.items()]
    return sorted(bars, key=lambda bar: (bar[1], bar[2][0][1]))


def _in_turn(layers: dict[str, tuple[Any, Any]], now: Any) -> list[Part]:
    """Return the parts of a bar: a layer counts from the end of the previous one; after an unfinished one there are no more."""
    parts: list[Part] = []
    for layer in STAGES:
        start, end = layers.get(layer, (None, None))
        if start is None:
            continue
        begin = max(start, parts[-1][2]) if parts else start
        if end != end or end is None:
            return [*parts, (layer, begin, max(now, begin), False)]
        parts.append((layer, begin, max(end, begin), True))
    return parts


def _took(parts: list[Part]) -> str:
    return duration(_seconds(parts)) + ("" if parts[-1][3] else " …")


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return (
        f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
        if seconds < 172800
        else f"{seconds / 86400:.0f} days"
    )


def compliance(history: pandas.DataFrame) -> Plot:
    """Draw compliant clusters over time. `history`: `time`, `compliant`, `clusters`, one row for each report."""
    rows = history.sort_values("time")
    title = "Compliance over time"
    if rows.empty:
        return _nothing("compliance", title)
    begin, span = rows.time.iloc[0], max((rows.time.iloc[-1] - rows.time.iloc[0]).total_seconds(), 1.0)
    left, top, height = 50.0, 22.0, 200.0
    axis = ticks(max(float(rows.clusters.max()), 1.0))
    across, up = (WIDTH - left - 160) / span, (height - top) / axis[-1]
    right = WIDTH - 150
    parts = []
    for value in axis:
        y = height - value * up
        parts += [line(left, y, right, y, opacity=0.18), text(left - 8, y + 4, f"{value:,g}", anchor="end", soft=True)]
    labels = []
    for column, colour, width, dash in (("clusters", "#7a838c", 2.0, "6 4"), ("compliant", "#0f8f6e", 3.5, "")):
        points: list[tuple[float, float]] = []
        for when, value in zip(rows.time, rows[column], strict=True):
            x, y = left + (when - begin).total_seconds() * across, height - float(value) * up
            points += [(x, points[-1][1]), (x, y)] if points else [(x, y)]
        points.append((right, points[-1][1]))
        parts.append(path(points, colour, width, dash))
        labels.append((column, points[-1][1], int(rows[column].iloc[-1])))
    apart = 0 if abs(labels[0][1] - labels[1][1]) > 15 else 8
    parts += [
        text(right + 6, y + 4 + (apart if n else -apart), f"{value:,} {column}", bold=bool(n))
        for n, (column, y, value) in enumerate(labels)
    ]
    parts += [
        text(left, height + 20, f"{begin:%Y-%m-%d %H:%M:%S}", soft=True),
        text(right, height + 20, f"+ {duration(span)}" if len(rows) > 1 else "one reading so far", anchor="end", soft=True),
    ]
    last = rows.iloc[-1]
    alt = f"{title}: from {int(rows.compliant.iloc[0])} of {int(rows.clusters.iloc[0])} clusters at {begin:%Y-%m-%d %H:%M:%S} "
    alt += f"to {int(last.compliant)} of {int(last.clusters)} after {duration(span)}, in {len(rows)} readings."
    return plot("compliance", title, alt, parts, height + 30)


# --- amounts ----------------------------------------------------------------------------------------------------------


def nodes(pools: pandas.DataFrame) -> Plot:
    """Draw the nodes by environment, with the autoscalers' limits."""
    rows = pools.assign(
        environment=_named(pools.environment, HUB), most=pools["max"].where(pools.autoscaling.fillna(False), pools["count"])
    )
    sums = rows.groupby("environment")[["count", "most"]].sum().astype(float)
    pairs = [(str(name), row["count"], row["most"]) for name, row in sums.iterrows()]
    said = {name: f"{now:,g} of {most:,g}" for name, now, most in pairs}
    found = _limited("nodes", "Nodes and their limits", "nodes", pairs, said, "nodes now", "limit")
    return found or _nothing("nodes", "Nodes and their limits")


def cost(costs: pandas.DataFrame) -> Plot:
    """Draw the estimated costs a month by environment, now and at the autoscalers' limits."""
    title = "Cost by environment (estimate)"
    rows = costs.reset_index()
    rows = rows.assign(environment=rows.environment.astype(str), unpriced=rows.month.isna() & (rows.units.fillna(0) > 0))
    sums = (
        rows.groupby("environment")
        .agg(month=("month", "sum"), most=("month_max", "sum"), unpriced=("unpriced", "sum"))
        .astype(float)
    )
    pairs = [(str(name), row.month, row.most) for name, row in sums.iterrows()]
    said = {
        str(name): f"{row.month:,.0f}"
        + (f" of {row.most:,.0f}" if row.most > row.month else "")
        + (f", {row.unpriced:g} without price" if row.unpriced else "")
        for name, row in sums.iterrows()
    }
    priced = rows.priced.min()
    day = f", recorded from {priced:%Y-%m-%d} on" if priced == priced else ""
    note = f"List prices{day}: nodes and AKS tiers only, for 730 hours. USD."
    found = _limited("cost", title, "USD a month", pairs, said, "nodes now", "at the autoscaler's limits", note)
    return found or _nothing("cost", title)


def _limited(
    name: str,
    title: str,
    unit: str,
    rows: list[tuple[str, float, float]],
    said: dict[str, str],
    now: str,
    most: str,
    note: str = "",
) -> Plot | None:
    """Draw bars inside the outlines of their limits, from rows of (label, value, limit). Returns `None` without rows."""
    if not rows:
        return None
    left = _left([label for label, _, _ in rows])
    right = 24 + 6.8 * max(map(len, said.values()))
    scale, axis = _scale(max(max(value, limit) for _, value, limit in rows), left, right)
    parts = _axis(axis, scale, left, ROW * len(rows), unit)
    for number, (label, value, limit) in enumerate(rows):
        y = number * ROW + 6
        parts += [
            _label(left, y, label),
            rect(left, y, value * scale, 20, BAR, f"{label}: {said[label]} {unit}"),
            rect(left, y, limit * scale, 20, "currentColor", outline=True),
            text(left + max(limit, value) * scale + 6, y + 14.5, said[label], soft=True),
        ]
    bottom = ROW * len(rows) + 52
    shown, _ = legend(bottom, [(now, BAR)])
    edge = 40 + 7.2 * len(now)
    parts += [*shown, rect(edge, bottom - 10, 12, 12, "currentColor", outline=True), text(edge + 18, bottom, most)]
    if note:
        bottom += 24
        parts.append(text(8, bottom, note, soft=True))
    words = "; ".join(f"{label}: {said[label]}" for label, _, _ in rows)
    return plot(name, title, f"{title}. {words} {unit}. {note}".strip(), parts, bottom + 12)


# --- topology ---------------------------------------------------------------------------------------------------------


def topology(hub: str, clusters: pandas.DataFrame, sources: pandas.DataFrame | None = None) -> Plot:
    """Draw the sources, the control plane that reads them, the environments, and one sign for each of their clusters.

    Browsers show a cluster's name under the pointer.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, environment, status in zip(
        clusters.index, _named(clusters.environment), clusters.status.astype(str), strict=True
    ):
        groups.setdefault(environment, []).append((str(name), status))
    feeds = [] if sources is None else _feeds(hub, sources)
    columns, cell = 20, 18.5
    heights = {name: max(-(-len(members) // columns) * cell + 28, 48) for name, members in sorted(groups.items())}
    height = max(sum(heights.values()), 52 * len(feeds), 80) + 8
    middle = height / 2
    parts: list[str] = []
    for number, (name, kind, status) in enumerate(feeds):
        y = middle + (number - (len(feeds) - 1) / 2) * 52
        parts += [
            line(160, y, 184, middle, opacity=0.5),
            rect(2, y - 17, 158, 34, "currentColor", outline=True),
            text(10, y - 2, name[:20], bold=True),
            text(10, y + 12, f"{SIGNS.get(status, '?')} {FEEDS[kind]}", soft=True),
        ]
    parts += [
        rect(184, middle - 22, 128, 44, "currentColor", outline=True),
        text(248, middle - 3, hub[:15], anchor="middle", bold=True),
        text(248, middle + 13, "hub: Flux, ASO", anchor="middle", soft=True),
    ]
    y = 4.0
    for name, tall in heights.items():
        members = groups[name]
        good = sum(status == "ok" for _, status in members)
        parts += [
            line(312, middle, 330, y + tall / 2, opacity=0.5),
            rect(330, y, 388, tall - 8, "currentColor", outline=True),
            text(338, y + 16, name[:32], bold=True),
            text(710, y + 16, f"{good} of {len(members)} ok", anchor="end", soft=True),
        ]
        for position, (cluster, status) in enumerate(members):
            x, top = 338 + position % columns * cell, y + 22 + position // columns * cell
            parts += [rect(x, top, 15, 15, FILLS[status], f"{cluster}: {status}"), _sign(x + 7.5, top + 11.5, status)]
        y += tall
    used = [name for name in reversed(STATUS) if any(status == name for members in groups.values() for _, status in members)]
    shown, bottom = legend(height + 20, [(WORDS[name], FILLS[name]) for name in used])
    said = "; ".join(
        f"{name} with {len(groups[name])} clusters, {sum(s == 'ok' for _, s in groups[name])} ok" for name in heights
    )
    names = ", ".join(name for name, *_ in feeds) or "no sources"
    alt = f"Topology: {names} feed the hub {hub}, which runs {said or 'no environments'}."
    return plot("topology", "Topology", alt, [*parts, *shown], bottom + 12)


def _feeds(hub: str, sources: pandas.DataFrame) -> list[tuple[str, str, str]]:
    """Return (name, kind, status) of the control plane's sources."""
    rows = sources.reset_index()
    rows = rows[(rows.cluster.astype(str) == hub) & rows.kind.astype(str).isin(list(FEEDS))]
    return list(zip(rows["name"].astype(str), rows["kind"].astype(str), rows["status"].astype(str), strict=True))


def _sign(x: float, y: float, status: str) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="middle" font-size="11" fill="{ink(FILLS[status])}" '
        f'pointer-events="none">{SIGNS[status]}</text>'
    )
