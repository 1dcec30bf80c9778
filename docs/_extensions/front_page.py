"""Writes index.html, which leads to docs/index.html.

Pages have the paths of their files, so the first page is below docs/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={target}.html">
<title>{title}</title>
<a href="{target}.html">{title}</a>
</html>
"""


def _write(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        page = PAGE.format(target=app.config.root_doc, title=app.config.html_title)
        Path(app.outdir, "index.html").write_text(page)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", _write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
