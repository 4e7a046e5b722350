"""Candles of the past that don't come from ticks: the broker has them, or they are resampled from shorter ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Annotated

import msgspec

from topology.market.calendar import Calendar, NotCovered, Span, indian_day
from topology.market.candle import Candle
from topology.market.forming_candle import candle_start
from topology.market.timeframe_candles import TimeframeCandles
from topology.market.times import FAR, Interval


class History(msgspec.Struct, array_like=True, frozen=True):
    """Candles of one instrument and timeframe, oldest first. Those of the broker are marked ``BROKER``.

    Those of ``revision`` 0 fill in what is missing; those of revision 1 also correct what is there. With ``reset`` the
    instrument starts afresh with them in this timeframe: what was known of the time before the last of them counts no
    more.

    ``begun`` are shorter candles of the one that had begun when this was made, all that had closed up to ``until_ms``:
    a timeframe that is new is given the beginning of its first candle with them.
    """

    instrument: str
    timeframe_s: int
    candles: list[Candle]
    revision: Annotated[int, msgspec.Meta(ge=0, le=1)]
    reset: bool = False
    begun: list[Candle] = []
    until_ms: int = 0


def candle_interval(calendar: Calendar, instrument_class: str, timeframe_s: int, time_ms: int) -> Interval | None:
    """Return start and end of the candle that a time lies in, None outside of a session. Raises NotCovered."""
    session = calendar.span(instrument_class, time_ms).session
    if session is None:
        return None
    start_ms = candle_start(time_ms, session.open_ms, timeframe_s)
    return Interval(start_ms, min(start_ms + timeframe_s * 1000, session.close_ms))


def widened_to_candles(calendar: Calendar, instrument_class: str, timeframe_s: int, interval: Interval) -> Interval:
    """Widen an interval to where the candles begin and end that it overlaps with. Raises NotCovered."""
    first = candle_interval(calendar, instrument_class, timeframe_s, interval.from_ms)
    last = candle_interval(calendar, instrument_class, timeframe_s, interval.to_ms - 1)
    return Interval(
        interval.from_ms if first is None else first.from_ms,
        interval.to_ms if last is None else last.to_ms,
    )


def candle_starts(
    calendar: Calendar, instrument_class: str, timeframe_s: int, interval: Interval, gaps: Sequence[Interval]
) -> Iterator[int]:
    """Give the starts of all candles that could begin in an interval, the latest first, but for those in a gap.

    As far as the calendar reaches.
    """
    span_ms, time_ms = timeframe_s * 1000, interval.to_ms
    while time_ms > interval.from_ms:
        try:
            span = calendar.span(instrument_class, time_ms - 1)
        except NotCovered:
            return
        if span.session is None:
            time_ms = span.from_ms
            continue
        start_ms = candle_start(time_ms - 1, span.session.open_ms, timeframe_s)
        end_ms = min(start_ms + span_ms, span.session.close_ms)
        gap = next((gap for gap in gaps if gap.from_ms < end_ms and start_ms < gap.to_ms), None)
        if start_ms < interval.from_ms:
            return
        if gap is None:
            yield start_ms
            time_ms = start_ms
        else:  # go on before it, which may be long
            time_ms = min(start_ms, candle_start(gap.from_ms, span.session.open_ms, timeframe_s))


def resampled(
    candles: Iterable[Candle], calendar: Calendar, instrument_class: str, timeframe_s: int, interval: Interval
) -> list[Candle]:
    """Make candles of a timeframe out of shorter ones that divide it, as the second stage does out of seconds.

    ``candles`` are of one instrument, in order. Only candles that lie wholly in the interval are returned, and nothing
    of what lies outside of the sessions. Raises NotCovered.
    """
    parts, span = [], Span(0, 0, None)
    for one in candles:
        if not span.from_ms <= one.start_ms < span.until_ms:
            span = calendar.span(instrument_class, one.start_ms)
        if span.session is not None:
            parts.append(one)
    classes = {one.instrument: instrument_class for one in parts[:1]}
    made = TimeframeCandles(calendar, [timeframe_s], classes=classes, lateness_ms=0).apply(parts, FAR)

    def ends_in_time(candle: Candle) -> bool:
        if candle.start_ms + timeframe_s * 1000 <= interval.to_ms:
            return True
        whole = candle_interval(calendar, instrument_class, timeframe_s, candle.start_ms)  # the close may cut it short
        return whole is not None and whole.to_ms <= interval.to_ms

    return [candle for candle in made if interval.from_ms <= candle.start_ms and ends_in_time(candle)]


def resampled_history(
    parts: Sequence[Candle], calendar: Calendar, instrument_class: str, history: History, interval: Interval
) -> History:
    """Return empty history of a new timeframe filled with what shorter candles of its instrument make, in order.

    They are all that closed in the interval; what comes before it is unknown. Raises NotCovered.
    """
    made = resampled(parts, calendar, instrument_class, history.timeframe_s, interval)
    newest = candle_interval(calendar, instrument_class, history.timeframe_s, parts[-1].start_ms) if parts else None
    begun_ms = interval.to_ms if newest is None or newest.to_ms <= interval.to_ms else newest.from_ms
    begun = [part for part in parts if begun_ms <= part.start_ms]
    return msgspec.structs.replace(history, candles=made, begun=begun, until_ms=interval.to_ms)


def warmup_start(calendar: Calendar, instrument_class: str, timeframe_s: int, count: int, before_ms: int) -> int:
    """Return the open of the session from which on there are at least ``count`` candles that end before a time.

    Where the calendar doesn't reach that far it is the first open that it has. Raises NotCovered for a time that the
    calendar doesn't cover at all.
    """
    day, from_ms, span_ms = indian_day(before_ms), before_ms, timeframe_s * 1000
    calendar.sessions(instrument_class, day)
    while count > 0 and calendar.covered(day):
        for session in reversed(calendar.sessions(instrument_class, day)):
            if session.open_ms < before_ms and count > 0:
                from_ms = session.open_ms
                ended_ms = min(session.close_ms, before_ms) - session.open_ms
                count -= -(-ended_ms // span_ms) if session.close_ms <= before_ms else ended_ms // span_ms
        day -= timedelta(days=1)
    return from_ms


def traded_until(calendar: Calendar, instrument_class: str, interval: Interval) -> int | None:
    """Return the end of what lies in sessions of an interval, None where nothing does, as far as the calendar goes."""
    time_ms, until_ms = interval.from_ms, None
    while time_ms < interval.to_ms:
        try:
            span = calendar.span(instrument_class, time_ms)
        except NotCovered:
            break
        time_ms = span.until_ms
        if span.session is not None:
            until_ms = min(time_ms, interval.to_ms)
    return until_ms
