"""Test cases, one text file for each: a comment, then files after lines `-- name --`; the last file is the golden result.

`-- want.yaml --` is the output of the real kustomize, `-- want.error --` its error. They are written by
`python tests/kustomize/kustomize_cases.py` with the binary that `make -C tools/kustomize` builds.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BINARY = HERE.parent.parent / "tools" / "kustomize" / "bin" / "kustomize"
CASES = sorted((HERE / "cases").glob("*.txt"))
TOP = "/work"


@dataclass(frozen=True)
class Case:
    """One case. `files`: the input; `want` or `error`: the golden result."""

    path: Path
    comment: str
    files: dict[str, bytes]
    want: str | None
    error: str | None

    @property
    def folder(self) -> str:
        """Return the folder to build: `overlay`, `app` or the root."""
        return next((name for name in ("overlay", "app") if f"{name}/kustomization.yaml" in self.files), ".")


def read(path: Path) -> Case:
    comment, *parts = re.split(r"^-- (.+) --\n", path.read_text(), flags=re.MULTILINE)
    files = dict(zip(parts[::2], parts[1::2], strict=True))
    want, error = files.pop("want.yaml", None), files.pop("want.error", None)
    return Case(path, comment, {name: text.encode() for name, text in files.items()}, want, error)


def run_real(case: Case) -> tuple[str | None, str | None]:
    """Return (output, error) of the real kustomize, one of them `None`. The folder that it ran in is written as `/work`."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in case.files.items():
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        command = [str(BINARY), "build", "--load-restrictor", "LoadRestrictionsNone", str(Path(folder) / case.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        error = done.stderr.replace(folder, TOP).removeprefix("Error: ").strip() + "\n"
        error = re.sub(r"&\{0x[0-9a-f]+", "&{0xc000010000", error)
    return (None, error) if done.returncode else (done.stdout, None)


def update(case: Case) -> None:
    """Write the golden result of a case."""
    want, error = run_real(case)
    files = {name: data.decode() for name, data in case.files.items()}
    files["want.yaml" if want is not None else "want.error"] = want or error or ""
    case.path.write_text(case.comment + "".join(f"-- {name} --\n{text}" for name, text in files.items()))


if __name__ == "__main__":
    for path in CASES:
        update(read(path))
        print(path.name, file=sys.stderr)
