"""`fleet run`: what it does around the notebooks, on notebooks of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from fleetlib.execution import run

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
RECORDS = """
import json, os
from pathlib import Path
Path(os.environ["FLEET_RECORD"]).write_text(json.dumps({"changes": [["made", "one", ""]], "checks": []}))
"""


def notebook(folder: Path, name: str, *sources: str) -> Path:
    folder.mkdir(exist_ok=True)
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(metadata=KERNEL, cells=cells), path)
    return path


def test_what_the_stages_did_is_kept_also_under_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [notebook(tmp_path / "notebooks", "00_first", RECORDS), notebook(tmp_path / "notebooks", "01_second", "1 + 1")]
    done = run.execute(paths, {}, Path("runs"), tell=lambda result: None)
    assert [(result.status, len(result.changes)) for result in done.results] == [("done", 1), ("done", 0)]
    assert (tmp_path / "runs" / "latest" / "01_second.ipynb").exists()


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return Path(os.readlink(process / "cwd")) == folder.resolve()
    except OSError:  # it has ended, or is somebody else's
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


def test_kernels_are_reached_through_sockets_only_the_user_can_open_and_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No TCP port can be taken by another program between its choice and the kernel's start: none is used."""
    sockets = Path(tempfile.mkdtemp(prefix="short-"))  # a socket's path may have a hundred bytes
    monkeypatch.setattr("tempfile.tempdir", str(sockets))
    looks = (
        "import json, os\nfrom ipykernel.connect import get_connection_file\nfile = get_connection_file()\n"
        "assert json.load(open(file))['transport'] == 'ipc'\n"
        "assert [os.stat(path).st_mode & 0o777 for path in (file, os.path.dirname(file))] == [0o600, 0o700]"
    )
    paths = [notebook(tmp_path / "notebooks", "00_first", looks), notebook(tmp_path / "notebooks", "01_second", "1")]
    done = run.execute(paths, {}, tmp_path / "runs", tell=lambda result: None)
    assert [(result.status, result.error) for result in done.results] == [("done", "")] * 2
    sockets.rmdir()  # which must be empty


def test_a_long_path_to_temporary_files_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS has long ones; a socket's path may have a hundred bytes."""
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    done = run.execute([notebook(tmp_path / "notebooks", "00_first", "1")], {}, tmp_path / "runs", tell=lambda result: None)
    assert [result.status for result in done.results] == ["done"]


def test_ctrl_c_says_how_to_go_on_and_what_was_done_is_skipped_then(tmp_path: Path) -> None:
    folder = tmp_path / "notebooks"
    paths = [notebook(folder, "00_first", "1"), notebook(folder, "01_second", "1")]
    run.execute(paths, {}, tmp_path / "runs", tell=lambda result: None)  # an earlier run, which is not the one to go on with
    notebook(folder, "01_second", "import os, signal\nos.kill(os.getppid(), signal.SIGINT)\nsignal.pause()")
    main = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from fleetlib.cli import main; main()"
    command = [sys.executable, "-c", main, "run", "--notebooks", str(folder), "--runs", str(tmp_path / "runs")]
    stopped = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert stopped.returncode == 130, stopped.stderr
    assert "--resume" in stopped.stderr and "Traceback" not in stopped.stderr
    notebook(folder, "01_second", "2")
    done = run.execute(paths, {}, tmp_path / "runs", resume=True, tell=lambda result: None)
    assert [result.status for result in done.results] == ["skipped", "done"]
