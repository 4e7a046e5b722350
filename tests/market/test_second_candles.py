from collections import defaultdict
from datetime import date
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
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
from topology.market import Calendar, CalendarError, Candle, SecondCandles, Tick
from topology.market.second_candles import LateTick, SecondCandlesState

FILES = Path(topology.market.__path__[0]) / "calendars"
NSE = Calendar.parse((FILES / "nse.json").read_text())
ALWAYS_OPEN = Calendar.parse((FILES / "always_open.json").read_text())
NIFTY = INSTRUMENTS[0]

markets = st.sampled_from([(NSE, NSE_HOURS), (ALWAYS_OPEN, ALL_HOURS)])
lateness = st.sampled_from([0, 1, 1000, 2500])
in_order = recordings().flatmap(batches)
disordered = recordings(disorder_ms=4000).flatmap(batches)
live = recordings(disorder_ms=4000).flatmap(live_batches)

Applied = tuple[list[Candle], list[LateTick], int, int]


def ticks(rows: list[Row]) -> list[Tick]:
    return [Tick(row.instrument, row.price, row.time_ms, row.day_volume) for row in rows]


def feed(candles: SecondCandles, cut: list[Batch]) -> list[Applied]:
    return [candles.apply(ticks(rows), clock_ms) for rows, clock_ms in cut]


def closed(applied: list[Applied]) -> list[Candle]:
    return [candle for candles, *_ in applied for candle in candles]


def late(applied: list[Applied]) -> list[LateTick]:
    return [tick for _, late_ticks, *_ in applied for tick in late_ticks]


def rows_of(cut: list[Batch]) -> list[Row]:
    return [row for rows, _ in cut for row in rows]


def by_key(candles: list[Candle]) -> dict[tuple[str, int, int], Ohlc]:
    found = {
        (c.instrument, c.timeframe_s, c.start_ms): Ohlc(c.open, c.high, c.low, c.close, c.volume, c.count)
        for c in candles
    }
    assert len(found) == len(candles), "a candle came twice"
    return found


def by_instrument(candles: list[Candle]) -> dict[str, list[Candle]]:
    found = defaultdict(list)
    for candle in candles:
        found[candle.instrument].append(candle)
    return found


def through_bytes(state: SecondCandlesState) -> SecondCandlesState:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=SecondCandlesState)


def at(clock: str) -> int:
    """Milliseconds of an Indian time on an ordinary Monday."""
    return indian_ms(date(2022, 11, 7), clock)


def tick(clock: str, price: int = 100, volume: int | None = None) -> Tick:
    return Tick(NIFTY, price, at(clock), volume)


# -- Laws


@settings(max_examples=300)
@given(disordered, markets, lateness)
def test_candles_and_verdicts_equal_the_brute_force(
    cut: list[Batch], market: tuple[Calendar, list[SessionTimes]], lateness_ms: int
) -> None:
    calendar, sessions = market
    applied = feed(SecondCandles(calendar, lateness_ms=lateness_ms), cut)
    rows = rows_of(cut)
    reference = expected(rows, sessions, lateness_ms=lateness_ms)
    assert by_key(closed(applied)) == reference.candles
    assert sum(accepted for _, _, accepted, _ in applied) == len(reference.accepted)
    assert sum(outside for *_, outside in applied) == len(reference.out_of_session)
    assert [(t.instrument, t.time_ms) for t in late(applied)] == [rows[number][:2] for number in reference.late]


@given(live, markets, lateness)
def test_a_tick_is_late_by_the_newest_tick_of_its_instrument_or_by_the_newest_clock(
    cut: list[Batch], market: tuple[Calendar, list[SessionTimes]], lateness_ms: int
) -> None:
    calendar, sessions = market
    clocks_ms, clock_ms = [], 0
    for rows, after_ms in cut:
        clocks_ms += [clock_ms] * len(rows)
        clock_ms = max(clock_ms, after_ms or 0)
    applied = feed(SecondCandles(calendar, lateness_ms=lateness_ms), cut)
    rows = rows_of(cut)
    reference = expected(rows, sessions, lateness_ms=lateness_ms, clocks_ms=clocks_ms)
    assert by_key(closed(applied)) == reference.candles
    assert [(t.instrument, t.time_ms) for t in late(applied)] == [rows[number][:2] for number in reference.late]


@given(in_order)
def test_for_ticks_in_order_neither_cuts_nor_clocks_change_a_candle(cut: list[Batch]) -> None:
    whole = SecondCandles(NSE).apply(ticks(rows_of(cut)), END_MS)[0]
    assert by_instrument(closed(feed(SecondCandles(NSE), cut))) == by_instrument(whole)


@given(recordings(disorder_ms=4000))
def test_an_instrument_alone_gets_the_candles_that_it_gets_among_others(rows: list[Row]) -> None:
    candles, late_ticks, *_ = SecondCandles(NSE).apply(ticks(rows), END_MS)
    for name in INSTRUMENTS:
        alone = SecondCandles(NSE).apply([t for t in ticks(rows) if t.instrument == name], END_MS)
        assert alone[:2] == (by_instrument(candles)[name], [t for t in late_ticks if t.instrument == name])


@given(live, st.data())
def test_a_restart_from_the_state_changes_nothing_that_follows(cut: list[Batch], data: st.DataObject) -> None:
    restart = data.draw(st.integers(0, len(cut)))
    straight, restarted = SecondCandles(NSE), SecondCandles(NSE)
    feed(straight, cut[:restart])
    restarted.restore(through_bytes(straight.state()))
    assert restarted.state() == straight.state()
    assert feed(restarted, cut[restart:]) == feed(straight, cut[restart:])
    assert restarted.state() == straight.state()


@given(live)
def test_a_state_is_a_value_that_later_ticks_leave_alone(cut: list[Batch]) -> None:
    candles = SecondCandles(NSE)
    for rows, clock_ms in cut:
        state = candles.state()
        kept = msgspec.msgpack.encode(state)
        copy = SecondCandles(NSE)
        copy.restore(state)
        candles.apply(ticks(rows), clock_ms)
        copy.apply(ticks(rows), clock_ms)
        assert msgspec.msgpack.encode(state) == kept


@given(live)
def test_a_clock_that_goes_back_counts_as_the_newest_before_it(cut: list[Batch]) -> None:
    newest_ms = -1
    never_back: list[Batch] = []
    for rows, clock_ms in cut:
        newest_ms = max(newest_ms, -1 if clock_ms is None else clock_ms)
        never_back.append((rows, newest_ms))
    assert feed(SecondCandles(NSE), cut) == feed(SecondCandles(NSE), never_back)


@given(live)
def test_candles_of_an_instrument_come_in_order_each_once_and_are_well_formed(cut: list[Batch]) -> None:
    for candles in by_instrument(closed(feed(SecondCandles(NSE), cut))).values():
        assert all(older.start_ms < newer.start_ms for older, newer in pairwise(candles))
        for candle in candles:
            assert candle.low <= min(candle.open, candle.close)
            assert candle.high >= max(candle.open, candle.close)
            assert candle.volume >= 0
            assert candle.count >= 1
            assert candle.start_ms % 1000 == 0


@given(in_order)
def test_the_volume_of_a_session_is_its_highest_day_volume_less_its_first(cut: list[Batch]) -> None:
    candles = closed(feed(SecondCandles(NSE), cut))
    for name in INSTRUMENTS:
        for open_ms, close_ms in NSE_HOURS:
            volumes = [
                row.day_volume
                for row in rows_of(cut)
                if row.instrument == name and open_ms <= row.time_ms < close_ms and row.day_volume is not None
            ]
            traded = sum(c.volume for c in candles if c.instrument == name and open_ms <= c.start_ms < close_ms)
            assert traded == (max(volumes) - volumes[0] if volumes else 0)


@given(live)
def test_forming_shows_what_would_close_now_and_changes_nothing(cut: list[Batch]) -> None:
    candles = SecondCandles(NSE)
    for rows, clock_ms in cut:
        candles.apply(ticks(rows), clock_ms)
        before = candles.state()
        forming = candles.forming(INSTRUMENTS)
        assert candles.state() == before
        twin = SecondCandles(NSE)
        twin.restore(before)
        assert by_instrument(twin.apply([], END_MS)[0]) == by_instrument(forming)


@given(live, live, lateness, lateness)
def test_whatever_lateness_changes_to_no_second_closes_twice(
    before: list[Batch], after: list[Batch], lateness_ms: int, changed_ms: int
) -> None:
    candles = SecondCandles(NSE, lateness_ms=lateness_ms)
    applied = feed(candles, before[:-1])
    candles.configure(NSE, lateness_ms=changed_ms)
    for seconds in by_instrument(closed(applied + feed(candles, after))).values():
        assert all(older.start_ms < newer.start_ms for older, newer in pairwise(seconds))


# -- Examples


def test_open_and_close_are_first_and_last_by_time_and_for_equal_times_by_arrival() -> None:
    arrivals = [
        tick("10:00:00.500", 105),
        tick("10:00:00.100", 101),
        tick("10:00:00.900", 109),
        tick("10:00:00.100", 102),
        tick("10:00:00.900", 108),
        tick("10:00:00.300", 200),
    ]
    candles, *_ = SecondCandles(NSE).apply(arrivals, END_MS)
    assert candles == [Candle(NIFTY, 1, at("10:00"), 101, 200, 101, 108, 0, 6)]


def test_a_tick_on_the_boundary_opens_the_next_candle() -> None:
    candles, *_ = SecondCandles(NSE).apply([tick("10:00:00.999"), tick("10:00:01")], END_MS)
    assert [(c.start_ms, c.count) for c in candles] == [(at("10:00:00"), 1), (at("10:00:01"), 1)]


def test_a_second_without_a_tick_has_no_candle() -> None:
    candles, *_ = SecondCandles(NSE).apply([tick("10:00:00"), tick("10:00:03")], END_MS)
    assert [c.start_ms for c in candles] == [at("10:00:00"), at("10:00:03")]


def test_the_first_tick_of_the_session_counts_and_the_one_at_its_close_does_not() -> None:
    edges = [tick("09:14:59.999"), tick("09:15:00"), tick("15:29:59.999"), tick("15:30:00")]
    candles, _, accepted, outside = SecondCandles(NSE).apply(edges, END_MS)
    assert (accepted, outside) == (2, 2)
    assert [c.start_ms for c in candles] == [at("09:15:00"), at("15:29:59")]


def test_a_candle_closes_when_the_clock_reaches_its_end_and_the_lateness() -> None:
    candles = SecondCandles(NSE, lateness_ms=1000)
    assert candles.apply([tick("10:00:00.500")], at("10:00:01.999"))[0] == []
    assert [c.start_ms for c in candles.apply([], at("10:00:02"))[0]] == [at("10:00:00")]


def test_a_candle_closes_when_a_newer_tick_reaches_its_end_and_the_lateness() -> None:
    candles = SecondCandles(NSE, lateness_ms=1000)
    assert candles.apply([tick("10:00:00.500"), tick("10:00:01.999")])[0] == []
    assert [c.start_ms for c in candles.apply([tick("10:00:02")])[0]] == [at("10:00:00")]


def test_a_tick_of_an_open_candle_closes_an_older_one_that_it_leaves_behind() -> None:
    candles = SecondCandles(NSE, lateness_ms=500)
    assert candles.apply([tick("10:00:00"), tick("10:00:01"), tick("10:00:01.499")])[0] == []
    assert [c.start_ms for c in candles.apply([tick("10:00:01.500")])[0]] == [at("10:00:00")]


def test_every_tick_of_a_candle_counts_for_what_is_late() -> None:
    for newest, late_by in [("10:00:03.499", []), ("10:00:03.500", [LateTick(NIFTY, at("10:00:00"), 3500)])]:
        candles = SecondCandles(NSE, lateness_ms=2500)
        assert candles.apply([tick("10:00:03"), tick(newest), tick("10:00:00")])[1] == late_by


def test_a_late_tick_says_how_late_it_was_and_changes_nothing() -> None:
    candles = SecondCandles(NSE, lateness_ms=1000)
    candles.apply([tick("10:00:05")])
    before = candles.state()
    assert candles.apply([tick("10:00:03", volume=7)]) == ([], [LateTick(NIFTY, at("10:00:03"), 2000)], 0, 0)
    assert candles.state() == before


def test_ticks_outside_the_session_make_no_tick_late() -> None:
    _, late_ticks, accepted, outside = SecondCandles(NSE).apply([tick("15:30:05"), tick("15:29:59")])
    assert (late_ticks, accepted, outside) == ([], 1, 1)


def test_volume_is_carried_over_candles_and_starts_anew_with_the_session() -> None:
    tuesday = Tick(NIFTY, 100, indian_ms(date(2022, 11, 9), "09:15"), 400)
    day = [tick("10:00:00", volume=1000), tick("10:00:01", volume=1010), tick("10:00:09", volume=1030), tuesday]
    candles, *_ = SecondCandles(NSE).apply(day, END_MS)
    assert [c.volume for c in candles] == [0, 10, 20, 0]


def test_a_tick_of_yesterday_after_the_first_of_today_trades_nothing() -> None:
    midnight_ms = at("24:00")
    around = [
        Tick(NIFTY, 100, midnight_ms - 500, 9000),
        Tick(NIFTY, 100, midnight_ms, 0),
        Tick(NIFTY, 100, midnight_ms - 1, 9001),
        Tick(NIFTY, 100, midnight_ms + 1, 3),
    ]
    candles, *_ = SecondCandles(ALWAYS_OPEN).apply(around, END_MS)
    assert [(c.start_ms - midnight_ms, c.volume, c.count) for c in candles] == [(-1000, 0, 2), (0, 3, 2)]


def test_candles_that_the_clock_closes_come_by_second_and_instrument() -> None:
    names = ["NSE:30", "NSE:4", "BSE:5"]
    ticks_of_two_seconds = [Tick(name, 100, at("10:00:00") + after_ms) for after_ms in (1000, 0) for name in names]
    candles, *_ = SecondCandles(NSE).apply(ticks_of_two_seconds, END_MS)
    assert [(c.start_ms - at("10:00:00"), c.instrument) for c in candles] == [
        (start, name) for start in (0, 1000) for name in sorted(names)
    ]


def test_an_instrument_takes_the_sessions_of_the_class_it_was_given() -> None:
    stock, after_the_auction_ms = "NSE:2885", indian_ms(date(2026, 8, 3), "15:20")
    plain, given_class = SecondCandles(NSE), SecondCandles(NSE, classes={stock: "equity_cas"})
    assert plain.apply([Tick(stock, 100, after_the_auction_ms)])[2:] == (1, 0)
    assert given_class.apply([Tick(stock, 100, after_the_auction_ms)])[2:] == (0, 1)


def test_a_day_that_the_calendar_does_not_cover_is_an_error() -> None:
    with pytest.raises(CalendarError, match="2031-01-01 is not covered"):
        SecondCandles(NSE).apply([Tick(NIFTY, 100, indian_ms(date(2031, 1, 1), "10:00"))])
