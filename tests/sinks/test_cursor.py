"""What is news to a sink: any reading of a log, with repeats, applies each position once and in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.log.frames import CANDLES, TICKS, CandleFrame, TickFrame
from topology.sinks.cursor import (
    NO_CURSOR,
    ForeignFrameError,
    ForeignLogError,
    PositionError,
    SinkCursor,
    StoredFrame,
    is_mine,
    run_of,
    unapplied,
)


def stored(position: int, offset: int, *, log: str = "log", run: int = 1) -> StoredFrame:
    return StoredFrame(CANDLES, 0, offset, CandleFrame(1, log, run, position, position * 10, [], "", [], []))


@st.composite
def readings(draw: st.DrawFn) -> list[StoredFrame]:
    """A topic with contiguous positions in which intervals are repeated, as restarted workers repeat them."""
    first, positions = draw(st.integers(0, 3)), list[int]()
    end = first
    for step_back in draw(st.lists(st.integers(0, 6), max_size=20)):
        positions.extend(range(max(first, end - step_back), end + 1))
        end += 1
    return [stored(position, offset) for offset, position in enumerate(positions)]


@given(readings(), st.data())
def test_each_position_is_news_once_and_in_order_however_the_reading_is_cut(
    frames: list[StoredFrame], data: st.DataObject
) -> None:
    applied, seen, duplicates = NO_CURSOR, [], 0
    while frames:
        cut = data.draw(st.integers(1, len(frames)))
        found = unapplied(applied, frames[:cut], log="log", run=1)
        seen += [fresh.position for fresh in found.frames]
        duplicates += found.duplicates
        applied, frames = found.applied, frames[cut:]

    assert seen == sorted(set(seen))
    assert applied.offset + 1 == len(seen) + duplicates
    assert applied.position == (seen[-1] if seen else -1)


def test_a_duplicate_moves_the_offset_on_and_nothing_else() -> None:
    found = unapplied(SinkCursor(5, 9, 50), [stored(4, 10)], log="log", run=1)

    assert found == ([], SinkCursor(5, 10, 50), 1)


def test_reading_older_records_again_does_not_move_the_offset_back() -> None:
    assert unapplied(SinkCursor(5, 9, 50), [stored(3, 4)], log="log", run=1).applied == SinkCursor(5, 9, 50)


def test_a_frame_of_another_run_is_ignored() -> None:
    found = unapplied(SinkCursor(5, 9, 50), [stored(6, 10, run=2), stored(6, 11)], log="log", run=1)

    assert [fresh.offset for fresh in found.frames] == [11]


def test_a_frame_after_missing_ones_is_refused() -> None:
    with pytest.raises(PositionError, match=r"candles_1s\[0\] offset 10 has position 7 after 5"):
        unapplied(SinkCursor(5, 9), [stored(7, 10)], log="log", run=1)


def test_a_frame_of_another_log_is_refused() -> None:
    with pytest.raises(ForeignFrameError, match="belongs to log other"):
        unapplied(NO_CURSOR, [stored(0, 0, log="other")], log="log", run=1)


def test_the_position_of_a_tick_frame_is_its_offset_in_every_run() -> None:
    ticks = StoredFrame(TICKS, 0, 12, TickFrame(1, "log", 1, 1, 1000, 0, [], []))

    assert unapplied(SinkCursor(11, 11), [ticks], log="log", run=3).applied == SinkCursor(12, 12, 1000)
    assert run_of(TICKS, 3) == run_of(TICKS, 4)


def test_what_an_earlier_run_left_is_not_mine_and_what_a_later_one_left_is_refused() -> None:
    assert is_mine("log", 2, held_log="log", held_run=2, remedy="-")
    assert not is_mine("log", 2, held_log="log", held_run=1, remedy="-")
    with pytest.raises(ForeignLogError, match="do this: it holds run 3"):
        is_mine("log", 2, held_log="log", held_run=3, remedy="do this")
