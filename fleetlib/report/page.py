"""The report as one HTML file with its style, script and drawings inside, so that it opens offline and from an e-mail."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from fleetlib.inspect.columns import SIGNS
from fleetlib.report.model import FAULTS, Report, Table, about, mood

if TYPE_CHECKING:
    from fleetlib.inspect import frames

HERE = Path(__file__).parent
LONG = 90
"""A cell with more characters is folded to two lines until it is clicked. In print it is shown whole."""

MOST = 1000
"""The most rows of a table on the page, worst first; the JSON document has all."""

FINDINGS = 100
"""The most findings on the page, worst first."""


def text(report: Report) -> str:
    """Return the report as HTML."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(HERE),
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"about": about, "mood": mood, "long": lambda value: len(str(value)) > LONG, "table": table}
    inline = {"style": (HERE / "page.css").read_text(), "script": (HERE / "page.js").read_text()}
    return environment.get_template("page.html.jinja").render(
        report=report, run=report.run, findings=FINDINGS, faults=FAULTS, **inline
    )


def table(found: Table) -> str:
    """Return a table as HTML, with its caption above. Python builds it faster than the template, and it is most of the page."""
    from fleetlib.inspect import frames

    names, lines = frames.lines(found.frame, MOST)
    said = " · ".join(frames.said(found.frame, MOST))
    head = "".join(f'<th{_number(number)}><button type="button">{escape(name)}</button></th>' for name, number in names)
    numbers = [number for _, number in names]
    return (
        f'<p class="soft">{escape(found.meaning)} {escape(said)}.</p>'
        f'<div class="tools"><input type="search" placeholder="filter: words, -without" '
        f'aria-label="filter {escape(found.title)}"><output class="soft"></output></div>'
        f'<div class="wide"><table><caption hidden>{escape(found.title)}</caption><thead><tr>{head}</tr></thead><tbody>\n'
        + "\n".join(_row(line, numbers[len(line.keys) :]) for line in lines)
        + "</tbody></table></div>"
    )


def _number(number: bool) -> str:
    return ' class="num"' if number else ""


def _row(line: frames.Line, numbers: list[bool]) -> str:
    keys = "".join(
        _key(key, line.status if not position else "", line.link if not position else "")
        for position, key in enumerate(line.keys)
    )
    cells = "".join(_numeric(cell) if number else _cell(cell) for cell, number in zip(line.cells, numbers, strict=True))
    return f"<tr>{keys}{cells}</tr>"


def _key(value: str, status: str, link: str) -> str:
    words = f'<a href="{escape(link)}" target="_blank" rel="noreferrer">{escape(value)}</a>' if link else escape(value)
    if not status:
        return f'<th scope="row">{words}</th>'
    sign = f'<i class="{mood(status)}" title="{status}">{SIGNS.get(status, "")}</i>'
    return f'<th scope="row" data-value="{escape(value)}">{sign} {words}</th>'


def _numeric(value: str) -> str:
    plain = value.replace(",", "")
    return f'<td class="num" data-value="{plain}">{value}</td>' if plain != value else f'<td class="num">{value}</td>'


@lru_cache(maxsize=4096)
def _cell(value: str) -> str:
    if len(value) > LONG:
        return f'<td class="text"><div class="fold" title="click to unfold">{escape(value)}</div></td>'
    kind = mood(value)
    return f'<td class="{kind}">{escape(value)}</td>' if kind else f"<td>{escape(value)}</td>"
