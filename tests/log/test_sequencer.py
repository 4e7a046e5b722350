"""Whatever comes twice, too early or again after a restart: each position comes out once, in order, past no hole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from topology.log.sequencer import HOLD_S, Order, Sequencer, order

positions = st.integers(0, 4) | st.integers(0, 2**63 - 1)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0  # a monotonic clock may begin there

    def __call__(self) -> float:
        return self.now_s


@given(positions)
def test_any_position_is_the_first_where_nothing_was_applied(position: int) -> None:
    assert order(None, position) is Order.NEXT


@given(positions, positions)
def test_a_position_is_next_only_right_after_the_applied_one(applied: int, position: int) -> None:
    assert (order(applied, position) is Order.NEXT) == (position - applied == 1)
    assert (order(applied, position) is Order.DUPLICATE) == (position <= applied)
    assert (order(applied, position) is Order.AHEAD) == (position > applied + 1)


@given(st.none() | st.integers(0, 10), st.lists(st.integers(0, 20)))
def test_each_position_comes_out_once_in_order_and_never_past_a_hole(applied: int | None, arriving: list[int]) -> None:
    sequencer: Sequencer[int] = Sequencer(applied, Clock())
    released: list[int] = []
    for number, position in enumerate(arriving):
        duplicate = sequencer.is_duplicate(position)
        some = sequencer.release(position, number)
        assert not (duplicate and some)
        assert all(arriving[item] == its_position for its_position, item in some)
        released += [its_position for its_position, _ in some]
    first = applied + 1 if applied is not None else arriving[0] if arriving else 0
    came = {position for position in arriving if position >= first}
    assert released == list(range(first, first + len(released)))
    assert first + len(released) not in came
    assert sequencer.applied == (released[-1] if released else applied)
    assert sorted(arriving[item] for item in sequencer.held) == sorted(came - set(released))


@given(st.permutations(range(12)), st.lists(st.tuples(st.integers(0, 12), st.integers(-1, 11)), max_size=6))
def test_restarts_at_any_position_change_nothing_that_is_applied_first(
    arriving: list[int], restarts: list[tuple[int, int]]
) -> None:
    """A restart goes back to a position that was applied, and reads again what came so far."""
    applied: list[int] = [0]
    sequencer: Sequencer[int] = Sequencer(0, Clock())
    for number, position in enumerate(arriving):
        for after, back_to in restarts:
            if after == number:
                sequencer = Sequencer(min(max(back_to, 0), applied[-1]), Clock())
                for again in arriving[:number]:
                    applied += [p for p, _ in sequencer.release(again, again) if p > applied[-1]]
        applied += [p for p, _ in sequencer.release(position, position) if p > applied[-1]]
    assert applied == list(range(12))


@given(st.lists(st.integers(0, 12), min_size=1))
def test_of_several_items_at_one_position_the_first_comes_out(arriving: list[int]) -> None:
    sequencer: Sequencer[int] = Sequencer(None, Clock())
    for number, position in enumerate(arriving):
        for its_position, item in sequencer.release(position, number):
            since = arriving.index(its_position, 0 if its_position > arriving[0] else item)
            assert item == since


def test_what_is_held_is_overdue_after_its_time_and_has_it_anew_when_a_hole_is_filled() -> None:
    clock = Clock()
    sequencer: Sequencer[str] = Sequencer(0, clock)
    clock.now_s += 2 * HOLD_S
    assert not sequencer.is_overdue
    assert sequencer.release(2, "2") == []
    clock.now_s += HOLD_S
    assert sequencer.release(4, "4") == []
    assert not sequencer.is_overdue
    clock.now_s += 0.001
    assert sequencer.is_overdue
    assert sequencer.release(1, "1") == [(1, "1"), (2, "2")]
    clock.now_s += HOLD_S
    assert not sequencer.is_overdue
    assert sequencer.release(3, "3") == [(3, "3"), (4, "4")]
    clock.now_s += 2 * HOLD_S
    assert not sequencer.is_overdue
