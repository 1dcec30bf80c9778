"""The page a run leaves behind: one self-contained HTML file, readable offline. May import `run` and `inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleetlib.run import Run

TEMPLATE = Path(__file__).with_name("report.html.jinja")


def write(run: Run, fleet: Any = None) -> Path:
    """`report.html` in the run's folder; `fleet` is the fleet table, if there is one."""
    import jinja2

    table = None
    if fleet is not None:
        rows = [[str(value) for value in row] for row in fleet.reset_index().itertuples(index=False)]
        table = {"columns": [fleet.index.name, *fleet.columns], "rows": rows}
    seconds = [result.seconds for result in run.results]
    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text())
    changes = sum(len(r.changes) for r in run.results if r.status == "done")  # a skipped stage changed things in an earlier run
    text = template.render(run=run, fleet=table, total=sum(seconds), longest=max([*seconds, 0.1]), changes=changes)
    path = run.folder / "report.html"
    path.write_text(text)
    return path
