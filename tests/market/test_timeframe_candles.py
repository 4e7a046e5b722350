from collections import defaultdict
from datetime import date
from itertools import pairwise
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

import topology.market
from tests.reference.brute_force import Ohlc, Row, SessionTimes, expected, indian_ms
from tests.support.generated import (
    ALL_HOURS,
    END_MS,
    INSTRUMENTS,
    NSE_HOURS,
    Batch,
    batches,
    live_batches,
    recordings,
)
from topology.market import Calendar, Candle, SecondCandles, Tick, TimeframeCandles
from topology.market.timeframe_candles import TimeframeCandlesState

FILES = Path(topology.market.__path__[0]) / "calendars"
NSE = Calendar.parse((FILES / "nse.json").read_text())
ALWAYS_OPEN = Calendar.parse((FILES / "always_open.json").read_text())
NIFTY = INSTRUMENTS[0]
TIMEFRAMES_S = [120, 5, 7, 86_400]

markets = st.sampled_from([(NSE, NSE_HOURS), (ALWAYS_OPEN, ALL_HOURS)])
lateness = st.sampled_from([0, 1, 1000, 2500])
in_order = recordings().flatmap(batches)
disordered = recordings(disorder_ms=4000).flatmap(batches)
live = recordings(disorder_ms=4000).flatmap(live_batches)

Seconds = tuple[list[Candle], int | None]  # closed seconds and the clock after them


def seconds_of(cut: list[Batch], calendar: Calendar = NSE, *, lateness_ms: int = 1000) -> list[Seconds]:
    candles = SecondCandles(calendar, lateness_ms=lateness_ms)
    return [(candles.apply(ticks(rows), clock_ms)[0], clock_ms) for rows, clock_ms in cut]


def ticks(rows: list[Row]) -> list[Tick]:
    return [Tick(row.instrument, row.price, row.time_ms, row.day_volume) for row in rows]


def feed(candles: TimeframeCandles, seconds: list[Seconds]) -> list[list[Candle]]:
    return [candles.apply(closed, clock_ms) for closed, clock_ms in seconds]


def flat(applied: list[list[Candle]]) -> list[Candle]:
    return [candle for candles in applied for candle in candles]


def by_key(candles: list[Candle]) -> dict[tuple[str, int, int], Ohlc]:
    found = {
        (c.instrument, c.timeframe_s, c.start_ms): Ohlc(c.open, c.high, c.low, c.close, c.volume, c.count)
        for c in candles
    }
    assert len(found) == len(candles), "a candle came twice"
    return found


def by_series(candles: list[Candle]) -> dict[tuple[str, int], list[Candle]]:
    found = defaultdict(list)
    for candle in candles:
        found[candle.instrument, candle.timeframe_s].append(candle)
    return found


def restored(state: TimeframeCandlesState) -> TimeframeCandles:
    candles = TimeframeCandles(NSE, TIMEFRAMES_S)
    candles.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=TimeframeCandlesState))
    return candles


def at(clock: str) -> int:
    """Milliseconds of an Indian time on an ordinary Monday."""
    return indian_ms(date(2022, 11, 7), clock)


def second(clock: str, close: int = 100, volume: int = 0) -> Candle:
    return Candle(NIFTY, 1, at(clock), close, close, close, close, volume, 1)


def starts(candles: list[Candle]) -> list[tuple[int, int]]:
    return [(candle.timeframe_s, candle.start_ms) for candle in candles]


# -- Laws


@settings(max_examples=300)
@given(disordered, markets, lateness)
def test_candles_equal_those_folded_from_the_ticks_by_brute_force(
    cut: list[Batch], market: tuple[Calendar, list[SessionTimes]], lateness_ms: int
) -> None:
    calendar, sessions = market
    seconds = seconds_of(cut, calendar, lateness_ms=lateness_ms)
    candles = flat(feed(TimeframeCandles(calendar, TIMEFRAMES_S, lateness_ms=lateness_ms), seconds))
    rows: list[Row] = [row for batch, _ in cut for row in batch]
    reference = expected(rows, sessions, timeframes_s=TIMEFRAMES_S, lateness_ms=lateness_ms).candles
    assert by_key(candles) == {key: candle for key, candle in reference.items() if key[1] != 1}


@given(in_order)
def test_for_ticks_in_order_neither_cuts_nor_clocks_change_a_candle(cut: list[Batch]) -> None:
    whole = seconds_of([([row for rows, _ in cut for row in rows], END_MS)])
    candles = flat(feed(TimeframeCandles(NSE, TIMEFRAMES_S), seconds_of(cut)))
    assert by_series(candles) == by_series(flat(feed(TimeframeCandles(NSE, TIMEFRAMES_S), whole)))


@given(live)
def test_an_instrument_alone_gets_the_candles_that_it_gets_among_others(cut: list[Batch]) -> None:
    seconds = seconds_of(cut)
    together = by_series(flat(feed(TimeframeCandles(NSE, TIMEFRAMES_S), seconds)))
    for name in INSTRUMENTS:
        alone = [([c for c in closed if c.instrument == name], clock_ms) for closed, clock_ms in seconds]
        expected_alone = {key: candles for key, candles in together.items() if key[0] == name}
        assert by_series(flat(feed(TimeframeCandles(NSE, TIMEFRAMES_S), alone))) == expected_alone


@given(live, st.data())
def test_a_restart_from_the_state_changes_nothing_that_follows(cut: list[Batch], data: st.DataObject) -> None:
    seconds = seconds_of(cut)
    restart = data.draw(st.integers(0, len(seconds)))
    straight = TimeframeCandles(NSE, TIMEFRAMES_S)
    feed(straight, seconds[:restart])
    restarted = restored(straight.state())
    assert restarted.state() == straight.state()
    assert feed(restarted, seconds[restart:]) == feed(straight, seconds[restart:])
    assert restarted.state() == straight.state()


@given(live)
def test_a_state_is_a_value_that_later_seconds_leave_alone(cut: list[Batch]) -> None:
    candles = TimeframeCandles(NSE, TIMEFRAMES_S)
    for seconds in seconds_of(cut):
        state = candles.state()
        kept = msgspec.msgpack.encode(state)
        copy = TimeframeCandles(NSE, TIMEFRAMES_S)
        copy.restore(state)
        feed(candles, [seconds])
        feed(copy, [seconds])
        assert msgspec.msgpack.encode(state) == kept


@given(live)
def test_a_clock_that_goes_back_counts_as_the_newest_before_it(cut: list[Batch]) -> None:
    seconds = seconds_of(cut)
    newest_ms = -1
    never_back: list[Seconds] = []
    for closed, clock_ms in seconds:
        newest_ms = max(newest_ms, -1 if clock_ms is None else clock_ms)
        never_back.append((closed, newest_ms))
    assert feed(TimeframeCandles(NSE, TIMEFRAMES_S), seconds) == feed(TimeframeCandles(NSE, TIMEFRAMES_S), never_back)


@given(live)
def test_candles_of_a_series_come_in_order_each_once_and_are_well_formed(cut: list[Batch]) -> None:
    for candles in by_series(flat(feed(TimeframeCandles(NSE, TIMEFRAMES_S), seconds_of(cut)))).values():
        assert all(older.start_ms < newer.start_ms for older, newer in pairwise(candles))
        for candle in candles:
            assert candle.low <= min(candle.open, candle.close)
            assert candle.high >= max(candle.open, candle.close)
            assert candle.volume >= 0
            assert candle.count >= 1
            (open_ms,) = (opens for opens, closes in NSE_HOURS if opens <= candle.start_ms < closes)
            assert (candle.start_ms - open_ms) % (candle.timeframe_s * 1000) == 0


@given(live)
def test_every_timeframe_has_the_volume_and_the_ticks_of_its_seconds(cut: list[Batch]) -> None:
    seconds = seconds_of(cut)
    candles = flat(feed(TimeframeCandles(NSE, TIMEFRAMES_S), seconds))
    closed = [second for batch, _ in seconds for second in batch]
    for timeframe_s in TIMEFRAMES_S:
        folded = [c for c in candles if c.timeframe_s == timeframe_s]
        assert sum(c.volume for c in folded) == sum(c.volume for c in closed)
        assert sum(c.count for c in folded) == sum(c.count for c in closed)


@given(live)
def test_forming_shows_what_would_close_now_and_changes_nothing(cut: list[Batch]) -> None:
    seconds, candles = SecondCandles(NSE), TimeframeCandles(NSE, TIMEFRAMES_S)
    for rows, clock_ms in cut:
        candles.apply(seconds.apply(ticks(rows), clock_ms)[0], clock_ms)
        before = candles.state()
        open_seconds = seconds.forming(INSTRUMENTS)
        forming = by_key(candles.forming(open_seconds))
        assert candles.state() == before
        assert bool(forming) == bool(open_seconds)
        closing = by_key(restored(before).apply(open_seconds, END_MS))
        assert forming.items() <= closing.items()


# -- Examples


def test_the_first_candle_of_120_s_starts_at_the_open_not_at_an_even_minute() -> None:
    candles = TimeframeCandles(NSE, [120]).apply([second("09:15:00"), second("09:16:59"), second("09:17:00")], END_MS)
    assert [(c.start_ms, c.count) for c in candles] == [(at("09:15"), 2), (at("09:17"), 1)]


def test_the_close_of_the_session_cuts_the_last_candle() -> None:
    candles = TimeframeCandles(NSE, [120, 7200], lateness_ms=1000)
    assert candles.apply([second("15:29:59")], at("15:30:00.999")) == []
    assert starts(candles.apply([], at("15:30:01"))) == [(120, at("15:29")), (7200, at("15:15"))]


def test_a_candle_closes_when_the_clock_reaches_its_end_and_the_lateness() -> None:
    candles = TimeframeCandles(NSE, [60], lateness_ms=1000)
    assert candles.apply([second("10:00:00")], at("10:01:00.999")) == []
    assert starts(candles.apply([], at("10:01:01"))) == [(60, at("10:00"))]


def test_a_candle_closes_when_a_later_second_of_its_instrument_arrives() -> None:
    candles = TimeframeCandles(NSE, [60])
    assert candles.apply([second("10:00:00", 100, 5), second("10:00:30", 90, 7)]) == []
    assert candles.apply([second("10:01:00")]) == [Candle(NIFTY, 60, at("10:00"), 100, 100, 90, 90, 12, 2)]


def test_candles_that_the_clock_closes_come_by_end_timeframe_and_instrument() -> None:
    names = ["NSE:30", "NSE:4", "BSE:5"]
    seconds = [Candle(name, 1, at("10:00"), 100, 100, 100, 100, 0, 1) for name in names]
    candles = TimeframeCandles(NSE, [60, 30, 20]).apply(seconds, END_MS)
    assert [(c.timeframe_s, c.instrument) for c in candles] == [
        (timeframe_s, name) for timeframe_s in (20, 30, 60) for name in sorted(names)
    ]


def test_candles_that_a_second_closes_come_by_timeframe_however_they_were_configured() -> None:
    candles = TimeframeCandles(NSE, [120, 5, 60])
    assert starts(candles.apply([second("10:00:00"), second("10:10:00")])) == [
        (5, at("10:00")), (60, at("10:00")), (120, at("09:59"))
    ]  # fmt: skip


def test_where_it_is_always_open_a_candle_of_a_day_is_an_indian_day() -> None:
    candles = TimeframeCandles(ALWAYS_OPEN, [86_400])
    assert candles.apply([second("00:00:00"), second("23:59:59")], at("24:00")) == []
    assert starts(candles.apply([second("24:00:00")])) == [(86_400, at("00:00"))]


def test_where_it_is_always_open_midnight_cuts_a_timeframe_that_does_not_divide_the_day() -> None:
    seven_minutes_s = 420
    candles = TimeframeCandles(ALWAYS_OPEN, [seven_minutes_s]).apply([second("23:59:59"), second("24:00:00")], END_MS)
    assert [c.start_ms for c in candles] == [at("23:55"), at("24:00")]


def test_a_timeframe_that_stays_goes_on_and_one_that_goes_loses_its_forming_candle() -> None:
    candles = TimeframeCandles(NSE, [60, 120])
    candles.apply([second("10:01:00")])
    candles.configure(NSE, [300, 60], lateness_ms=1000)
    closed = candles.apply([second("10:01:30")], END_MS)
    assert [(c.timeframe_s, c.start_ms, c.count) for c in closed] == [(60, at("10:01"), 2), (300, at("10:00"), 1)]


def test_a_second_that_a_new_calendar_puts_outside_the_session_is_a_candle_of_its_own() -> None:
    candles = TimeframeCandles(ALWAYS_OPEN, [60])
    candles.configure(NSE, [60], lateness_ms=1000)
    assert starts(candles.apply([second("08:00:07")], END_MS)) == [(60, at("08:00:07"))]
