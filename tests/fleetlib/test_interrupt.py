"""Ctrl-C where Python loses it: each program prints "here" at such a place, and is interrupted there."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import started

SWALLOWED = {
    "in a destructor": """
class Dropped:
    def __del__(self):
        here()
Dropped()
""",
    "by numpy, which clears every error when it compares": """
import numpy
class Named:
    def __repr__(self):
        here()
        return ""
assert not numpy.dtype(object) == Named()
""",
    "by an except clause": """
try:
    here()
except BaseException:
    pass
""",
    "by a weak reference's callback": """
import weakref
class Dropped:
    pass
dropped = Dropped()
reference = weakref.ref(dropped, lambda reference: here())
del dropped
""",
    "by a finally that returns": """
def leave():
    try:
        here()
    finally:
        return
leave()
""",
    "by another thread that receives the signal": """
import signal
def receive():
    time.sleep(0.5)  # until the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
threading.Thread(target=receive, daemon=True).start()
""",
}
PROGRAM = """
import sys, threading, time
from fleetlib import interrupt

def here():
    print("here", flush=True)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        time.sleep(0.01)

def program():
{body}
    threading.Event().wait(30)

{call}
"""
RUN = "interrupt.run(program)"


def program(body: str, call: str = RUN) -> list[str]:
    return [sys.executable, "-c", PROGRAM.format(body="\n".join(f"    {line}" for line in body.splitlines()), call=call)]


def interrupted(command: list[str], within: float) -> tuple[int, str, str]:
    """Return (exit status, output, errors). A program that calls `here()` is interrupted after it has printed "here"."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started(command, **pipes) as process:
        assert process.stdout is not None
        first = ""
        if "here()" in command[-1].split("def program():")[1]:
            first = process.stdout.readline()
            process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=within)
    return process.returncode, first + out, errors


@pytest.mark.parametrize("body", SWALLOWED.values(), ids=SWALLOWED)
def test_an_interrupt_that_python_loses_ends_the_program(body: str) -> None:
    status, _, errors = interrupted(program(body), 15)
    assert (status, errors) == (130, "")


def test_python_alone_loses_these_interrupts() -> None:
    """Without `run` the program does not end: the tests above would fail."""
    swallowed = [name for name in SWALLOWED if "numpy" in name or "thread" in name]
    for name in swallowed:
        with pytest.raises(subprocess.TimeoutExpired):
            interrupted(program(SWALLOWED[name], "program()"), 3)


def test_cleanup_is_not_disturbed(tmp_path: Path) -> None:
    """The watching thread repeats the signal meanwhile, and the user presses Ctrl-C again."""
    body = """
try:
    here()
finally:
    import os, signal
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
    print("cleaned up", flush=True)
"""
    assert interrupted(program(body), 15) == (130, "here\ncleaned up\n", "")


def test_a_held_block_is_finished() -> None:
    body = """
with interrupt.held():
    here()
    print("done", flush=True)
print("never")
"""
    assert interrupted(program(body), 15) == (130, "here\ndone\n", "")


def test_a_stuck_program_is_ended_after_its_last_acts() -> None:
    body = """
def last():
    print("killed the kernels", flush=True)
def stuck():
    threading.Event().wait(60)
with interrupt.if_stuck(last), interrupt.if_stuck(stuck):
    try:
        here()
    finally:
        threading.Event().wait(60)
"""
    began = time.monotonic()
    assert interrupted(program(body), 15) == (130, "here\nkilled the kernels\n", "")
    assert time.monotonic() - began < 10


def test_running_threads_do_not_keep_the_program_alive() -> None:
    body = """
threading.Thread(target=time.sleep, args=(60,)).start()
here()
"""
    assert interrupted(program(body), 15)[0] == 130


def test_unread_output_does_not_keep_the_program_alive() -> None:
    body = """
print("here", flush=True)  # as here() does
while True:
    print("x" * 1000)
"""
    with started(program(body), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "here\n"
        time.sleep(0.5)  # until the pipe is full
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130


def test_a_program_that_ends_by_itself_keeps_its_exit_status() -> None:
    done = subprocess.run(program("sys.exit(3)"), capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (3, "")


def test_an_error_is_printed_as_usual() -> None:
    done = subprocess.run(program("raise LookupError('lost')"), capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1 and "LookupError: lost" in done.stderr


def test_a_program_started_with_interrupts_ignored_ignores_them() -> None:
    body = """
here()
print("went on", flush=True)
sys.exit(0)
"""
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    launch = f"{ignoring}; import os, sys; os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    command = [sys.executable, "-c", launch, program(body)[-1]]
    assert interrupted(command, 15) == (0, "here\nwent on\n", "")
