"""The real helm, 4 and 3, as `make -C tools/helm` builds them, with one cluster's kubeconfig."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "tools/helm/bin"
BINARIES = {"helm4": FOLDER / "helm", "helm3": FOLDER / "helm3"}


def each_helm() -> list[Any]:
    """Return the parameters for `pytest.fixture`: both programs. The tests of a missing one are skipped."""
    reason = "the real helm is not built: make -C tools/helm (needs Go)"
    return [
        pytest.param(path, id=name, marks=pytest.mark.skipif(not path.exists(), reason=reason))
        for name, path in BINARIES.items()
    ]


@dataclass(frozen=True)
class Helm:
    """One of the two programs. `config` is empty where no cluster is needed."""

    program: Path
    home: Path
    config: Path | None = None

    @property
    def is_3(self) -> bool:
        return self.program.name == "helm3"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run helm and return the result, whether it succeeds or not.

        Its caches are the test's own, and it sees no other cluster.
        """
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "NO_PROXY": "127.0.0.1",
            "KUBECONFIG": str(self.config or "/dev/null"),
            **{f"HELM_{name}_HOME": str(self.home / "helm" / name.lower()) for name in ("CACHE", "CONFIG", "DATA")},
        }
        command = [str(self.program), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=90, env=environment, check=False)

    def __call__(self, *arguments: str) -> str:
        """Return the output. Fails the test if helm fails."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def fails(self, *arguments: str) -> str:
        """Return the error output. Fails the test if helm succeeds."""
        done = self.run(*arguments)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--output=json"))

    def history(self, release: str, namespace: str) -> list[tuple[int, str, str]]:
        """Return revision, status and description of each revision, oldest first."""
        found = self.json("history", release, f"--namespace={namespace}")
        return [(item["revision"], item["status"], item["description"]) for item in found]
