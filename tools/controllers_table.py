"""Write docs/controllers.md from docs/controllers.yaml: `python tools/controllers_table.py`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
DATA, PAGE = ROOT / "docs/controllers.yaml", ROOT / "docs/controllers.md"
BRANCHES = {"fluxcd/pkg": "main", "fluxcd/flux2": "v2.6.4"}
"""Repository -> the branch or tag whose files the page links to; `main` for others."""

_SOURCE = re.compile(r"(?:(?P<repository>[\w.-]+/[\w.-]+):)?(?P<path>[\w./-]+)#(?P<symbol>[\w-]+)")

HEAD = """# The controllers' behaviour, and the tests that show it

Each row is a behaviour of a real controller, the page or file that documents it, and the tests that show the same
behaviour in the sandbox. `tools/controllers_table.py` writes this page from [controllers.yaml](controllers.yaml);
`tests/project/test_controllers.py` fails when the page is out of date, when a row has no source, or when a test that it
names does not exist. The sources of Flux are those of the versions in the emulated extension.

Known differences, besides those in [sandbox.md](sandbox.md): intervals have no jitter; the kustomize- and
helm-controller write nothing when they find no change, while Flux renews conditions and events; dependents are
reconciled as soon as their dependency is Ready, not only after 30 s; ASO reconciles an object that waits for its owner
as soon as the owner is ready, and tries a locked resource (`ScopeLocked`) again within 3 minutes, while newer versions
([#4695](https://github.com/Azure/azure-service-operator/pull/4695)) wait for a sync period. Azure does not publish the
sources of its agents: their rows are based on Azure's documentation.
"""


@dataclass(frozen=True)
class Row:
    """One behaviour. `tests`: `path::function`."""

    controller: str
    about: str
    what: str
    source: str
    link: str
    tests: tuple[str, ...]


def link(source: str, repository: str, version: str) -> str:
    """Return the URL of a source. Raises `ValueError` if it is neither a page nor path#symbol."""
    if source.startswith("https://"):
        return source
    found = _SOURCE.fullmatch(source)
    if found is None or not (found["repository"] or repository):
        raise ValueError(f"{source!r} is neither a page nor path#symbol of a repository")
    where = found["repository"] or repository
    ref = BRANCHES.get(where, "main") if found["repository"] else version
    return f"https://github.com/{where}/blob/{ref}/{found['path']}"


def rows() -> list[Row]:
    """Return all rows, in the order of the file."""
    return [
        Row(
            part["controller"],
            row["about"],
            row["what"],
            row["source"],
            link(row["source"], part["repository"], part["version"]),
            tuple(row["tests"]),
        )
        for part in yaml.safe_load(DATA.read_text())
        for row in part["rows"]
    ]


def page() -> str:
    """Return the whole page."""
    text = HEAD
    for part in yaml.safe_load(DATA.read_text()):
        text += f"\n## {part['controller']} {part['version']}\n\n| about | behaviour | source | tests |\n|---|---|---|---|\n"
        for row in rows():
            if row.controller == part["controller"]:
                what = row.what.replace("|", "\\|")
                tests = ", ".join(f"`{test}`" for test in row.tests)
                text += f"| {row.about} | {what} | [{_shown(row.source)}]({row.link}) | {tests} |\n"
    return text


def _shown(source: str) -> str:
    """Return the link text: the last part of a page's URL, or a file's name and symbol."""
    if source.startswith("https://"):
        return source.removeprefix("https://").partition("/")[2].partition("#")[0].rstrip("/").rpartition("/")[2]
    name, _, symbol = source.rpartition("/")[2].partition("#")
    return f"{name}: {symbol}"


if __name__ == "__main__":
    PAGE.write_text(page())
