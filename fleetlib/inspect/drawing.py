"""Drawings as SVG text of a few kilobytes, to embed in a page or a notebook.

Text has the colour of the text around it, so that a drawing is legible on white, on black and on paper. Colours differ in
lightness, so that colour-blind readers can tell them apart, and every colour has a label as well.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

FILLS = {
    "broken": "#c2410c",
    "unreachable": "#3d0a2b",
    "progressing": "#f0b04a",
    "stopped": "#8c8f96",
    "unknown": "#d9dee3",
    "ok": "#0a5c4a",
}
"""Status -> fill of an area. Each status also has a sign, in `columns.SIGNS`."""
STEPS = ("#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838")
"""Fills for ordered values, dark to light: samples of cividis, which colour-blind readers can tell apart."""

WIDTH = 720
SIZE = 13
LETTER = 7.2
"""The estimated width of a letter at the font's size, rather too large than too small."""


@dataclass(frozen=True)
class Plot:
    """A drawing with its title, and its content in words (`alt`) for readers who do not see it."""

    name: str
    title: str
    alt: str
    svg: str = field(repr=False)

    def _repr_html_(self) -> str:
        """Return the drawing as an image on white: JupyterLab strips SVG elements from stored outputs and leaves
        their texts.
        """
        on_white = self.svg.replace("<title>", '<rect width="100%" height="100%" fill="#fff"/><title>', 1)
        source = f"data:image/svg+xml;base64,{b64encode(on_white.encode()).decode()}"
        return f'<b>{escape(self.title)}</b><br><img width="{WIDTH}" alt={quoteattr(self.alt)} src="{source}">'

    def __repr__(self) -> str:
        return f"{self.title}: {self.alt}"


def plot(name: str, title: str, alt: str, parts: Iterable[str], height: float) -> Plot:
    """Return a drawing of the parts, `WIDTH` wide and `height` high."""
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label={quoteattr(alt)} '
        f'font-family="system-ui, Liberation Sans, sans-serif" font-size="{SIZE}" fill="currentColor">'
        f"<title>{escape(alt)}</title>"
    )
    return Plot(name, title, alt, svg + "".join(parts) + "</svg>")


def text(
    x: float, y: float, words: object, *, anchor: str = "start", fill: str = "", bold: bool = False, soft: bool = False
) -> str:
    extra = (f' text-anchor="{anchor}"' if anchor != "start" else "") + (f' fill="{fill}"' if fill else "")
    extra += ' font-weight="600"' if bold else ""
    extra += ' opacity="0.75"' if soft else ""
    return f'<text x="{x:g}" y="{y:g}"{extra}>{escape(str(words))}</text>'


def rect(x: float, y: float, width: float, height: float, fill: str, title: str = "", *, outline: bool = False) -> str:
    """Return a box. Browsers show `title` under the pointer. `outline` draws the edge only.

    A filled box has a faint edge, so that dark fills are visible on a dark page and light fills on a white one.
    """
    paint = (
        f'fill="none" stroke="{fill}" stroke-width="1.5"'
        if outline
        else f'fill="{fill}" stroke="currentColor" stroke-opacity="0.4" stroke-width="0.8"'
    )
    inner = f"<title>{escape(title)}</title>" if title else ""
    return f'<rect x="{x:g}" y="{y:g}" width="{max(width, 0):g}" height="{height:g}" rx="2" {paint}>{inner}</rect>'


def bar(y: float, height: float, parts: Iterable[tuple[float, float, str]], title: str) -> str:
    """Return boxes in a row, (x, width, fill), without edges, since they may be very thin. `title` as for `rect`."""
    boxes = "".join(
        f'<rect x="{x:.5g}" y="{y:.5g}" width="{max(width, 0.8):.4g}" height="{height:.3g}" fill="{fill}"/>'
        for x, width, fill in parts
    )
    return f"<g><title>{escape(title)}</title>{boxes}</g>"


def line(
    x1: float, y1: float, x2: float, y2: float, *, colour: str = "currentColor", width: float = 1, opacity: float = 1
) -> str:
    return (
        f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="{colour}" stroke-width="{width:g}" opacity="{opacity:g}" fill="none"/>'
    )


def path(points: Sequence[tuple[float, float]], colour: str, width: float = 2, dash: str = "") -> str:
    steps = "L".join(f"{x:g} {y:g}" for x, y in points)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="M{steps}" stroke="{colour}" stroke-width="{width:g}" fill="none" stroke-linejoin="round"{dashed}/>'


def ink(colour: str) -> str:
    """Return white or black, whichever is more legible on the colour. Source: WCAG 2.2, relative luminance."""
    return "#fff" if contrast(colour, "#ffffff") >= contrast(colour, "#000000") else "#000"


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21. Source: WCAG 2.2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def legend(y: float, entries: Sequence[tuple[str, str]]) -> tuple[list[str], float]:
    """Return the parts of a legend of (label, colour), in as many rows as needed, and the y of the last row."""
    parts, x = [], 8.0
    for words, colour in entries:
        width = 34 + LETTER * len(words)
        if x > 8 and x + width > WIDTH:
            x, y = 8.0, y + 20
        parts += [rect(x, y - 10, 12, 12, colour), text(x + 18, y, words)]
        x += width
    return parts, y


def ticks(most: float, wanted: int = 5) -> list[float]:
    """Return round numbers from 0 to at least `most`, about `wanted` of them."""
    if most <= 0:
        return [0.0, 1.0]
    step = 10.0 ** (len(str(int(most))) - 1)
    for finer in (step / 10, step / 5, step / 2, step, step * 2):
        if most / finer <= wanted and (finer >= 1 or most < 1):
            step = finer
            break
    return [step * n for n in range(int(-(-most // step)) + 1)]
