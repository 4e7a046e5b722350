"""The three stages of a partition as tests run them, and what is read off what they made."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import msgspec

import topology.market
from tests.reference.brute_force import Ohlc, Row
from tests.support.generated import INSTRUMENTS, Batch
from topology.log.candle_stage import CandlesCore, CandleStage
from topology.log.frames import (
    CANDLE_FRAME,
    INDICATOR_FRAME,
    TIMEFRAME_FRAME,
    VERSION,
    CandleFrame,
    Configure,
    IndicatorFrame,
    IndicatorValue,
    TickFrame,
    TimeframeFrame,
    encode,
    tick_frame,
)
from topology.log.indicator_stage import IndicatorSeriesState, IndicatorStage
from topology.log.stage import StageState
from topology.log.timeframe_stage import TimeframeStage
from topology.market import Candle, Tick
from topology.market.history import History
from topology.market.timeframe_candles import TimeframeCandlesState

LOG, RUN = "sim-4f2a", 3
NIFTY = INSTRUMENTS[0]
FILES = Path(topology.market.__path__[0]) / "calendars"
NSE, ALWAYS_OPEN = (FILES / "nse.json").read_text(), (FILES / "always_open.json").read_text()
SPECS = ["SMA:3", "EMA:2", "RSI:2", "SMMA:3"]
CONFIGURATION = Configure(1, {7: SPECS, 120: SPECS}, {}, NSE, 1000)


class Made(NamedTuple):
    """What the stages made of one tick frame."""

    candles: CandleFrame
    timeframes: TimeframeFrame
    indicators: IndicatorFrame

    @property
    def record(self) -> bytes:
        """All of it, bit for bit."""
        return msgspec.msgpack.encode(self)


class Chain:
    """The three stages of one partition."""

    def __init__(self) -> None:
        self.candles, self.timeframes, self.indicators = (
            CandleStage(LOG, RUN), TimeframeStage(LOG, RUN), IndicatorStage(LOG, RUN)
        )  # fmt: skip
        self.position = 0

    def apply(self, record: bytes | None, *, live: bool = False) -> Made:
        candles = self.candles.apply(self.position, tick_frame(record), live=live)
        candles = CANDLE_FRAME.decode(encode(candles))
        timeframes = self.timeframes.apply(self.position, candles, live=live)
        timeframes = TIMEFRAME_FRAME.decode(encode(timeframes))
        indicators = self.indicators.apply(self.position, timeframes, live=live)
        self.position += 1
        return Made(candles, timeframes, INDICATOR_FRAME.decode(encode(indicators)))

    def run(self, records: list[bytes], *, live: bool = False) -> list[Made]:
        return [self.apply(record, live=live) for record in records]

    def states(self) -> list[bytes]:
        return [encode(stage.state()) for stage in (self.candles, self.timeframes, self.indicators)]

    def knowledge(self) -> list[object]:
        """What the stages know, their positions aside."""
        stages = (self.candles, self.timeframes, self.indicators)
        return [msgspec.structs.replace(stage.state(), position=0) for stage in stages]

    @classmethod
    def restored(cls, states: list[bytes], position: int) -> "Chain":
        chain = cls()
        decode = msgspec.msgpack.decode
        chain.candles.restore(decode(states[0], type=StageState[CandlesCore]))
        chain.timeframes.restore(decode(states[1], type=StageState[TimeframeCandlesState | None]))
        chain.indicators.restore(decode(states[2], type=StageState[list[IndicatorSeriesState]]))
        chain.position = position
        return chain


def ticks(rows: list[Row]) -> list[Tick]:
    return [Tick(row.instrument, row.price, row.time_ms, row.day_volume) for row in rows]


def frame(
    sequence: int,
    rows: list[Tick],
    clock_ms: int = 0,
    *,
    commands: list[Configure] | None = None,
    epoch: int = 1,
    history: list[History] | None = None,
) -> TickFrame:
    return TickFrame(VERSION, LOG, epoch, sequence, clock_ms, 0, commands or [], rows, history=history or [])


def records(
    cut: list[Batch],
    configurations: dict[int, Configure] | None = None,
    histories: dict[int, list[History]] | None = None,
) -> list[bytes]:
    """Tick frames of batches as a feed numbers them, by tens; what is configured and told comes with these frames.

    The first frame brings `CONFIGURATION` where nothing else is said.
    """
    configurations, histories = {0: CONFIGURATION} | (configurations or {}), histories or {}
    written, newest_ms = [], 0
    for number, (rows, clock_ms) in enumerate(cut):
        newest_ms = newest_ms if clock_ms is None else max(newest_ms, clock_ms)
        commands = [configurations[number]] if number in configurations else []
        history = histories.get(number)
        written.append(encode(frame(10 * number, ticks(rows), newest_ms, commands=commands, history=history)))
    return written


def rows_of(cut: list[Batch]) -> list[Row]:
    return [row for rows, _ in cut for row in rows]


def candles_of(made: list[Made]) -> dict[tuple[str, int, int], Ohlc]:
    rows = [candle for one in made for candle in (*one.candles.rows, *one.timeframes.rows)]
    found = {
        (c.instrument, c.timeframe_s, c.start_ms): Ohlc(c.open, c.high, c.low, c.close, c.volume, c.count) for c in rows
    }
    assert len(found) == len(rows), "a candle came twice"
    return found


def values_of(made: list[Made]) -> dict[tuple[str, str, int, int], float]:
    rows = [value for one in made for value in one.indicators.rows]
    found = {(v.instrument, v.name, v.timeframe_s, v.start_ms): v.value for v in rows}
    assert len(found) == len(rows), "a value came twice"
    return found


def by_series(made: list[Made]) -> dict[tuple[str, ...], list[Candle | IndicatorValue]]:
    """The rows of each instrument, name and timeframe, in order."""
    found: dict[tuple[str, ...], list[Candle | IndicatorValue]] = defaultdict(list)
    for one in made:
        for candle in (*one.candles.rows, *one.timeframes.rows):
            found[candle.instrument, str(candle.timeframe_s)].append(candle)
        for value in one.indicators.rows:
            found[value.instrument, str(value.timeframe_s), value.name].append(value)
    return found


def named(made: list[Made], timeframe_s: int, *names: str) -> list[bytes]:
    """The values of some indicators in the order they came, bit for bit."""
    return [
        encode(value)
        for one in made
        for value in one.indicators.rows
        if value.timeframe_s == timeframe_s and value.name in names
    ]
