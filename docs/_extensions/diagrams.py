"""Draws Mermaid blocks while the site is built.

A page with a drawn diagram needs no script and no network. The drawing is kept in the build folder under the hash of its text.
Where `mermaidx` is not installed, the page shows the text of the diagram.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Mermaid(SphinxDirective):
    """A `mermaid` block as an SVG, or as its text."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        text = "\n".join(self.content)
        if find_spec("mermaidx") is None:
            return [nodes.literal_block(text, text, language="text")]
        svg = _drawn(text, Path(self.env.app.doctreedir).parent / "diagrams")
        return [nodes.raw("", f'<figure class="diagram">{svg}</figure>', format="html")]


def _drawn(text: str, folder: Path) -> str:
    """The SVG of a diagram; drawing takes seconds, so a known one is read."""
    name = f"diagram-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    path = folder / f"{name}.svg"
    if not path.exists():
        from mermaidx import render

        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(render(text).svg().replace("my-svg", name))  # one id for each drawing: its styles go by it
    return path.read_text()


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("mermaid", Mermaid)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
