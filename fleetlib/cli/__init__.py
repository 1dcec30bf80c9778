"""The command `fleet`: argument parsing and printing only, one module for each kind of subcommand.

Exit status: 0 success, 1 a finding or a failed stage, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

from fleetlib import interrupt


def main() -> None:
    """Run the program. The commands are imported in `_command`, so that Ctrl-C also works during the imports."""
    interrupt.run(_command)


def _command() -> None:
    from fleetlib.cli import access, runs, sandbox, tables  # noqa: F401  # each adds its commands
    from fleetlib.cli.command import main

    main()
