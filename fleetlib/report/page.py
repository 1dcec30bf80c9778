"""The report as one HTML file that needs nothing else: style, script and drawings are inside, so it opens offline and from an e-mail."""

from __future__ import annotations

from pathlib import Path

from fleetlib.report.model import Report, mood

HERE = Path(__file__).parent
LONG = 90
"""Characters from which a cell is folded to two lines until it is clicked; in print it is whole."""


def text(report: Report) -> str:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(HERE),
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"mood": mood, "long": lambda value: len(str(value)) > LONG}
    inline = {"style": (HERE / "page.css").read_text(), "script": (HERE / "page.js").read_text()}
    return environment.get_template("page.html.jinja").render(report=report, run=report.run, **inline)
