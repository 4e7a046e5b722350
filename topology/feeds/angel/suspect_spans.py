"""Suspect spans: packets could not be read or came wrong, so candles of that interval may be wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from topology.market.gaps import Gap

RESUMING = "resuming"


class SuspectSpan(NamedTuple):
    """Why and since when an instrument is suspect."""

    why: str
    from_ms: int


class SettledSpans(NamedTuple):
    """Spans that are over, as one gap, and what they were."""

    gap: Gap
    why: str


class SuspectSpans:
    """What is suspect of the instruments of one connection: each until its next good tick."""

    def __init__(self) -> None:
        self._open: dict[str, SuspectSpan] = {}
        self._begun: set[str] = set()
        self._settled: list[tuple[str, SuspectSpan, int]] = []

    def begin(self, instruments: Iterable[str], why: str, from_ms: int) -> None:
        """Note that something is wrong; ``from_ms`` is up to when all was right."""
        for instrument in instruments:
            span = self._open.get(instrument)
            if span is None or (span.why != RESUMING and from_ms < span.from_ms):
                self._open[instrument] = SuspectSpan(why, from_ms)
                self._begun.add(instrument)

    def miss(self, instruments: Iterable[str], from_ms: int) -> None:
        """Note that nothing has come of these yet since a gap ended at ``from_ms``: whatever comes settles it.

        What was suspect before the gap was so until it ended.
        """
        for instrument in instruments:
            span, self._open[instrument] = self._open.get(instrument), SuspectSpan(RESUMING, from_ms)
            if span is not None and span.why != RESUMING:
                self._begun.discard(instrument)
                self._settled.append((instrument, span, from_ms))

    def settle(self, instrument: str, at_ms: int) -> None:
        """Note that all is right at this time. What came at once after a gap was never suspect."""
        if self._open and (span := self._open.pop(instrument, None)) is not None:
            self._begun.discard(instrument)
            if span.why != RESUMING or at_ms > span.from_ms:
                self._settled.append((instrument, span, max(at_ms, span.from_ms) + 1))

    def begun(self) -> Gap | None:
        """Return the spans that have begun since this was last asked and are not over, as one gap that lasts."""
        begun, self._begun = sorted(self._begun), set()
        if not begun:
            return None
        return Gap(begun, min(self._open[instrument].from_ms for instrument in begun), broken=False)

    def settled(self) -> SettledSpans | None:
        """Return those that are over since this was last asked."""
        if not self._settled:
            return None
        settled, self._settled = self._settled, []
        from_ms, to_ms = min(span.from_ms for _, span, _ in settled), max(to_ms for _, _, to_ms in settled)
        gap = Gap([instrument for instrument, _, _ in settled], from_ms, to_ms, broken=False)
        return SettledSpans(gap, ", ".join(sorted({span.why for _, span, _ in settled})))
