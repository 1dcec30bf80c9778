"""`python -m fleetlib.cli`, where the script is not on the path."""

from __future__ import annotations

from fleetlib.cli import main

main()
