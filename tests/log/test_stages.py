"""The three stages of a partition, one after the other, with the bytes of the log between them."""

import csv
import gzip
from collections import defaultdict
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import topology.market
from tests.reference.brute_force import INDIAN_TIME, Ohlc, Row, expected, indicator, trading_hours
from tests.reference.generated import (
    ALL_HOURS,
    END_MS,
    INSTRUMENTS,
    MOMENTS,
    NSE_HOURS,
    Batch,
    batches,
    live_batches,
    recordings,
)
from topology.indicators import KEPT_CLOSES
from topology.log.candles import CandlesCore, CandleStage
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
from topology.log.indicators import IndicatorStage, SeriesState
from topology.log.stage import StageState
from topology.log.timeframes import TimeframeStage
from topology.market import Candle, Tick
from topology.market.timeframes import TimeframesState

LOG, RUN = "sim-4f2a", 3
NIFTY = INSTRUMENTS[0]
FILES = Path(topology.market.__path__[0]) / "calendars"
NSE, ALWAYS_OPEN = (FILES / "nse.json").read_text(), (FILES / "always_open.json").read_text()
SPECS = ["SMA:3", "EMA:2", "RSI:2", "SMMA:3"]
CONFIGURATION = Configure(1, {7: SPECS, 120: SPECS}, {}, NSE, 1000)

in_order = recordings().flatmap(batches)
disordered = recordings(disorder_ms=4000).flatmap(batches)
live_feeds = recordings(disorder_ms=4000).flatmap(live_batches)


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
        chain.timeframes.restore(decode(states[1], type=StageState[TimeframesState | None]))
        chain.indicators.restore(decode(states[2], type=StageState[list[SeriesState]]))
        chain.position = position
        return chain


def ticks(rows: list[Row]) -> list[Tick]:
    return [Tick(row.instrument, row.price, row.time_ms, row.day_volume) for row in rows]


def frame(
    sequence: int, rows: list[Tick], clock_ms: int = 0, *, commands: list[Configure] | None = None, epoch: int = 1
) -> TickFrame:
    return TickFrame(VERSION, LOG, epoch, sequence, clock_ms, 0, commands or [], rows)


def records(cut: list[Batch], configurations: dict[int, Configure] | None = None) -> list[bytes]:
    """Tick frames of batches as a feed numbers them, by tens; ``configurations`` come with the frames of these numbers.

    The first frame brings `CONFIGURATION` where nothing else is said.
    """
    configurations = {0: CONFIGURATION} | (configurations or {})
    written, newest_ms = [], 0
    for number, (rows, clock_ms) in enumerate(cut):
        newest_ms = newest_ms if clock_ms is None else max(newest_ms, clock_ms)
        commands = [configurations[number]] if number in configurations else []
        written.append(encode(frame(10 * number, ticks(rows), newest_ms, commands=commands)))
    return written


def rows_of(cut: list[Batch]) -> list[Row]:
    return [row for rows, _ in cut for row in rows]


def candles_of(made: list[Made]) -> dict[tuple[str, int, int], Ohlc]:
    rows = [candle for one in made for candle in (*one.candles.rows, *one.timeframes.rows)]
    found = {
        (c.instrument, c.timeframe_s, c.start_ms): Ohlc(c.open, c.high, c.low, c.close, c.volume, c.count)
        for c in rows
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


# -- Frames


@given(live_feeds, st.booleans())
def test_each_tick_frame_becomes_one_frame_of_every_stage_at_its_position(cut: list[Batch], live: bool) -> None:
    chain = Chain()
    for position, record in enumerate(records(cut)):
        written = tick_frame(record)
        assert isinstance(written, TickFrame)
        for made in chain.apply(record, live=live):
            assert (made.log, made.run, made.position) == (LOG, RUN, position)
            assert (made.clock_ms, made.commands, made.gap) == (written.clock_ms, written.commands, "")
        assert chain.candles.position == chain.timeframes.position == chain.indicators.position == position


@given(disordered, st.sampled_from([(NSE, NSE_HOURS), (ALWAYS_OPEN, ALL_HOURS)]), st.sampled_from([0, 1000, 2500]))
def test_candles_values_and_counts_equal_the_brute_force(
    cut: list[Batch], market: tuple[str, list[tuple[int, int]]], lateness_ms: int
) -> None:
    calendar, sessions = market
    configuration = msgspec.structs.replace(CONFIGURATION, calendar=calendar, lateness_ms=lateness_ms)
    made = Chain().run(records(cut, {0: configuration}))
    reference = expected(rows_of(cut), sessions, timeframes_s=[7, 120], specs=SPECS, lateness_ms=lateness_ms)
    assert candles_of(made) == reference.candles
    assert values_of(made) == pytest.approx(reference.values, rel=1e-12)
    assert sum(one.candles.accepted for one in made) == len(reference.accepted)
    assert sum(len(one.candles.late) for one in made) == len(reference.late)
    assert sum(one.candles.out_of_session for one in made) == len(reference.out_of_session)


@given(in_order)
def test_for_ticks_in_order_no_row_depends_on_where_frames_were_cut(cut: list[Batch]) -> None:
    whole: list[Batch] = [(rows_of(cut), END_MS)]
    assert by_series(Chain().run(records(cut))) == by_series(Chain().run(records(whole)))


@given(live_feeds)
def test_live_values_change_no_row_and_no_state(cut: list[Batch]) -> None:
    shown, hidden = Chain(), Chain()
    for record in records(cut):
        seen, unseen = shown.apply(record, live=True), hidden.apply(record, live=False)
        assert [made.rows for made in seen] == [made.rows for made in unseen]
        assert all(made.live == [] for made in unseen)
    assert shown.states()[:2] == hidden.states()[:2]


@given(in_order)
def test_a_live_value_is_the_value_that_is_confirmed_when_nothing_comes_any_more(cut: list[Batch]) -> None:
    chain = Chain()
    for record in records(cut[:-1]):
        live = chain.apply(record, live=True)
        closing = Chain.restored(chain.states(), chain.position)
        confirmed = closing.apply(encode(frame(1_000_000, [], END_MS)))
        for seen, final in zip(live, confirmed, strict=True):
            newest = {series_of(row): row for row in final.rows}
            for row in seen.live:
                # Where a second and a later one are open the older value closes first.
                if row.start_ms == newest[series_of(row)].start_ms and single(seen.live, row):
                    assert row == newest[series_of(row)]


def series_of(row: Candle | IndicatorValue) -> tuple[str, int, str]:
    return row.instrument, row.timeframe_s, row.name if isinstance(row, IndicatorValue) else ""


def single(rows: list[Candle] | list[IndicatorValue], row: Candle | IndicatorValue) -> bool:
    return sum(series_of(other) == series_of(row) for other in rows) == 1
