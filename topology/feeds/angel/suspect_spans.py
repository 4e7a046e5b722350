"""Doubts: packets that could not be read or came wrong, and the interval in which candles may be wrong for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from topology.market.gaps import Gap

RESUMING = "resuming"


class SuspectSpan(NamedTuple):
    """Why and since when an instrument is in doubt."""

    why: str
    from_ms: int


class SettledSpans(NamedTuple):
    """Doubts that are over, as one gap, and what they were."""

    gap: Gap
    why: str


class SuspectSpans:
    """What is in doubt of the instruments of one socket: each until its next good tick."""

    def __init__(self) -> None:
        self._open: dict[str, SuspectSpan] = {}
        self._begun: set[str] = set()
        self._over: list[tuple[str, SuspectSpan, int]] = []

    def begin(self, instruments: Iterable[str], why: str, from_ms: int) -> None:
        """Note that something is wrong; ``from_ms`` is up to when all was right."""
        for instrument in instruments:
            known = self._open.get(instrument)
            if known is None or (known.why != RESUMING and from_ms < known.from_ms):
                self._open[instrument] = SuspectSpan(why, from_ms)
                self._begun.add(instrument)

    def miss(self, instruments: Iterable[str], from_ms: int) -> None:
        """Note that nothing has come of these yet since a gap ended at ``from_ms``: whatever comes settles it.

        What was in doubt before the gap was so until it ended.
        """
        for instrument in instruments:
            doubt, self._open[instrument] = self._open.get(instrument), SuspectSpan(RESUMING, from_ms)
            if doubt is not None and doubt.why != RESUMING:
                self._begun.discard(instrument)
                self._over.append((instrument, doubt, from_ms))

    def settle(self, instrument: str, at_ms: int) -> None:
        """Note that all is right at this time. What came at once after a gap was never in doubt."""
        if self._open and (doubt := self._open.pop(instrument, None)) is not None:
            self._begun.discard(instrument)
            if doubt.why != RESUMING or at_ms > doubt.from_ms:
                self._over.append((instrument, doubt, max(at_ms, doubt.from_ms) + 1))

    def begun(self) -> Gap | None:
        """Return the doubts that have begun since this was last asked and are not over, as one gap that lasts."""
        begun, self._begun = sorted(self._begun), set()
        if not begun:
            return None
        return Gap(begun, min(self._open[instrument].from_ms for instrument in begun), broken=False)

    def over(self) -> SettledSpans | None:
        """Return those that are over since this was last asked."""
        if not self._over:
            return None
        over, self._over = self._over, []
        from_ms, to_ms = min(doubt.from_ms for _, doubt, _ in over), max(to_ms for _, _, to_ms in over)
        gap = Gap([instrument for instrument, _, _ in over], from_ms, to_ms, broken=False)
        return SettledSpans(gap, ", ".join(sorted({doubt.why for _, doubt, _ in over})))
