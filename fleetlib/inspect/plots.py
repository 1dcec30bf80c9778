"""Plots of the fleet. Colours are told apart by the colour-blind and in print (they differ in lightness, and bars carry numbers)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleetlib.session import Session

if TYPE_CHECKING:
    import pandas

COLOURS = {"compliant": "#0b6e4f", "provisioned": "#8fc1a9", "missing": "#d1495b"}


def environments(clusters: pandas.DataFrame) -> Any:
    """Clusters by environment, split by how far each has come. Returns the matplotlib figure."""
    import matplotlib.pyplot as plt

    state = clusters.apply(_state, axis=1)
    counts = state.groupby([clusters.environment, state]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=[name for name in COLOURS if name in counts])
    figure, axes = plt.subplots(figsize=(7, 0.6 + 0.5 * len(counts)), layout="constrained")
    left = [0] * len(counts)
    for name in counts:
        bars = axes.barh(counts.index, counts[name], left=left, color=COLOURS[str(name)], label=name)
        axes.bar_label(bars, labels=[str(v) if v else "" for v in counts[name]], label_type="center", color="white")
        left = [a + b for a, b in zip(left, counts[name], strict=True)]
    axes.set_xlabel("clusters")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=len(COLOURS), frameon=False)
    plt.close(figure)  # shown once, as the value of the cell, not again by the inline backend
    return figure


def _state(row: Any) -> str:
    if row.compliance == "Compliant":
        return "compliant"
    return "provisioned" if row.provisioning == "Succeeded" else "missing"


class Mermaid:
    """A drawing in Mermaid's language, which JupyterLab and GitHub show."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_markdown_(self) -> str:
        return f"```mermaid\n{self.text}\n```"

    def __repr__(self) -> str:
        return self.text


def topology(session: Session, clusters: pandas.DataFrame) -> Mermaid:
    """The hub, the environments and their clusters, as they are now."""
    p = session.parameters
    lines = ["flowchart LR", f'  hub["{p.controlplane_cluster}"]']
    for number, (environment, rows) in enumerate(clusters.groupby("environment")):
        lines += [f'  hub --> e{number}(["{environment}"])']
        for position, (name, row) in enumerate(rows.iterrows()):
            mark = "✓" if row.compliance == "Compliant" else "✗"
            lines.append(f'  e{number} --> c{number}_{position}["{mark} {name}<br>{row.version} · {row.nodes} nodes"]')
    return Mermaid("\n".join(lines))
