"""`fleet`: argument parsing and printing only. Exit status 0 good, 1 a finding or a failed stage, 2 bad usage, 130 interrupted.

A file for each kind of command; `command` has what they share. May import everything; nothing imports it.
"""

from __future__ import annotations

from fleetlib import interrupt


def main() -> None:
    """The program. Its commands are imported here, and not above, so that Ctrl-C ends it properly while they are."""
    interrupt.run(_command)


def _command() -> None:
    from fleetlib.cli import access, runs, sandbox, tables  # noqa: F401  # each adds its commands
    from fleetlib.cli.command import main

    main()
