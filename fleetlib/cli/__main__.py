"""`python -m fleetlib.cli`: the command `fleet` where the script is not on the PATH."""

from __future__ import annotations

from fleetlib.cli import main

main()
