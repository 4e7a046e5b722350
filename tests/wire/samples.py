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
    InstrumentState,
    Interval,
    LateTick,
    LogHeader,
    OpenCandle,
    Quote,
    Row,
    SecondCandlesState,
    StageState,
    Tick,
    TickFrame,
    TimeframeCandlesState,
    TimeframeFrame,
    TimeframesRow,
    Warmup,
)

LOG, INDEX, STOCK = "0123456789ab", "NSE:99926000", "NSE:11536"
AT_MS = 1_669_088_700_000  # 2022-11-22 09:15 in India
CALENDAR = '{"name":"some","version":"7","first_day":"2022-01-01","last_day":"2022-12-31"}'

CONFIGURE = Configure(
    id=1,
    timeframes={60: ["SMA:20", "RSI:14"], 300: []},
    classes={"NSE:1": "index"},
    calendar=CALENDAR,
    lateness_ms=1000,
)
TICK = Tick(
    instrument=STOCK, price=330_010, time_ms=AT_MS + 1, day_volume=5_000, quantity=25, high=330_020, low=329_990
)
QUOTE = Quote(
    instrument=STOCK,
    time_ms=AT_MS + 2,
    price=330_015,
    day_volume=5_001,
    open=329_900,
    high=330_100,
    low=329_800,
    previous_close=328_000,
    average_price=329_950,
    bid=330_005,
    bid_quantity=10,
    ask=330_025,
    ask_quantity=11,
    open_interest=12,
    upper_circuit=360_000,
    lower_circuit=300_000,
    last_traded_ms=AT_MS - 3,
)
SECOND = Candle(
    instrument=STOCK,
    timeframe_s=1,
    start_ms=AT_MS,
    open=330_000,
    high=330_020,
    low=329_990,
    close=330_010,
    volume=25,
    count=3,
    marks=3,
)
MINUTE = Candle(
    instrument=STOCK,
    timeframe_s=60,
    start_ms=AT_MS,
    open=330_000,
    high=330_100,
    low=329_900,
    close=330_050,
    volume=1_500,
    count=40,
    marks=7,
)
FORMING = Candle(
    instrument=STOCK,
    timeframe_s=300,
    start_ms=AT_MS,
    open=330_000,
    high=330_100,
    low=329_900,
    close=330_060,
    volume=1_600,
    count=41,
)
VALUE = IndicatorValue(instrument=STOCK, name="SMA_20", timeframe_s=60, start_ms=AT_MS, value=330_012.123456)
PEEK = IndicatorValue(instrument=STOCK, name="RSI_14", timeframe_s=60, start_ms=AT_MS + 60_000, value=51.25)
GAP = Gap(instruments=[STOCK], from_ms=AT_MS - 5_000, to_ms=AT_MS - 1_000, broken=False)
BASELINE = Baseline(instrument=STOCK, time_ms=AT_MS - 500, day_volume=4_900)
HISTORY = History(
    instrument=STOCK, timeframe_s=60, candles=[MINUTE], revision=1, reset=True, begun=[SECOND], until_ms=AT_MS + 60_000
)
LATE = LateTick(instrument=STOCK, time_ms=AT_MS - 9_000, late_by_ms=9_001)

_HEAD: dict[str, Any] = {
    "version": 1,
    "log": LOG,
    "run": 4,
    "position": 4711,
    "clock_ms": AT_MS + 1_500,
    "commands": [CONFIGURE],
    "unusable": "the reason of a gap",
}
TICKS = TickFrame(
    version=1,
    log=LOG,
    epoch=1_669_000_000_123,
    sequence=42,
    clock_ms=AT_MS + 1_500,
    commanded=3,
    commands=[CONFIGURE],
    ticks=[TICK],
    quotes=[QUOTE],
    gaps=[GAP],
    baselines=[BASELINE],
    history=[HISTORY],
)
CANDLES = CandleFrame(
    **_HEAD,
    rows=[SECOND],
    live=[FORMING],
    accepted=5,
    out_of_session=6,
    late=[LATE],
    gaps=[GAP],
    gap_volumes={STOCK: 77},
    history=[HISTORY],
)
TIMEFRAMES = TimeframeFrame(**_HEAD, rows=[MINUTE], live=[FORMING], history=[HISTORY])
INDICATORS = IndicatorFrame(**_HEAD, rows=[VALUE], live=[PEEK])
EVENT = FeedEvent(
    version=1,
    log=LOG,
    at_ms=AT_MS,
    kind="gap",
    socket=2,
    detail="a detail",
    from_ms=AT_MS - 9_000,
    to_ms=AT_MS - 1_000,
    instruments=3,
)
LETTER = DeadLetter(version=1, log=LOG, partition=1, position=4711, reason="not a TickFrame", record=b"\x01\xff")

COMMANDS: dict[str, Any] = {
    "header": LogHeader(version=1, log=LOG, namespace="live", partitions=4),
    "configure": CONFIGURE,
    "warmup": Warmup(id=2, instruments=[STOCK], reset=True),
    "backfill": Backfill(id=3, history=[HISTORY]),
}
STAGES: dict[str, Any] = {
    "ticks": TICKS,
    "candles_1s": CANDLES,
    "candles_tf": TIMEFRAMES,
    "indicators": INDICATORS,
    "dead_letters": LETTER,
    "feed_events": EVENT,
}


def _row(core: Any) -> Row[Any]:
    return Row(
        version=1,
        offset=4712,
        state=StageState(version=1, log=LOG, run=4, position=4711, configuration=CONFIGURE, core=core),
    )


_OPEN = OpenCandle(
    start_ms=AT_MS,
    first_ms=AT_MS + 1,
    last_ms=AT_MS + 900,
    open=330_000,
    high=330_020,
    low=329_990,
    close=330_010,
    volume=25,
    count=3,
    marks=1,
)
_SERIES = InstrumentState(
    instrument=STOCK,
    newest_ms=AT_MS + 900,
    closed_ms=AT_MS,
    session_ms=AT_MS - 7,
    volume=5_000,
    open=[_OPEN],
    gap_from_ms=AT_MS - 5_000,
    gap_to_ms=AT_MS - 1_000,
    resumed=True,
)
_FORMING = FormingCandle(
    instrument=STOCK,
    timeframe_s=300,
    start_ms=AT_MS,
    end_ms=AT_MS + 300_000,
    open=330_000,
    high=330_100,
    low=329_900,
    close=330_060,
    volume=1_600,
    count=41,
    marks=1,
    since_ms=AT_MS - 1,
)
_CLOSES = ClosesState(typecode="i", closes=array("i", [330_000, 330_050]).tobytes(), runs=[-AT_MS // 1000, 2])
ROWS: dict[str, tuple[Row[Any], Any]] = {
    "candles": (
        _row(
            CandlesCore(
                epoch=1_669_000_000_123,
                sequence=42,
                clock_ms=AT_MS,
                candles=SecondCandlesState(clock_ms=AT_MS + 1, series=[_SERIES]),
            )
        ),
        CandlesRow,
    ),
    "timeframes": (
        _row(
            TimeframeCandlesState(
                clock_ms=AT_MS,
                forming=[_FORMING],
                gaps={STOCK: Interval(AT_MS - 5_000, AT_MS)},
                arrivals={300: Arrival(limit_ms=AT_MS, part_s=60)},
            )
        ),
        TimeframesRow,
    ),
    "indicators": (
        _row(
            [
                ClosesOfSeries(
                    instrument=STOCK, timeframe_s=60, closes=_CLOSES, indicators={"SMA:20": (1.5, 2.5), "RSI:14": ()}
                )
            ]
        ),
        IndicatorsRow,
    ),
}
"""Of each table a row, and the type by which it is read."""
