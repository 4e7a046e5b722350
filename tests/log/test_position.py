from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.log.position import Order, order, partition_of

positions = st.integers(0, 4) | st.integers(0, 2**63 - 1)


@given(positions)
def test_any_position_is_the_first_where_nothing_was_applied(position: int) -> None:
    assert order(None, position) is Order.NEXT


@given(positions, positions)
def test_a_position_is_next_only_right_after_the_applied_one(applied: int, position: int) -> None:
    assert (order(applied, position) is Order.NEXT) == (position - applied == 1)
    assert (order(applied, position) is Order.DUPLICATE) == (position <= applied)
    assert (order(applied, position) is Order.AHEAD) == (position > applied + 1)


@given(st.lists(st.integers(0, 20)))
def test_a_reader_that_applies_only_the_next_applies_each_position_once_and_in_order(arriving: list[int]) -> None:
    applied: list[int] = []
    for position in arriving:
        if order(applied[-1] if applied else None, position) is Order.NEXT:
            applied.append(position)
    assert applied == list(range(arriving[0], arriving[0] + len(applied))) if arriving else not applied


@given(st.text(), st.integers(1, 100))
def test_an_instrument_has_one_partition_among_those_there_are(instrument: str, partitions: int) -> None:
    partition = partition_of(instrument, partitions)
    assert 0 <= partition < partitions
    assert partition_of(instrument, partitions) == partition


@pytest.mark.parametrize(
    ("instrument", "of_4", "of_7"),
    [("NSE:99926000", 2, 6), ("NSE:1594", 0, 3), ("BSE:500325", 3, 4), ("NFO:35001", 2, 5), ("", 0, 0)],
)
def test_a_partition_never_changes_since_logs_were_written_with_it(instrument: str, of_4: int, of_7: int) -> None:
    assert (partition_of(instrument, 4), partition_of(instrument, 7)) == (of_4, of_7)


def test_instruments_spread_evenly_over_the_partitions() -> None:
    found = Counter(partition_of(f"NSE:{token}", 4) for token in range(4000))
    assert all(800 < found[partition] < 1200 for partition in range(4))
