"""`fleet run` on small notebooks: records, failures, kernels, interrupts and resuming."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from fleetlib.execution import kernels, run

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
RECORDS = """
import json, os
from pathlib import Path
Path(os.environ["FLEET_RECORD"]).write_text(json.dumps({"changes": [["step", "one", "create", ""]], "checks": []}))
"""


def notebook(folder: Path, name: str, *sources: str) -> Path:
    folder.mkdir(exist_ok=True)
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(metadata=KERNEL, cells=cells), path)
    return path


def test_the_changes_of_the_stages_are_recorded_under_a_relative_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [notebook(tmp_path / "notebooks", "00_first", RECORDS), notebook(tmp_path / "notebooks", "01_second", "1 + 1")]
    done = run.execute(paths, {}, Path("runs"), tell=lambda result: None)
    assert [(result.status, len(result.changes)) for result in done.results] == [("done", 1), ("done", 0)]
    assert (tmp_path / "runs" / "latest" / "01_second.ipynb").exists()


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return Path(os.readlink(process / "cwd")) == folder.resolve()
    except OSError:  # the process has ended, or belongs to another user
        return False


def test_a_failing_notebook_ends_the_run_and_no_kernel_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    paths = [
        notebook(folder, "00_first", "raise SystemError('broken')"),
        notebook(folder, "01_second", "1"),
        notebook(folder, "02", "1"),
    ]
    done = run.execute(paths, {}, tmp_path / "runs", tell=lambda result: None)
    assert [(result.notebook, result.status) for result in done.results] == [("00_first", "failed")]
    assert "broken" in done.results[0].error
    assert not [process for process in Path("/proc").glob("[0-9]*") if _works_in(process, folder)]


def test_kernels_use_sockets_that_only_the_user_can_open_and_delete_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program could take a TCP port between its choice and the kernel's start, so no port is used."""
    sockets = Path(tempfile.mkdtemp(prefix="short-"))  # a socket's path has at most about a hundred bytes
    monkeypatch.setattr("tempfile.tempdir", str(sockets))
    looks = (
        "import json, os\nfrom ipykernel.connect import get_connection_file\nfile = get_connection_file()\n"
        "assert json.load(open(file))['transport'] == 'ipc'\n"
        "assert [os.stat(path).st_mode & 0o777 for path in (file, os.path.dirname(file))] == [0o600, 0o700]"
    )
    paths = [notebook(tmp_path / "notebooks", "00_first", looks), notebook(tmp_path / "notebooks", "01_second", "1")]
    done = run.execute(paths, {}, tmp_path / "runs", tell=lambda result: None)
    assert [(result.status, result.error) for result in done.results] == [("done", "")] * 2
    sockets.rmdir()  # fails unless it is empty


def test_a_long_path_to_temporary_files_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has long paths for temporary files, but a socket's path has at most about a hundred bytes."""
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    done = run.execute([notebook(tmp_path / "notebooks", "00_first", "1")], {}, tmp_path / "runs", tell=lambda result: None)
    assert [result.status for result in done.results] == ["done"]


def test_an_interrupted_run_names_resume_which_skips_the_stages_that_are_done(tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    paths = [notebook(folder, "00_first", "1"), notebook(folder, "01_second", "1")]
    run.execute(paths, {}, tmp_path / "runs", tell=lambda result: None)  # an earlier run, which must not be resumed
    notebook(folder, "01_second", "import os, signal\nos.kill(os.getppid(), signal.SIGINT)\nsignal.pause()")
    main = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from fleetlib.cli import main; main()"
    command = [sys.executable, "-c", main, "run", "--notebooks", str(folder), "--runs", str(tmp_path / "runs")]
    stopped = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert stopped.returncode == 130, stopped.stderr
    assert "--resume" in stopped.stderr and "Traceback" not in stopped.stderr
    notebook(folder, "01_second", "2")
    done = run.execute(paths, {}, tmp_path / "runs", resume=True, tell=lambda result: None)
    assert [result.status for result in done.results] == ["skipped", "done"]


def test_a_kernel_is_killed_not_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted kernel that still starts would print a traceback into the output of `fleet run`."""
    sent: list[int] = []
    send = os.killpg

    def recorded(group: int, number: int) -> None:
        sent.append(number)
        send(group, number)

    kernel = kernels.start(tmp_path, {})
    monkeypatch.setattr(os, "killpg", recorded)
    kernel.stop()
    assert sent[0] == signal.SIGKILL and not asyncio.run(kernel.is_alive())
