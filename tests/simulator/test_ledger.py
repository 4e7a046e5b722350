from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from topology.simulator.ledger import Ledger, Touched


@given(st.lists(st.integers(0, 20_000)))
def test_runs_are_the_seconds_that_were_written(times_ms: list[int]) -> None:
    ledger = Ledger()
    for time_ms in times_ms:
        ledger.write(1, 2, "NSE:2885", time_ms=time_ms, hidden=True)
    assert ledger.seconds("NSE:2885") == {time_ms // 1_000 for time_ms in times_ms}
    runs = [(touched.from_s, touched.until_s) for touched in ledger.touched()]
    assert all(until < following for (_, until), (following, _) in pairwise(runs))


def test_hidden_and_changed_are_told_apart() -> None:
    ledger = Ledger()
    ledger.write(1, 2, "NSE:2885", time_ms=5_000, hidden=True)
    ledger.write(1, 3, "NSE:2885", time_ms=6_000, hidden=False)
    assert ledger.seconds("NSE:2885") == {5}
    assert ledger.seconds("NSE:2885", hidden=False, changed=True) == {6}
    assert ledger.seconds("NSE:1") == set()
    assert ledger.touched()[0] == Touched(1, 2, "NSE:2885", True, 5, 6)
