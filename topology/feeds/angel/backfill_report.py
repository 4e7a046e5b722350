"""What has come of the history since the last report, for one event instead of one for each instrument."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

NAMED = 5  # instruments that an event names


class ReportLine(NamedTuple):
    """What to say, and of how many instruments."""

    detail: str
    instruments: int


class BackfillReport:
    """Counts the candles that came of each instrument, by revision, and remembers those of which there were none."""

    def __init__(self) -> None:
        self._candles: Counter[tuple[int, str]] = Counter()
        self._without: set[str] = set()

    def add(self, instrument: str, revision: int, candles: int) -> None:
        """Count candles."""
        self._candles[revision, instrument] += candles

    def add_none(self, instrument: str) -> None:
        """Note that the broker has had nothing."""
        self._without.add(instrument)

    def flush(self) -> list[ReportLine]:
        """Return the report, and begin anew."""
        lines = []
        for revision, what in enumerate(("filled in", "corrected")):
            counts = {name: count for (of, name), count in self._candles.items() if of == revision and count}
            if counts:
                lines.append(ReportLine(f"{sum(counts.values()):,} candles {what}: {named(counts)}", len(counts)))
        if self._without:
            lines.append(ReportLine(f"nothing there: {named(self._without)}", len(self._without)))
        self._candles.clear()
        self._without.clear()
        return lines


def named(instruments: Iterable[str]) -> str:
    """Name instruments, not too many of them."""
    names = sorted(instruments)
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
