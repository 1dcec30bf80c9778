"""The command `fleet`: argument parsing and printing only, one module for each kind of subcommand.

Exit status: 0 success, 1 a finding or a failed stage, 2 wrong usage, 130 interrupted.
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
