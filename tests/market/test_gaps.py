"""What a feed did not see: candles that say so, and volume that is no candle's."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import topology.market
from topology.market import Baseline, Calendar, Candle, Gap, SecondCandles, Tick, TimeframeCandles
from topology.market.candle import EXTREME, PARTIAL
from topology.market.second_candles import SecondCandlesState
from topology.market.timeframe_candles import TimeframeCandlesState

NSE = Calendar.parse((Path(topology.market.__path__[0]) / "calendars/nse.json").read_text())
STOCK, OTHER = "NSE:2885", "NSE:1594"
OPEN_MS = 1_669_088_700_000  # 2022-11-22 09:15 in India
CLOSE_MS = OPEN_MS + 375 * 60_000


def tick(second: float, price: int = 100, volume: int | None = None, **told: int) -> Tick:
    return Tick(STOCK, price, OPEN_MS + round(second * 1000), volume, **told)


def gap(start: float, end: float | None = None) -> Gap:
    return Gap([STOCK], OPEN_MS + round(start * 1000), None if end is None else OPEN_MS + round(end * 1000))


def closed(candles: SecondCandles, *ticks: Tick) -> list[Candle]:
    return candles.apply(ticks, CLOSE_MS + 5000)[0]


def marks(candles: list[Candle]) -> dict[float, int]:
    return {(candle.start_ms - OPEN_MS) / 1000: candle.marks for candle in candles}


def test_the_seconds_that_overlap_with_a_gap_are_partial() -> None:
    candles = SecondCandles(NSE)
    made = candles.apply([tick(1), tick(2), tick(3.2)])[0]
    candles.interrupt(gap(3.2))
    candles.interrupt(gap(3.2, 6.5))
    made += closed(candles, tick(6.6), tick(7))
    assert marks(made) == {1: 0, 2: 0, 3: PARTIAL, 6: PARTIAL, 7: 0}


def test_a_gap_that_lasts_makes_every_candle_partial_and_that_of_one_instrument_no_other_s() -> None:
    candles = SecondCandles(NSE)
    candles.interrupt(gap(2))
    made = closed(candles, tick(1), tick(5), Tick(OTHER, 100, OPEN_MS + 5000))
    assert {(candle.instrument, candle.marks) for candle in made} == {(STOCK, 0), (STOCK, PARTIAL), (OTHER, 0)}


def test_a_gap_ends_where_it_ends_to_the_millisecond() -> None:
    candles = SecondCandles(NSE)
    candles.interrupt(gap(2, 4))
    assert marks(closed(candles, tick(1.999), tick(2), tick(3.999), tick(4))) == {1: 0, 2: PARTIAL, 3: PARTIAL, 4: 0}


def test_a_timeframe_candle_is_partial_where_a_gap_overlaps_even_if_it_hid_whole_seconds() -> None:
    minutes = TimeframeCandles(NSE, [60])
    made = minutes.apply([second(10), second(70)])
    minutes.interrupt(gap(80))
    minutes.interrupt(gap(80, 125))
    made += minutes.apply([second(200), second(260)], CLOSE_MS + 5000)
    assert marks(made) == {0: 0, 60: PARTIAL, 180: 0, 240: 0}


def test_a_timeframe_candle_has_the_marks_of_its_seconds() -> None:
    minutes = TimeframeCandles(NSE, [60])
    made = minutes.apply([second(10), second(11, EXTREME), second(12), second(70)], CLOSE_MS + 5000)
    assert marks(made) == {0: EXTREME, 60: 0}
    assert minutes.forming([second(200, PARTIAL)])[0].marks == PARTIAL


def second(start: float, mark: int = 0) -> Candle:
    return Candle(STOCK, 1, OPEN_MS + round(start * 1000), 100, 100, 100, 100, 5, 1, mark)


def test_an_extreme_that_no_tick_has_shown_extends_the_candle_and_is_marked() -> None:
    first, second_, third = closed(
        SecondCandles(NSE), tick(1, high=120, low=90), tick(1.5, 130), tick(2, 100), tick(2.5, 100, low=95), tick(3)
    )
    assert (first.open, first.high, first.low, first.close, first.marks) == (100, 130, 90, 130, EXTREME)
    assert (second_.high, second_.low, second_.marks) == (100, 95, EXTREME)
    assert third.marks == 0


def test_an_extreme_inside_the_candle_changes_nothing() -> None:
    (candle,) = closed(SecondCandles(NSE), tick(1, 100), tick(1.1, 120), tick(1.2, 90), tick(1.5, high=110, low=95))
    assert (candle.high, candle.low, candle.marks) == (120, 90, 0)


def test_what_was_traded_in_a_gap_is_no_candle_s() -> None:
    candles = SecondCandles(NSE)
    made = candles.apply([tick(1, volume=1000), tick(1.5, volume=1010)])[0]
    candles.interrupt(gap(1.5, 30))
    made += candles.apply([tick(30, volume=1500), tick(30.5, volume=1520)], CLOSE_MS + 5000)[0]
    assert [candle.volume for candle in made] == [10, 20]
    assert candles.gap_volumes() == {STOCK: 490}
    assert candles.gap_volumes() == {}


def test_a_snapshot_tells_what_a_gap_hid_so_that_the_next_tick_has_its_own_volume() -> None:
    candles = SecondCandles(NSE)
    candles.apply([tick(1, volume=1000)])
    candles.interrupt(gap(1, 30))
    candles.rebase(Baseline(STOCK, OPEN_MS + 20_000, 1400))
    (_, candle) = closed(candles, tick(40, volume=1425))
    assert candle.volume == 25
    assert candles.gap_volumes() == {STOCK: 400}


@pytest.mark.parametrize("second_", [-60.0, 375 * 60.0])
def test_a_snapshot_from_outside_the_session_tells_nothing(second_: float) -> None:
    candles = SecondCandles(NSE)
    candles.rebase(Baseline(STOCK, OPEN_MS + round(second_ * 1000), 900))
    (candle,) = closed(candles, tick(1, volume=1000))
    assert candle.volume == 0
    assert candles.gap_volumes() == {}


volumes = st.integers(0, 500)
steps = st.lists(
    st.tuples(st.sampled_from(["tick", "tick", "tick", "gap", "snapshot", "repeat"]), st.integers(1, 4000), volumes),
    max_size=60,
)


@given(steps)
def test_volume_is_neither_lost_nor_doubled(steps: list[tuple[str, int, int]]) -> None:
    """Candles, gaps and what came before the first word together are the day volume as it was told last."""
    candles, made, in_gaps = SecondCandles(NSE), [], 0
    time_ms, told, first = OPEN_MS, 5000, None
    for kind, after_ms, traded in steps:
        time_ms, told = time_ms + after_ms, told + (0 if kind == "gap" else traded)
        if kind == "gap":
            candles.interrupt(Gap([STOCK], time_ms - after_ms, time_ms))
            continue
        first = told if first is None else first
        if kind == "snapshot":
            candles.rebase(Baseline(STOCK, time_ms, told))
            continue
        before = told - traded if kind == "repeat" else told  # a packet that was overtaken
        made += candles.apply([Tick(STOCK, 100, time_ms, told), Tick(STOCK, 100, time_ms, before)])[0]
        in_gaps += sum(candles.gap_volumes().values())
    made += candles.apply([], CLOSE_MS + 5000)[0]
    in_gaps += sum(candles.gap_volumes().values())
    assert sum(candle.volume for candle in made) + in_gaps + (first or 0) == (told if first is not None else 0)


@given(steps, st.integers(0, 60))
def test_a_restored_state_goes_on_the_same(steps: list[tuple[str, int, int]], cut: int) -> None:
    seconds, minutes = SecondCandles(NSE), TimeframeCandles(NSE, [7])
    time_ms, told = OPEN_MS, 5000
    for number, (kind, after_ms, traded) in enumerate(steps):
        time_ms, told = time_ms + after_ms, told + traded
        if kind == "gap":
            for candles in (seconds, minutes):
                candles.interrupt(Gap([STOCK], time_ms - after_ms, None if traded % 2 else time_ms))
        elif number == cut:
            again, again_minutes = SecondCandles(NSE), TimeframeCandles(NSE, [7])
            again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(seconds.state()), type=SecondCandlesState))
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(minutes.state()), type=TimeframeCandlesState)
            again_minutes.restore(state)
            coming = [Tick(STOCK, 100, time_ms, told, high=101), Tick(STOCK, 90, time_ms + 5000, told + 7)]
            ours, theirs = (one.apply(coming, CLOSE_MS + 5000) for one in (seconds, again))
            assert ours == theirs
            assert seconds.gap_volumes() == again.gap_volumes()
            assert minutes.apply(ours[0], CLOSE_MS + 5000) == again_minutes.apply(ours[0], CLOSE_MS + 5000)
            return
        else:
            minutes.apply(seconds.apply([Tick(STOCK, 100, time_ms, told)])[0])
            seconds.gap_volumes()
