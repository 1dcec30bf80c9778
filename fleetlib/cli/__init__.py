"""`fleet`: argument parsing and printing only. Exit status 0 good, 1 a finding or a failed stage, 2 bad usage.

A file for each kind of command; `command` has what they share. May import everything; nothing imports it.
"""

from __future__ import annotations

from fleetlib.cli import access, runs, sandbox, tables
from fleetlib.cli.command import main

__all__ = ["access", "main", "runs", "sandbox", "tables"]
