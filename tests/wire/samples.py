"""A record of every kind that the log and the tables hold, with all its fields filled, each with another value."""

from __future__ import annotations

from array import array
from typing import Any

from tests.wire.inside import (
    Arrival,
    Backfill,
    Baseline,
    Candle,
    CandleFrame,
    CandlesCore,
    CandlesRow,
    ClosesOfSeries,
    ClosesState,
    Configure,
    DeadLetter,
    FeedEvent,
    FormingCandle,
    Gap,
    History,
    IndicatorFrame,
    IndicatorsRow,
    IndicatorValue,
    LateTick,
    LogHeader,
    OpenCandle,
    Quote,
    Row,
    SecondsState,
    SeriesState,
    StageState,
    Tick,
    TickFrame,
    TimeframeFrame,
    TimeframesRow,
    TimeframesState,
    Warmup,
)

LOG, INDEX, STOCK = "0123456789ab", "NSE:99926000", "NSE:11536"
AT_MS = 1_669_088_700_000  # 2022-11-22 09:15 in India
CALENDAR = '{"name":"some","version":"7","first_day":"2022-01-01","last_day":"2022-12-31"}'

CONFIGURE = Configure(1, {60: ["SMA:20", "RSI:14"], 300: []}, {"NSE:1": "index"}, CALENDAR, 1000)
TICK = Tick(STOCK, 330_010, AT_MS + 1, 5_000, 25, 330_020, 329_990)
QUOTE = Quote(
    STOCK, AT_MS + 2, 330_015, 5_001, 329_900, 330_100, 329_800, 328_000, 329_950, 330_005, 10, 330_025, 11, 12,
    360_000, 300_000, AT_MS - 3,
)  # fmt: skip
SECOND = Candle(STOCK, 1, AT_MS, 330_000, 330_020, 329_990, 330_010, 25, 3, 3)
MINUTE = Candle(STOCK, 60, AT_MS, 330_000, 330_100, 329_900, 330_050, 1_500, 40, 7)
FORMING = Candle(STOCK, 300, AT_MS, 330_000, 330_100, 329_900, 330_060, 1_600, 41)
VALUE = IndicatorValue(STOCK, "SMA_20", 60, AT_MS, 330_012.123456)
PEEK = IndicatorValue(STOCK, "RSI_14", 60, AT_MS + 60_000, 51.25)
GAP = Gap([STOCK], AT_MS - 5_000, AT_MS - 1_000, False)
BASELINE = Baseline(STOCK, AT_MS - 500, 4_900)
HISTORY = History(STOCK, 60, [MINUTE], 1, True, [SECOND], AT_MS + 60_000)
LATE = LateTick(STOCK, AT_MS - 9_000, 9_001)

_HEAD = (1, LOG, 4, 4711, AT_MS + 1_500, [CONFIGURE], "the reason of a gap")
TICKS = TickFrame(
    1, LOG, 1_669_000_000_123, 42, AT_MS + 1_500, 3, [CONFIGURE], [TICK], [QUOTE], [GAP], [BASELINE], [HISTORY]
)
CANDLES = CandleFrame(*_HEAD, [SECOND], [FORMING], 5, 6, [LATE], [GAP], {STOCK: 77}, [HISTORY])
TIMEFRAMES = TimeframeFrame(*_HEAD, [MINUTE], [FORMING], [HISTORY])
INDICATORS = IndicatorFrame(*_HEAD, [VALUE], [PEEK])
EVENT = FeedEvent(1, LOG, AT_MS, "gap", 2, "a detail", AT_MS - 9_000, AT_MS - 1_000, 3)
LETTER = DeadLetter(1, LOG, 1, 4711, "not a TickFrame", b"\x01\xff")

COMMANDS: dict[str, Any] = {
    "header": LogHeader(1, LOG, "live", 4),
    "configure": CONFIGURE,
    "warmup": Warmup(2, [STOCK], True),
    "backfill": Backfill(3, [HISTORY]),
}
STAGES: dict[str, Any] = {
    "ticks": TICKS, "candles_1s": CANDLES, "candles_tf": TIMEFRAMES, "indicators": INDICATORS,
    "dead_letters": LETTER, "feed_events": EVENT,
}  # fmt: skip


def _row(core: Any) -> Row[Any]:
    return Row(1, 4712, StageState(1, LOG, 4, 4711, CONFIGURE, core))


_OPEN = OpenCandle(AT_MS, AT_MS + 1, AT_MS + 900, 330_000, 330_020, 329_990, 330_010, 25, 3, 1)
_SERIES = SeriesState(STOCK, AT_MS + 900, AT_MS, AT_MS - 7, 5_000, [_OPEN], AT_MS - 5_000, AT_MS - 1_000, True)
_FORMING = FormingCandle(
    STOCK, 300, AT_MS, AT_MS + 300_000, 330_000, 330_100, 329_900, 330_060, 1_600, 41, 1, AT_MS - 1
)
_CLOSES = ClosesState("i", array("i", [330_000, 330_050]).tobytes(), [-AT_MS // 1000, 2])
ROWS: dict[str, tuple[Row[Any], Any]] = {
    "candles": (_row(CandlesCore(1_669_000_000_123, 42, AT_MS, SecondsState(AT_MS + 1, [_SERIES]))), CandlesRow),
    "timeframes": (
        _row(TimeframesState(AT_MS, [_FORMING], {STOCK: (AT_MS - 5_000, AT_MS)}, {300: Arrival(AT_MS, 60)})),
        TimeframesRow,
    ),
    "indicators": (_row([ClosesOfSeries(STOCK, 60, _CLOSES, {"SMA:20": (1.5, 2.5), "RSI:14": ()})]), IndicatorsRow),
}
"""Of each table a row, and the type by which it is read."""
