"""The output of a benchmark: figures, and promises that are kept or missed."""

from __future__ import annotations


class Board:
    """Prints figures and promises. `kept`: all promises so far were kept."""

    def __init__(self) -> None:
        self.kept = True

    def note(self, text: str) -> None:
        print(f"     {text}", flush=True)

    def at_most(self, text: str, value: float, limit: float, unit: str = "times") -> None:
        self._line(value <= limit, f"{text}: {value:.2f} {unit} (aim: at most {limit})")

    def at_least(self, text: str, value: float, limit: float, unit: str = "times") -> None:
        self._line(value >= limit, f"{text}: {value:.1f} {unit} (aim: at least {limit})")

    def _line(self, good: bool, text: str) -> None:
        self.kept = self.kept and good
        print(f"{'ok  ' if good else 'MISS'} {text}", flush=True)
