from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.log.partition import partition_of


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
