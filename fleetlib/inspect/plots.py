"""Plots of the fleet, for notebooks and the report. Each takes frames and returns a `Plot`; each stays readable with 1,000 clusters.

May import `drawing`; takes the frames of `tables` and `Fleet`, and reads nothing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleetlib.inspect.drawing import SIGNS, STATES, STEPS, WIDTH, Plot, ink, legend, line, path, plot, rect, text, ticks

if TYPE_CHECKING:
    import pandas

ROW = 30
FEEDS = {"GitRepository": "Git", "OCIRepository": "OCI", "HelmRepository": "Helm"}
"""The kinds of sources that are drawn, with their short names."""
BAR = "#3b6ea8"


def states(clusters: pandas.DataFrame) -> pandas.Series:
    """How far each cluster has come: compliant, provisioned, missing, or unknown."""
    import pandas

    found = [
        _state(*pair) for pair in zip(clusters.provisioning.astype(object), clusters.compliance.astype(object), strict=True)
    ]
    return pandas.Series(found, index=clusters.index, name="state", dtype=object)


def _state(provisioning: Any, compliance: Any) -> str:
    if provisioning == "Succeeded":
        return "compliant" if compliance == "Compliant" else "provisioned"
    return "unknown" if provisioning != provisioning or provisioning is None else "missing"


def environments(clusters: pandas.DataFrame) -> Plot:
    """Clusters by environment, split by how far each has come."""
    counts = _counts(clusters.environment, states(clusters), list(STATES))
    words = {name: f"{SIGNS[name]} {name}" for name in STATES}
    return _stacked("environments", "Clusters by environment", "clusters", counts, dict(STATES), words)


def versions(clusters: pandas.DataFrame) -> Plot:
    """Kubernetes versions by environment, the oldest darkest."""
    known = clusters.version.astype(object).where(clusters.version.notna(), "unknown").replace("", "unknown")
    order = sorted(set(known), key=_version)
    steps = STEPS if len(order) > 1 else STEPS[1:]
    colours = {name: steps[n * (len(steps) - 1) // max(len(order) - 1, 1)] for n, name in enumerate(order)}
    counts = _counts(clusters.environment, known, order)
    return _stacked(
        "versions", "Kubernetes versions by environment", "clusters", counts, colours, {name: name for name in order}
    )


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in str(name).split("."))


Counts = dict[str, dict[str, float]]
"""Environment -> (what -> how many)."""


def _counts(environment: Any, what: Any, order: list[str]) -> Counts:
    found: Counts = {}
    for row, name in zip(environment.astype(str), what, strict=True):
        row_counts = found.setdefault(row, dict.fromkeys(order, 0))
        row_counts[name] += 1
    return dict(sorted(found.items()))


def _stacked(name: str, title: str, unit: str, counts: Counts, colours: dict[str, str], words: dict[str, str]) -> Plot:
    left = _left(counts)
    most = max((sum(row.values()) for row in counts.values()), default=0)
    scale, axis = _scale(most, left)
    parts = _axis(axis, scale, left, ROW * len(counts), unit)
    for number, (environment, row) in enumerate(counts.items()):
        y, x = number * ROW + 6, left
        parts.append(text(left - 10, y + 14, environment, anchor="end"))
        for what, count in row.items():
            width = count * scale
            if count:
                parts.append(rect(x, y, width - 1, 20, colours[what], f"{environment}: {count:g} {words[what]}"))
            if width > 14 + 7 * len(f"{count:g}"):
                parts.append(text(x + width / 2, y + 14.5, f"{count:g}", anchor="middle", fill=ink(colours[what]), bold=True))
            x += width
        parts.append(text(x + 6, y + 14.5, f"{sum(row.values()):g}", soft=True))
    used = [what for what in colours if any(row.get(what) for row in counts.values())]
    bottom = ROW * len(counts) + 52
    parts += legend(bottom, [(words[what], colours[what]) for what in used])
    said = "; ".join(f"{env}: " + ", ".join(f"{n:g} {words[w]}" for w, n in row.items() if n) for env, row in counts.items())
    return plot(name, title, f"{title}. {said or 'None'}.", parts, bottom + 12)


def _left(names: Any) -> float:
    return min(20 + 7.2 * max((len(str(name)) for name in names), default=4), WIDTH * 0.4)


def _scale(most: float, left: float) -> tuple[float, list[float]]:
    axis = ticks(most)
    return (WIDTH - left - 60) / max(axis[-1], 1e-9), axis


def _axis(axis: list[float], scale: float, left: float, height: float, unit: str) -> list[str]:
    parts = []
    for value in axis:
        x = left + value * scale
        parts += [line(x, 0, x, height + 4, opacity=0.18), text(x, height + 20, f"{value:,g}", anchor="middle", soft=True)]
    return [*parts, text(WIDTH - 4, height + 38, unit, anchor="end", soft=True)]


def provisioning(operations: pandas.DataFrame) -> Plot:
    """When each cluster was made: `started` and `finished` (times; not finished: still at it), `environment`, by cluster.

    With more than 40 clusters the bars get thin and lose their names; environments stay together.
    """
    import pandas

    rows = operations.dropna(subset=["started"]).sort_values(["environment", "started"])
    if rows.empty:
        return plot(
            "provisioning", "Provisioning timeline", "No cluster has been provisioned yet.", [text(8, 20, "none yet")], 30
        )
    begin, end = (
        rows.started.min(),
        max(rows.started.max(), rows.finished.max() if rows.finished.notna().any() else rows.started.max()),
    )
    span = max((end - begin).total_seconds(), 1.0)
    named = len(rows) <= 40
    left = _left(rows.index if named else rows.environment.astype(str).unique())
    step = 18.0 if named else max(600 / len(rows), 0.6)
    scale = (WIDTH - left - 70) / span
    parts, seen, lasted = [], "", []
    for number, (name, row) in enumerate(rows.iterrows()):
        y, x = number * step + 4, left + (row.started - begin).total_seconds() * scale
        open_end = pandas.isna(row.finished)
        seconds = ((end if open_end else row.finished) - row.started).total_seconds()
        lasted.append(seconds)
        words = f"{name}: {seconds:,.0f} s" + (" so far" if open_end else "")
        parts.append(rect(x, y, max(seconds * scale, 1.5), step * 0.72, STATES["provisioned"] if open_end else BAR, words))
        if named:
            parts.append(text(left - 10, y + 11, name, anchor="end"))
            parts.append(text(x + seconds * scale + 6, y + 11, duration(seconds) + (" …" if open_end else ""), soft=True))
        elif str(row.environment) != seen:
            seen = str(row.environment)
            parts += [line(0, y - 1, WIDTH, y - 1, opacity=0.2), text(left - 10, y + 12, seen, anchor="end")]
    height = step * len(rows) + 4
    parts += [
        line(left, height, WIDTH - 70, height, opacity=0.4),
        text(left, height + 16, f"{begin:%Y-%m-%d %H:%M:%S}", soft=True),
    ]
    parts.append(text(WIDTH - 70, height + 16, f"+ {duration(span)}", anchor="end", soft=True))
    at_it = int(rows.finished.isna().sum())
    bottom = height + 42
    parts += legend(bottom, [("provisioned", BAR), *([("still at it …", STATES["provisioned"])] if at_it else [])])
    alt = (f"Provisioning timeline of {len(rows)} clusters from {begin:%Y-%m-%d %H:%M:%S}, over {duration(span)}; "
           f"the median took {duration(sorted(lasted)[len(lasted) // 2])}, the longest {duration(max(lasted))}; {at_it} not finished.")  # fmt: skip
    return plot("provisioning", "Provisioning timeline", alt, parts, bottom + 12)


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def compliance(history: pandas.DataFrame) -> Plot:
    """Compliant clusters over time: `time`, `compliant`, `clusters`, one row a change or a report."""
    rows = history.sort_values("time")
    title = "Compliance over time"
    if rows.empty:
        return plot("compliance", title, "Nothing is known yet.", [text(8, 20, "nothing is known yet")], 30)
    begin, span = rows.time.iloc[0], max((rows.time.iloc[-1] - rows.time.iloc[0]).total_seconds(), 1.0)
    left, top, height = 50.0, 22.0, 200.0
    axis = ticks(max(float(rows.clusters.max()), 1.0))
    across, up = (WIDTH - left - 110) / span, (height - top) / axis[-1]
    parts = []
    for value in axis:
        y = height - value * up
        parts += [line(left, y, WIDTH - 100, y, opacity=0.18), text(left - 8, y + 4, f"{value:g}", anchor="end", soft=True)]
    lines = (("clusters", "#7a838c", 2.0), ("compliant", "#0f8f6e", 3.5))
    labels = []
    for column, colour, width in lines:
        points: list[tuple[float, float]] = []
        for when, value in zip(rows.time, rows[column], strict=True):
            x, y = left + (when - begin).total_seconds() * across, height - float(value) * up
            points += [(x, points[-1][1]), (x, y)] if points else [(x, y)]
        points.append((WIDTH - 100, points[-1][1]))
        parts.append(path(points, colour, width))
        labels.append((column, points[-1][1], int(rows[column].iloc[-1])))
    apart = 0 if abs(labels[0][1] - labels[1][1]) > 15 else 8
    parts += [
        text(WIDTH - 94, y + 4 + (apart if n else -apart), f"{value} {column}") for n, (column, y, value) in enumerate(labels)
    ]
    parts += [
        text(left, height + 20, f"{begin:%Y-%m-%d %H:%M:%S}", soft=True),
        text(WIDTH - 100, height + 20, f"+ {duration(span)}", anchor="end", soft=True),
    ]
    last = rows.iloc[-1]
    alt = f"{title}: from {int(rows.compliant.iloc[0])} of {int(rows.clusters.iloc[0])} clusters at {begin:%Y-%m-%d %H:%M:%S} "
    alt += f"to {int(last.compliant)} of {int(last.clusters)} after {duration(span)}."
    return plot("compliance", title, alt, parts, height + 30)


def nodes(pools: pandas.DataFrame) -> Plot:
    """Nodes against the autoscaler's limits by environment: `environment`, `nodes`, `max` (most nodes), one row a pool."""
    rows = pools.groupby(pools.environment.astype(str))[["nodes", "max"]].sum()
    left = _left(rows.index)
    scale, axis = _scale(float(rows.max().max()) if len(rows) else 0, left)
    parts = _axis(axis, scale, left, ROW * len(rows), "nodes")
    for number, (environment, row) in enumerate(rows.iterrows()):
        y = number * ROW + 6
        parts += [
            text(left - 10, y + 14, environment, anchor="end"),
            rect(left, y, row["nodes"] * scale, 20, BAR, f"{environment}: {row['nodes']:g} nodes"),
            rect(left, y, row["max"] * scale, 20, "currentColor", outline=True),
            text(left + max(row["max"], row["nodes"]) * scale + 6, y + 14.5, f"{row['nodes']:g} of {row['max']:g}", soft=True),
        ]
    bottom = ROW * len(rows) + 52
    parts += [
        *legend(bottom, [("nodes now", BAR)]),
        rect(130, bottom - 10, 12, 12, "currentColor", outline=True),
        text(148, bottom, "the most there may be"),
    ]
    said = "; ".join(f"{name}: {row['nodes']:g} of at most {row['max']:g}" for name, row in rows.iterrows())
    return plot("nodes", "Nodes against their limits", f"Nodes against their limits. {said}.", parts, bottom + 12)


def cost(costs: pandas.DataFrame, recorded: str, currency: str = "USD") -> Plot:
    """An estimate a month by environment: `environment`, `monthly` (money), one row a cluster; `recorded`: the prices' date."""
    rows = costs.groupby(costs.environment.astype(str)).monthly.agg(["sum", "count"])
    unpriced = costs.groupby(costs.environment.astype(str)).size() - rows["count"]
    left = _left(rows.index)
    scale, axis = _scale(float(rows["sum"].max()) * 1.12 if len(rows) else 0, left)
    parts = _axis(axis, scale, left, ROW * len(rows), f"{currency} a month")
    for number, (environment, row) in enumerate(rows.iterrows()):
        y, missing = number * ROW + 6, int(unpriced[str(environment)])
        words = f"{row['sum']:,.0f}" + (f" + {missing} without a price" if missing else "")
        parts += [text(left - 10, y + 14, environment, anchor="end"), rect(left, y, row["sum"] * scale, 20, BAR, f"{environment}: {words}"),
                  text(left + row["sum"] * scale + 6, y + 14.5, words)]  # fmt: skip
    note = f"Estimate: list prices recorded on {recorded}, nodes and AKS tier only, as if all ran for 730 hours"
    bottom = ROW * len(rows) + 62
    parts.append(text(8, bottom, note, soft=True))
    said = "; ".join(f"{name}: {row['sum']:,.0f} {currency} a month" for name, row in rows.iterrows())
    return plot("cost", "Cost by environment (estimate)", f"{note}. {said}.", parts, bottom + 12)


def topology(hub: str, clusters: pandas.DataFrame, sources: pandas.DataFrame | None = None) -> Plot:
    """The sources, the hub that reads them, the environments, and their clusters: one sign a cluster, its name on the pointer."""
    state = states(clusters)
    groups = [(str(name), rows.index) for name, rows in clusters.groupby(clusters.environment.astype(str))]
    feeds = [] if sources is None else [(str(n), str(r.kind), bool(r.ready)) for n, r in sources.iterrows() if r.kind in FEEDS]
    columns, cell = 20, 18.5
    heights = [max(-(-len(index) // columns) * cell + 28, 48) for _, index in groups]
    height = max(sum(heights), 60 * len(feeds), 80) + 8
    middle = height / 2
    parts: list[str] = []
    for number, (name, kind, ready) in enumerate(feeds):
        y = middle + (number - (len(feeds) - 1) / 2) * 52
        parts += [line(160, y, 184, middle, opacity=0.5), rect(2, y - 17, 158, 34, "currentColor", outline=True), text(10, y - 2, name[:20], bold=True),
                  text(10, y + 12, f"{'✓' if ready else '✗'} {FEEDS[kind]}", soft=True)]  # fmt: skip
    parts += [rect(184, middle - 22, 128, 44, "currentColor", outline=True), text(248, middle - 3, hub[:15], anchor="middle", bold=True),
              text(248, middle + 13, "hub: Flux, ASO", anchor="middle", soft=True)]  # fmt: skip
    y = 4.0
    for (name, index), tall in zip(groups, heights, strict=True):
        good = int((state.loc[index] == "compliant").sum())
        parts += [line(312, middle, 330, y + tall / 2, opacity=0.5), rect(330, y, 388, tall - 8, "currentColor", outline=True)]
        parts += [
            text(338, y + 16, name, bold=True),
            text(710, y + 16, f"{good} of {len(index)} compliant", anchor="end", soft=True),
        ]
        for position, cluster in enumerate(index):
            x, top = 338 + position % columns * cell, y + 22 + position // columns * cell
            colour = STATES[state[cluster]]
            parts.append(rect(x, top, 15, 15, colour, f"{cluster}: {state[cluster]}"))
            parts.append(
                f'<text x="{x + 7.5:g}" y="{top + 11.5:g}" text-anchor="middle" font-size="11" fill="{ink(colour)}" pointer-events="none">{SIGNS[state[cluster]]}</text>'
            )
        y += tall
    used = [name for name in STATES if (state == name).any()]
    parts += legend(height + 20, [(f"{SIGNS[name]} {name}", STATES[name]) for name in used])
    said = "; ".join(
        f"{name} with {len(index)} clusters, {int((state.loc[index] == 'compliant').sum())} compliant" for name, index in groups
    )
    alt = f"Topology: {', '.join(name for name, *_ in feeds) or 'no sources'} feed the hub {hub}, which runs {said or 'no environments'}."
    return plot("topology", "Topology", alt, parts, height + 32)
