"""Dead, silent and quiet are told apart."""

from __future__ import annotations

import pytest

from topology.feeds.angel.liveness import BURST_MS, INDEX_MS, OTHERS_MS, Liveness, LivenessMonitor

NOW_MS = 1_669_088_700_000


def test_a_connection_over_which_nothing_comes_is_dead_even_when_the_market_is_closed() -> None:
    watch = LivenessMonitor(NOW_MS, INDEX_MS)
    assert watch.health(NOW_MS + 30_000, open_since_ms=None) is Liveness.QUIET
    assert watch.health(NOW_MS + 30_001, open_since_ms=None) is Liveness.DEAD
    watch.alive(NOW_MS + 30_001)
    assert watch.health(NOW_MS + 60_001, open_since_ms=None) is Liveness.QUIET


@pytest.mark.parametrize(("usual_ms", "after_s"), [(INDEX_MS, 30), (OTHERS_MS, 300)])
def test_one_that_is_alive_without_data_is_silent_once_that_is_unusual(usual_ms: float, after_s: int) -> None:
    watch = LivenessMonitor(NOW_MS, usual_ms)
    for second in range(after_s + 2):
        watch.alive(NOW_MS + second * 1000)
        silent = watch.health(NOW_MS + second * 1000, open_since_ms=NOW_MS - 60_000) is Liveness.SILENT
        assert silent == (second > after_s)


def test_nothing_is_expected_before_the_market_opens_nor_at_once_after_it() -> None:
    watch = LivenessMonitor(NOW_MS, INDEX_MS)
    for second in range(0, 120, 10):
        watch.alive(NOW_MS + second * 1000)
    now_ms = NOW_MS + 110_000
    assert watch.health(now_ms, open_since_ms=None) is Liveness.QUIET
    assert watch.health(now_ms, open_since_ms=now_ms - 1000) is Liveness.LIVE


def test_what_is_usual_is_learned_and_not_from_the_snapshots() -> None:
    watch = LivenessMonitor(NOW_MS, OTHERS_MS)
    watch.packets(NOW_MS + 10, 500)
    assert watch.usual_ms == OTHERS_MS
    for number in range(400):
        watch.packets(NOW_MS + BURST_MS + 100 * (number + 1), 2)
    assert 50 <= watch.usual_ms < 100
