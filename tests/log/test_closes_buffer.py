"""The closes that are kept, against a plain list of all the candles there were."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.indicators import KEPT_CLOSES
from topology.log.closes_buffer import ClosesBuffer, ClosesState
from topology.market import Candle

TIMEFRAME_S = 60
OPEN_S = 1_669_088_700  # of 22 November 2022, 09:15 IST

Known = list[tuple[int, int]]  # start in seconds since the epoch, and close

# A run of candles, a candle that is missing, the next session, and one that begins before the last could have ended.
jumps_s = st.sampled_from([TIMEFRAME_S] * 5 + [2 * TIMEFRAME_S, 64_260, 1])
prices = st.sampled_from([1, 100, 101, 1_855_000, 2**31 - 1, 2**31, 2**40, 2**63 - 1])
lengths = st.sampled_from([0, 1, 3, KEPT_CLOSES - 2, KEPT_CLOSES, KEPT_CLOSES + 3, 2 * KEPT_CLOSES - 2])


@st.composite
def series(draw: st.DrawFn) -> Known:
    """Candles of several sessions: regular ones, since few draws make many of them, then some that jump."""
    length, missing = draw(lengths), draw(st.integers(2, 400))
    regular = [(OPEN_S + TIMEFRAME_S * (n + n // missing), 100 + n * n % 7) for n in range(length)]
    return following(regular, draw(st.lists(st.tuples(jumps_s, prices), max_size=6)))


def following(known: Known, steps: Known) -> Known:
    """The candles and those after them, each so many seconds after the one before it."""
    found = list(known)
    for jump_s, close in steps:
        found.append((found[-1][0] + jump_s if found else OPEN_S, close))
    return found


@st.composite
def told_of(draw: st.DrawFn, known: Known) -> Known:
    """Candles of history: before, among and after those that are known, in order; on the grid of theirs and beside."""
    newest_s = known[-1][0] if known else OPEN_S
    first = draw(st.sampled_from([-2, 0, 5, KEPT_CLOSES - 3, KEPT_CLOSES + 5]))
    numbers = draw(st.lists(st.integers(first, first + 8), max_size=8, unique=True))
    beside_s = draw(st.sampled_from([0, 0, 7]))
    starts = sorted(newest_s - number * TIMEFRAME_S + beside_s for number in numbers)
    return [(start_s, draw(prices)) for start_s in starts]


def candle(start_s: int, close: int) -> Candle:
    return Candle("NSE:1594", TIMEFRAME_S, start_s * 1000, close, close, close, close, 0, 1)


def added(closes: ClosesBuffer, candles: Known) -> ClosesBuffer:
    for start_s, close in candles:
        closes.append(candle(start_s, close))
    return closes


def merged(closes: ClosesBuffer, told: Known, *, correcting: bool) -> ClosesBuffer:
    return closes.merged([candle(*one) for one in told], correcting=correcting)


def through_bytes(closes: ClosesBuffer) -> ClosesBuffer:
    record = msgspec.msgpack.encode(closes.state())
    return ClosesBuffer.restored(TIMEFRAME_S, msgspec.msgpack.decode(record, type=ClosesState))


def runs(known: Known) -> list[int]:
    """Where each run of candles that follow each other begins, and how many they are."""
    found: list[int] = []
    for number, (start_s, _) in enumerate(known):
        apart_s = start_s - known[number - 1][0] if number else 1
        if apart_s == TIMEFRAME_S:
            found[-1] += 1
        else:
            found += -start_s if apart_s % TIMEFRAME_S else apart_s // TIMEFRAME_S, 1
    return found


def assert_holds(closes: ClosesBuffer, known: Known) -> None:
    """They are the newest of the known candles, as many as are kept, and nothing else."""
    closes.cut()
    assert list(closes) == known[-KEPT_CLOSES:]
    assert closes.closes.tolist() == [close for _, close in known[-KEPT_CLOSES:]]
    assert closes.runs == runs(known[-KEPT_CLOSES:])


# -- Laws


@given(series())
def test_the_newest_closes_are_kept_with_the_starts_of_their_candles(known: Known) -> None:
    closes = added(ClosesBuffer(TIMEFRAME_S), known)
    assert list(closes)[-KEPT_CLOSES:] == known[-KEPT_CLOSES:]
    assert len(closes.closes) < 2 * KEPT_CLOSES
    assert_holds(closes, known)


@given(series())
def test_closes_that_are_made_at_once_are_those_that_came_one_by_one(known: Known) -> None:
    assert list(ClosesBuffer(TIMEFRAME_S, known)) == known
    assert_holds(ClosesBuffer(TIMEFRAME_S, known), known)


@settings(max_examples=300)
@given(series(), st.booleans(), st.data())
def test_merged_closes_are_the_kept_ones_and_the_told_ones_in_order(
    known: Known, correcting: bool, data: st.DataObject
) -> None:
    told = data.draw(told_of(known))
    closes = added(ClosesBuffer(TIMEFRAME_S), known)
    both = merged(closes, told, correcting=correcting)
    kept = dict(known[-KEPT_CLOSES:])
    together = kept | dict(told) if correcting else dict(told) | kept
    assert list(both) == sorted(together.items())
    assert_holds(both, sorted(together.items()))
    assert_holds(closes, known)


@given(series(), st.booleans(), st.data())
def test_what_is_told_again_changes_nothing(known: Known, correcting: bool, data: st.DataObject) -> None:
    told = data.draw(told_of(known))
    once = merged(added(ClosesBuffer(TIMEFRAME_S), known), told, correcting=correcting)
    once.cut()
    twice = merged(once, told, correcting=correcting)
    assert_holds(twice, list(once))


@given(series())
def test_restored_closes_are_those_that_the_state_was_taken_of(known: Known) -> None:
    closes = added(ClosesBuffer(TIMEFRAME_S), known)
    restored = through_bytes(closes)
    assert_holds(restored, known)
    assert restored.state() == closes.state()
    assert restored.closes.typecode == closes.closes.typecode


@settings(max_examples=300)
@given(series(), st.data())
def test_whatever_is_done_to_them_they_hold_what_a_list_would_and_a_restart_is_not_seen(
    known: Known, data: st.DataObject
) -> None:
    straight = added(ClosesBuffer(TIMEFRAME_S), known)
    restarted = through_bytes(straight)
    for doing in data.draw(st.lists(st.sampled_from(["add", "fill in", "correct", "cut", "restart"]), max_size=6)):
        match doing:
            case "add":
                steps = data.draw(st.lists(st.tuples(jumps_s, prices), max_size=5))
                coming = following(known, steps)[len(known) :]
                known = known + coming
                straight, restarted = added(straight, coming), added(restarted, coming)
            case "cut":
                straight.cut()
            case "restart":
                restarted = through_bytes(restarted)
            case _:
                correcting, told = doing == "correct", data.draw(told_of(known))
                kept = dict(known[-KEPT_CLOSES:])
                known = sorted((kept | dict(told) if correcting else dict(told) | kept).items())
                straight = merged(straight, told, correcting=correcting)
                restarted = merged(restarted, told, correcting=correcting)
        assert list(straight)[-KEPT_CLOSES:] == list(restarted)[-KEPT_CLOSES:] == known[-KEPT_CLOSES:]
    assert_holds(straight, known)
    assert_holds(restarted, known)


# -- Examples


def test_there_are_no_closes_before_the_first() -> None:
    assert_holds(ClosesBuffer(TIMEFRAME_S), [])
    assert_holds(through_bytes(ClosesBuffer(TIMEFRAME_S)), [])
    assert_holds(merged(ClosesBuffer(TIMEFRAME_S), [], correcting=True), [])


def test_two_sessions_are_two_runs() -> None:
    days = [OPEN_S, OPEN_S + 86_400]
    closes = ClosesBuffer(TIMEFRAME_S, [(day_s + 60 * minute, 100) for day_s in days for minute in range(375)])
    closes.cut()
    assert closes.runs == [-(OPEN_S + 250 * 60), 125, 1 + (24 * 60 - 375), 375]


def test_a_candle_that_fills_a_hole_joins_the_runs_around_it() -> None:
    closes = ClosesBuffer(TIMEFRAME_S, [(OPEN_S, 100), (OPEN_S + 120, 102)])
    assert closes.runs == [-OPEN_S, 1, 2, 1]
    filled_in = merged(closes, [(OPEN_S + 60, 101)], correcting=False)
    assert (filled_in.runs, filled_in.closes.tolist()) == ([-OPEN_S, 3], [100, 101, 102])


@pytest.mark.parametrize(("correcting", "close"), [(False, 100), (True, 105)])
def test_a_close_that_is_known_changes_only_where_it_is_corrected(correcting: bool, close: int) -> None:
    closes = merged(ClosesBuffer(TIMEFRAME_S, [(OPEN_S, 100)]), [(OPEN_S, 105)], correcting=correcting)
    assert list(closes) == [(OPEN_S, close)]


def test_where_candles_are_missing_two_bytes_tell_their_starts() -> None:
    every_other = [(OPEN_S + 2 * TIMEFRAME_S * number, 100) for number in range(KEPT_CLOSES)]
    every_one = [(OPEN_S + TIMEFRAME_S * number, 100) for number in range(KEPT_CLOSES)]
    sizes = [
        len(msgspec.msgpack.encode(ClosesBuffer(TIMEFRAME_S, known).state())) for known in (every_other, every_one)
    ]
    assert sizes[0] - sizes[1] <= 2 * KEPT_CLOSES


@pytest.mark.parametrize("start_s", [OPEN_S - 2 * TIMEFRAME_S, OPEN_S - 7, OPEN_S])
def test_a_candle_that_is_not_after_the_last_is_told_as_it_came(start_s: int) -> None:
    known = [(OPEN_S - TIMEFRAME_S, 100), (OPEN_S, 101), (start_s, 102), (start_s + TIMEFRAME_S, 103)]
    closes = added(ClosesBuffer(TIMEFRAME_S), known)
    assert list(closes) == list(through_bytes(closes)) == known
    assert list(added(through_bytes(closes), known[:1])) == [*known, known[0]]


@pytest.mark.parametrize(("highest", "size"), [(2**31 - 1, 4), (2**31, 8), (2**63 - 1, 8)])
def test_closes_take_four_bytes_each_where_they_fit(highest: int, size: int) -> None:
    known = [(OPEN_S + 60 * number, close) for number, close in enumerate([100, highest, 101])]
    closes = added(ClosesBuffer(TIMEFRAME_S), known)
    assert len(closes.state().closes) == 3 * size
    assert_holds(through_bytes(closes), known)
