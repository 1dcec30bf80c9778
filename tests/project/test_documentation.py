"""Links, anchors and paths in Markdown files and notebooks exist; folders and packages say what they are for."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1`*\s*$", re.M | re.S)
CODE = re.compile(r"(`+)(.+?)\1", re.S)
LINK = re.compile(r"\[[^\[\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.M)
NAMED = re.compile(
    r"(?:azuresandbox|benchmarks|charts|ci|docs|fleetlib|flux|notebooks|parameters|tests|tools|workloads)/[\w./-]*\w/?"
)
MADE_LATER = ("docs/_build", "parameters/azure.yaml", "tools/conformance/bin")
"""Paths that the documents name and that a command or a person creates."""


def _listed(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout", allow_module_level=True)
    return [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


@cache
def _markdown(path: Path) -> str:
    """Return the text of a Markdown file, or of a notebook's Markdown cells, without its blocks of code."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return FENCE.sub("", text)


def anchors(path: Path) -> set[str]:
    """Return the anchors that Git hosts and the documentation site give to the headings of a file."""
    found: dict[str, int] = {}
    slugs = []
    for heading in HEADING.findall(_markdown(path)):
        text = LINK.sub(lambda match: match[0][1 : match[0].index("]")], heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        slugs.append(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return set(slugs)


def broken_links(path: Path, text: str) -> Iterator[str]:
    """Yield the links of a text whose target does not exist. `path`: the file that contains the text.

    A link to another site is checked for its form only: `make docs LINKS=1` asks the sites.
    """
    for link in LINK.findall(CODE.sub("code", text)):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            if parts.scheme != "https" or not re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc):
                yield link
            continue
        target = path.parent / parts.path if parts.path else path
        known = target.suffix not in (".md", ".ipynb") or not parts.fragment
        if not target.exists() or not (known or parts.fragment in anchors(target)):
            yield link


def missing_paths(text: str) -> Iterator[str]:
    """Yield the paths of this repository that a text names as code and that do not exist."""
    for _, code in CODE.findall(text):
        if NAMED.fullmatch(code) and not code.startswith(MADE_LATER) and not (ROOT / code).exists():
            yield code


DOCUMENTS = _listed("*.md", "*.ipynb")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_and_paths_lead_somewhere(name: str) -> None:
    text = _markdown(ROOT / name)
    assert not list(broken_links(ROOT / name, text))
    assert not list(missing_paths(text))


@pytest.mark.parametrize(
    "link", ["docs/nowhere.md", "docs/azure.md#nowhere", "#nowhere", "http://example.org/", "https://localhost/", "htps://a.b"]
)
def test_a_broken_link_is_found(link: str) -> None:
    assert list(broken_links(ROOT / "README.md", f"See [this]({link}).")) == [link]
    assert not list(broken_links(ROOT / "README.md", f"Write `[this]({link})`."))


def test_a_missing_path_is_found() -> None:
    assert list(missing_paths("`fleetlib/nowhere.py` and `fleetlib/errors.py`")) == ["fleetlib/nowhere.py"]


def test_readme_explains_every_folder() -> None:
    folders = {name.partition("/")[0] for name in _listed() if "/" in name}
    readme = (ROOT / "README.md").read_text()
    assert not [name for name in folders if not name.startswith(".") and f"`{name}/`" not in readme]


def test_every_package_has_a_docstring() -> None:
    packages = _listed("fleetlib/*__init__.py", "azuresandbox/*__init__.py", "benchmarks/__init__.py", "tests/__init__.py")
    assert packages
    assert not [name for name in packages if not ast.get_docstring(ast.parse((ROOT / name).read_text()))]


def test_every_page_is_on_the_site() -> None:
    """A page that is in no table of contents fails `make docs`; this is the same check without a build."""
    index = (ROOT / "docs/index.md").read_text()
    for name in _listed("docs/*.md"):
        stem = Path(name).stem
        assert stem == "index" or re.search(rf"^(?:.*<)?{re.escape(stem)}>?$", index, re.M), name


def test_the_workflow_fits_its_schema() -> None:
    linter = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [linter, "--builtin-schema", "vendor.github-workflows", str(ROOT / ".github/workflows/ci.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
