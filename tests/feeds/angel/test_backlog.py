"""What is still to be asked for: nothing that was noted is lost, and nothing piles up."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.feeds.angel.backlog import ANOTHER_DAY_MS, OLDEST_MS, PAUSES_MS, Backlog, Due, Need
from topology.market.history import Interval

NOW_MS = 1_669_088_700_000
ONE, TWO = "NSE:3045", "NSE:2885"
FAR_MS = 1 << 60
MINUTE_MS = 60_000


def repair(from_minute: int, to_minute: int, *, timeframe_s: int = 60, due_ms: int = NOW_MS) -> Need:
    return Need(timeframe_s, NOW_MS + from_minute * MINUTE_MS, NOW_MS + to_minute * MINUTE_MS, due_ms, revision=1)


def fill(timeframe_s: int = 60, *, due_ms: int = NOW_MS, reset: bool = False) -> Need:
    return Need(timeframe_s, NOW_MS - 90 * MINUTE_MS, NOW_MS, due_ms, int(reset), reset)


def postpone_or_give_up(backlog: Backlog, instrument: str, need: Need, now_ms: int) -> None:
    if not backlog.postpone(instrument, need, now_ms):
        backlog.give_up(instrument, need, now_ms)


def minutes(backlog: Backlog) -> set[tuple[str, int]]:
    """All minutes that are to be repaired, and of which timeframe's candles."""
    return {
        (instrument, minute)
        for instrument, needs in backlog._kept.needs.items()
        for need in needs
        for minute in range((need.from_ms - NOW_MS) // MINUTE_MS, (need.to_ms - NOW_MS) // MINUTE_MS)
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live" / "history.json"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["gap", "asked", "answered", "nothing", "restart"]),
        st.sampled_from([ONE, TWO]),
        st.integers(0, 40),
        st.integers(1, 10),
    ),
    max_size=40,
)


@given(STEPS)
def test_every_minute_of_every_gap_is_asked_for_until_it_is_there_also_over_restarts(
    steps: list[tuple[str, str, int, int]],
) -> None:
    """Gaps come while others are asked for; answers bring a part or all of what was asked for."""
    lacking: set[tuple[str, int]] = set()
    asked: Due | None = None
    with tempfile.TemporaryDirectory() as folder:
        backlog = Backlog(Path(folder) / "history.json", "log")
        for what, instrument, begin, length in steps:
            need = asked.needs[begin % len(asked.needs)] if asked else None
            if what == "gap":
                backlog.add(instrument, [repair(begin, begin + length)])
                lacking |= {(instrument, minute) for minute in range(begin, begin + length)}
            elif what == "asked":
                asked = backlog.due(FAR_MS)
            elif what == "restart":
                backlog.save()
                backlog, asked = Backlog(Path(folder) / "history.json", "log"), None
            elif need is not None and asked is not None:
                if what == "answered":
                    until_ms = min(need.from_ms + length * MINUTE_MS, need.to_ms)
                    backlog.done(asked.instrument, need, until_ms)
                    brought = range((need.from_ms - NOW_MS) // MINUTE_MS, (until_ms - NOW_MS) // MINUTE_MS)
                    lacking -= {(asked.instrument, minute) for minute in brought}
                else:
                    postpone_or_give_up(backlog, asked.instrument, need, NOW_MS)
            assert minutes(backlog) == lacking
            assert (backlog.due(FAR_MS) is None) == (backlog.next_ms() is None) == (not lacking)
            assert len(backlog) == len({name for name, _ in lacking})
            for needs in backlog._kept.needs.values():
                bounds = sorted((need.from_ms, need.to_ms) for need in needs)
                assert all(earlier[1] < later[0] for earlier, later in pairwise(bounds))


def test_what_is_known_is_the_same_after_a_restart(path: Path) -> None:
    backlog = Backlog(path, "log")
    backlog.add(ONE, [fill(60), fill(300, reset=True), repair(0, 5)])
    backlog.promise(ONE, {60: 600, 300: 250})
    backlog.begin_gap([TWO], NOW_MS)
    backlog.asked, backlog.warmed = 7, 5
    assert backlog.changed
    backlog.save()
    again = Backlog(path, "log")
    assert again._kept == backlog._kept
    assert not backlog.changed
    assert not again.changed
    assert again.due(NOW_MS) == Due(ONE, [fill(60), fill(300, reset=True), repair(0, 5)])
    assert again.lacking(ONE, {60: 600, 300: 251, 900: 1}) == [300, 900]
    assert again.end_gap(TWO, Interval(NOW_MS + 5, NOW_MS + 9)) == Interval(NOW_MS, NOW_MS + 9)
    assert (again.asked, again.warmed) == (7, 5)


@pytest.mark.parametrize(
    "spoilt", [b"", b"{", b"[]", b'{"log": 5}', b'{"log": "log", "needs": {"NSE:1": [{}]}}', b"\xff"]
)
def test_a_file_that_cannot_be_read_is_begun_anew(path: Path, spoilt: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(spoilt)
    assert len(Backlog(path, "log")) == 0
    assert "history is asked for anew" in caplog.text


def test_another_logs_file_is_begun_anew(path: Path) -> None:
    backlog = Backlog(path, "log")
    backlog.add(ONE, [fill()])
    backlog.asked = 7
    backlog.save()
    other = Backlog(path, "another")
    assert (len(other), other.asked, other.due(FAR_MS)) == (0, 0, None)


def test_a_gap_begins_when_it_was_first_noted_whatever_is_noted_until_it_ends(path: Path) -> None:
    backlog = Backlog(path, "log")
    backlog.begin_gap([ONE, TWO], NOW_MS)
    backlog.save()
    backlog = Backlog(path, "log")
    backlog.begin_gap([ONE], NOW_MS + 30_000)
    assert backlog.end_gap(ONE, Interval(NOW_MS + 30_000, NOW_MS + 40_000)) == Interval(NOW_MS, NOW_MS + 40_000)
    later = Interval(NOW_MS + 50_000, NOW_MS + 60_000)
    assert backlog.end_gap(ONE, later) == later, "it has ended"
    earlier = Interval(NOW_MS - 5_000, NOW_MS + 60_000)
    assert backlog.end_gap(TWO, earlier) == earlier


def test_repairs_come_first_and_then_what_is_due_for_longest(path: Path) -> None:
    backlog = Backlog(path, "log")
    backlog.add("NSE:1", [fill(due_ms=NOW_MS - 9)])
    backlog.add("NSE:2", [fill(due_ms=NOW_MS - 8), repair(0, 1, due_ms=NOW_MS - 1)])
    backlog.add("NSE:3", [repair(0, 1, due_ms=NOW_MS - 2), repair(9, 10, due_ms=NOW_MS + 1)])
    backlog.add("NSE:4", [repair(0, 1, due_ms=NOW_MS + 1), fill(300, due_ms=NOW_MS + 1)])
    order = []
    while (due := backlog.due(NOW_MS)) is not None:
        order.append((due.instrument, len(due.needs)))
        for need in due.needs:
            backlog.done(due.instrument, need, FAR_MS)
    assert order == [("NSE:3", 1), ("NSE:2", 2), ("NSE:1", 1)], "with all that is due of an instrument"
    assert backlog.next_ms() == backlog.next_ms(repairs=False) == NOW_MS + 1


@given(st.permutations([(minute, minute + 1) for minute in range(10)]))
def test_repairs_that_touch_become_one_in_whatever_order_they_come(intervals: list[tuple[int, int]]) -> None:
    backlog = Backlog(Path("nowhere"), "log")
    for begin, end in intervals:
        backlog.add(ONE, [repair(begin, end, due_ms=NOW_MS + end)])
    assert backlog.due(FAR_MS) == Due(ONE, [repair(0, 10, due_ms=NOW_MS + 1)])


def test_a_request_takes_the_place_of_the_one_before_but_a_reset_stays_one_and_repairs_stay(path: Path) -> None:
    backlog = Backlog(path, "log")
    backlog.add(ONE, [fill(60), fill(300), repair(0, 5)])
    backlog.add(ONE, [fill(60, reset=True)])
    backlog.add(ONE, [fill(60)])
    due = backlog.due(NOW_MS)
    assert due is not None
    assert sorted(due.needs, key=lambda need: (need.timeframe_s, need.repairs)) == [
        fill(60, reset=True), repair(0, 5), fill(300)
    ]  # fmt: skip


def test_a_request_that_comes_while_the_one_before_is_asked_for_is_asked_for_too(path: Path) -> None:
    backlog = Backlog(path, "log")
    backlog.add(ONE, [fill()])
    asked = backlog.due(NOW_MS)
    assert asked is not None
    backlog.add(ONE, [fill(reset=True)])
    backlog.postpone(ONE, asked.needs[0], NOW_MS)
    backlog.done(ONE, asked.needs[0], FAR_MS)
    assert backlog.due(NOW_MS) == Due(ONE, [fill(reset=True)])


def test_an_empty_answer_is_asked_for_again_after_pauses_and_then_on_another_day(path: Path) -> None:
    backlog = Backlog(path, "log")
    backlog.add(ONE, [fill()])
    now_ms, pauses_ms = NOW_MS, []
    for _ in range(2 * (len(PAUSES_MS) + 1)):
        due = backlog.due(now_ms)
        assert due is not None
        again = backlog.postpone(ONE, due.needs[0], now_ms)
        if not again:
            assert backlog.due(now_ms) == due, "it has not been touched"
            backlog.give_up(ONE, due.needs[0], now_ms)
        next_ms = backlog.next_ms()
        assert next_ms is not None
        pauses_ms.append((next_ms - now_ms, again))
        assert backlog.due(next_ms - 1) is None
        now_ms = next_ms
    assert pauses_ms == [*((pause_ms, True) for pause_ms in PAUSES_MS), (ANOTHER_DAY_MS, False)] * 2


def test_a_need_that_is_put_off_has_not_been_tried(path: Path) -> None:
    backlog = Backlog(path, "log")
    backlog.add(ONE, [repair(0, 5)])
    backlog.put_off(ONE, backlog._kept.needs[ONE][0], NOW_MS + 5)
    assert backlog.due(NOW_MS + 4) is None
    assert backlog.due(NOW_MS + 5) == Due(ONE, [repair(0, 5, due_ms=NOW_MS + 5)])


def test_each_timeframe_has_pauses_of_its_own(path: Path) -> None:
    backlog = Backlog(path, "log")
    backlog.add(ONE, [repair(0, 5, timeframe_s=timeframe_s) for timeframe_s in (60, 120, 180, 300)])
    due = backlog.due(NOW_MS)
    assert due is not None
    for need in due.needs:
        assert backlog.postpone(ONE, need, NOW_MS)
    assert {need.due_ms - NOW_MS for need in backlog._kept.needs[ONE]} == {PAUSES_MS[0]}


def test_a_repair_is_given_up_on_the_second_day_and_anything_after_thirty(path: Path) -> None:
    backlog = Backlog(path, "log")
    backlog.add(ONE, [fill(), repair(0, 1)])
    asked: dict[bool, list[int]] = {True: [], False: []}
    while (now_ms := backlog.next_ms()) is not None:
        due = backlog.due(now_ms)
        assert due is not None
        for need in due.needs:
            asked[need.repairs].append(now_ms)
            postpone_or_give_up(backlog, ONE, need, now_ms)
    assert len(asked[True]) == 8
    assert OLDEST_MS < asked[False][-1] - NOW_MS < OLDEST_MS + ANOTHER_DAY_MS


def test_instruments_that_are_no_longer_subscribed_are_forgotten(path: Path) -> None:
    backlog = Backlog(path, "log")
    for instrument in (ONE, TWO):
        backlog.add(instrument, [fill()])
        backlog.promise(instrument, {60: 250})
        backlog.begin_gap([instrument], NOW_MS)
    backlog.save()
    backlog.keep_only([TWO])
    assert backlog.changed
    kept = backlog._kept
    assert [list(known) for known in (kept.needs, kept.ready, kept.gaps)] == [[TWO]] * 3
    assert backlog.lacking(ONE, {60: 250}) == [60]


def test_gaps_every_few_seconds_for_hours_pile_up_nothing() -> None:
    backlog, choose = Backlog(Path("nowhere"), "log"), Random(5)
    for second in range(0, 4 * 3600, 5):
        minute = second // 60
        for timeframe in (1, 5):
            begin = minute // timeframe * timeframe
            due_ms = NOW_MS + (begin + timeframe) * MINUTE_MS
            backlog.add(ONE, [repair(begin, begin + timeframe, timeframe_s=60 * timeframe, due_ms=due_ms)])
        now_ms = NOW_MS + second * 1000
        if (due := backlog.due(now_ms)) is not None and choose.random() < 0.1:
            postpone_or_give_up(backlog, ONE, due.needs[0], now_ms)
        assert len(backlog._kept.needs[ONE]) <= 2
