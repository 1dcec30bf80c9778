"""Write docs/controllers.md of docs/controllers.yaml: `python tools/controllers_table.py`. A test fails when it is behind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
DATA, PAGE = ROOT / "docs/controllers.yaml", ROOT / "docs/controllers.md"
BRANCHES = {"fluxcd/pkg": "main", "fluxcd/flux2": "v2.6.4"}
"""Where files of other repositories are looked at."""

_SOURCE = re.compile(r"(?:(?P<repository>[\w.-]+/[\w.-]+):)?(?P<path>[\w./-]+)#(?P<symbol>[\w-]+)")

HEAD = """# What the controllers do, and what shows it

Each row is a behaviour of a real controller, the page or file it comes from, and the tests that show the sandbox doing the same. This page is made of
[controllers.yaml](controllers.yaml) by `tools/controllers_table.py`; `tests/project/test_controllers.py` fails when it is behind, when a row has no
source, or when a test it names does not exist. Flux's sources are those of the versions in the emulated extension.

Known differences, besides those in [sandbox.md](sandbox.md): intervals have no jitter; a run of the kustomize- or helm-controller that finds nothing to do
writes nothing, where Flux renews conditions and events; dependents wake when their dependency becomes Ready, not only after 30 s; ASO looks at an object
that waits for its owner as soon as the owner is ready, and tries a locked resource (`ScopeLocked`) again within 3 minutes, where newer versions
([#4695](https://github.com/Azure/azure-service-operator/pull/4695)) wait a sync period. Azure does not publish its agents' sources: their rows rest on its pages.
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
    """The address of a source. Raises ValueError for what is none."""
    if source.startswith("https://"):
        return source
    found = _SOURCE.fullmatch(source)
    if found is None or not (found["repository"] or repository):
        raise ValueError(f"{source!r} is neither a page nor path#symbol of a repository")
    where = found["repository"] or repository
    ref = BRANCHES.get(where, "main") if found["repository"] else version
    return f"https://github.com/{where}/blob/{ref}/{found['path']}"


def rows() -> list[Row]:
    """All rows, in the order of the file."""
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
    """The whole page."""
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
    """A page by the last parts of its address, a file by its name and symbol."""
    if source.startswith("https://"):
        return source.removeprefix("https://").partition("/")[2].partition("#")[0].rstrip("/").rpartition("/")[2]
    name, _, symbol = source.rpartition("/")[2].partition("#")
    return f"{name}: {symbol}"


if __name__ == "__main__":
    PAGE.write_text(page())
