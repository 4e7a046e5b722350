from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from tests.support.simulator_client import ALWAYS, NSE, OPEN_MS, at
from topology.market import SecondCandles, Tick, TimeframeCandles
from topology.simulator import Recording
from topology.simulator.quotes import InstrumentDay
from topology.simulator.source import MINUTE_MS

PRE_OPEN_MS = OPEN_MS - 10 * MINUTE_MS
UNTIL_MS = OPEN_MS + 10 * MINUTE_MS
INSTRUMENTS = ("NSE:99926000", "NSE:2885", "NSE:123")

steps = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, UNTIL_MS - PRE_OPEN_MS - 1), st.integers(1, 9_000), st.integers(0, 50)),
    max_size=60,
)


def ticks_of(steps: list[tuple[int, int, int, int]]) -> list[Tick]:
    """Make ticks in time order, whose volumes grow and start anywhere."""
    volumes = [0, 700, 0]
    made = []
    for place, after_ms, price, quantity in sorted(steps, key=lambda step: step[1]):
        volumes[place] += quantity
        made.append(Tick(INSTRUMENTS[place], price, PRE_OPEN_MS + after_ms, volumes[place] if place else None))
    return made


@given(steps.map(ticks_of))
def test_candles_are_those_that_the_pipeline_makes_of_the_ticks(ticks: list[Tick]) -> None:
    seconds = SecondCandles(NSE).apply(ticks, UNTIL_MS + 2_000)[0]
    made = TimeframeCandles(NSE, [60]).apply(seconds, UNTIL_MS + 2_000)
    recording = Recording(ticks, calendar=NSE)
    for place, listing in enumerate(recording.listings):
        wanted = [candle for candle in made if candle.instrument == listing.instrument]
        assert recording.candles(place, PRE_OPEN_MS, UNTIL_MS) == wanted


@given(steps.map(ticks_of), st.integers(0, UNTIL_MS - PRE_OPEN_MS), st.integers(0, MINUTE_MS))
def test_a_state_that_is_looked_up_is_the_one_that_is_played(ticks: list[Tick], after_ms: int, more_ms: int) -> None:
    recording, from_ms = Recording(ticks, calendar=NSE), PRE_OPEN_MS + after_ms
    for place in range(len(recording.listings)):
        state = InstrumentDay.at(recording, place, from_ms)
        for print_ in recording.play(from_ms):
            if print_.listing_index == place and print_.time_ms <= from_ms + more_ms:
                state.apply(print_, 0)
        assert InstrumentDay.at(recording, place, from_ms + more_ms).packet(3) == state.packet(3)


@given(steps.map(ticks_of))
def test_the_day_volume_of_the_recording_is_the_one_that_is_shown(ticks: list[Tick]) -> None:
    recording = Recording(ticks, calendar=NSE)
    for place, listing in enumerate(recording.listings):
        volumes = [tick.day_volume or 0 for tick in ticks if tick.instrument == listing.instrument]
        assert InstrumentDay.at(recording, place, UNTIL_MS).day_volume == volumes[-1]


TICKS = [Tick("NSE:2885", 100 + second, OPEN_MS + second * 1_000) for second in range(10)]


def test_without_a_clock_every_tick_is_due_at_its_own_time() -> None:
    recording = Recording(reversed(TICKS), calendar=NSE)
    assert [p.time_ms for p in recording.play(OPEN_MS)] == [tick.time_ms for tick in TICKS[1:]]
    assert recording.market_ms(OPEN_MS + 7) == OPEN_MS + 7


def test_played_now_the_times_are_those_at_which_it_is_due() -> None:
    now_ms = at("2026-11-24 17:00")
    recording = Recording(TICKS, calendar=ALWAYS, now_ms=now_ms, speed=2)
    assert [p.time_ms for p in recording.play(0)] == [now_ms + 500 * number for number in range(10)]
    assert recording.market_ms(now_ms + 700) == now_ms + 700


def test_on_another_day_the_times_of_day_stay_and_the_clock_says_what_is_due() -> None:
    now_ms = at("2026-11-24 17:00")
    recording = Recording(TICKS, calendar=ALWAYS, now_ms=now_ms, speed=10, day=date(2026, 11, 26))
    first_ms = at("2026-11-26 09:15")
    assert [p.time_ms for p in recording.play(0)] == [first_ms + 1_000 * number for number in range(10)]
    assert recording.market_ms(now_ms) == first_ms
    assert recording.market_ms(now_ms + 500) == first_ms + 5_000


def test_a_known_instrument_has_its_name() -> None:
    assert [listing.symbol for listing in Recording(TICKS, calendar=NSE).listings] == ["RELIANCE-EQ"]
    other = Recording([Tick("NSE:4", 5, OPEN_MS)], calendar=NSE)
    assert [listing.symbol for listing in other.listings] == ["SIM4-EQ"]


def test_nothing_recorded_is_nothing_printed() -> None:
    recording = Recording([], calendar=NSE)
    assert list(recording.play(0)) == []
    assert recording.listings == []
