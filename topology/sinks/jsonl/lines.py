"""What frames become: lines of JSON, as clients of Redis read them, each with the file of its day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from topology.log.frames import CandleFrame, IndicatorFrame, TimeframeFrame
from topology.market.times import day_ordinal
from topology.sinks.cursor import StoredFrame
from topology.sinks.values import candle_json, indicator_json


def day_file(time_ms: int) -> str:
    """Return the name of the file of the day in India that a time lies in.

    >>> day_file(1_669_088_700_000)
    '2022-11-22.jsonl'
    """
    return f"{date.fromordinal(day_ordinal(time_ms))}.jsonl"


def lines(stored: StoredFrame) -> Iterator[tuple[str, bytes]]:
    """Yield each final row of a frame with the name of its file: that of the day on which its candle starts.

    Candles of history, which have a ``revision``, come after the rows: of two lines for one candle the later one counts
    where it corrects, the earlier one where it fills in.
    """
    cause = {"position": stored.position, "partition": stored.partition}
    match stored.frame:
        case CandleFrame() | TimeframeFrame() as frame:
            for candle in frame.rows:
                yield day_file(candle.start_ms), candle_json(candle, forming=False, **cause) + b"\n"
        case IndicatorFrame() as frame:
            for value in frame.rows:
                yield day_file(value.start_ms), indicator_json(value, live=False, **cause) + b"\n"
    if isinstance(stored.frame, TimeframeFrame):
        for history in stored.frame.history:
            for candle in history.candles:
                data = candle_json(candle, forming=False, revision=history.revision, **cause)
                yield day_file(candle.start_ms), data + b"\n"
