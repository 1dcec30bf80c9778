"""The real Kubernetes libraries, in the program that `make -C tools/conformance` builds. Each line asks or answers."""

from __future__ import annotations

import atexit
import json
import subprocess
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.processes import started

PROGRAM = Path(__file__).parents[2] / "tools" / "conformance" / "bin" / "conformance"

needs_real = pytest.mark.skipif(
    not PROGRAM.exists(), reason="tools/conformance is not built: `make -C tools/conformance` (needs Go) builds it"
)


@cache
def _process() -> subprocess.Popen[str]:
    end = ExitStack()
    atexit.register(end.close)  # one for all tests
    return end.enter_context(started([PROGRAM, "answer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))


def ask(op: str, **question: Any) -> dict[str, Any]:
    """Return `{result}` or `{error, causes}` of the real library. The program ends with this process, when its input ends."""
    process = _process()
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps({"op": op} | {key: value for key, value in question.items() if value is not None}) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line, f"{PROGRAM} has ended; rebuild it with `make -C tools/conformance`"
    answer: dict[str, Any] = json.loads(line)
    return answer
