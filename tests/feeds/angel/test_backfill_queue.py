"""What is still to be asked for: nothing that was noted is lost, and nothing piles up."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.feeds.angel.backfill_queue import (
    ANOTHER_DAY_MS,
    OLDEST_MS,
    PAUSES_MS,
    BackfillQueue,
    BackfillRequest,
    Due,
)
from topology.market.times import Interval

NOW_MS = 1_669_088_700_000
ONE, TWO = "NSE:3045", "NSE:2885"
FAR_MS = 1 << 60
MINUTE_MS = 60_000


def repair(from_minute: int, to_minute: int, *, timeframe_s: int = 60, due_ms: int = NOW_MS) -> BackfillRequest:
    return BackfillRequest(
        timeframe_s, NOW_MS + from_minute * MINUTE_MS, NOW_MS + to_minute * MINUTE_MS, due_ms, revision=1
    )


def fill(timeframe_s: int = 60, *, due_ms: int = NOW_MS, reset: bool = False) -> BackfillRequest:
    return BackfillRequest(timeframe_s, NOW_MS - 90 * MINUTE_MS, NOW_MS, due_ms, int(reset), reset)


def postpone_or_give_up(queue: BackfillQueue, instrument: str, request: BackfillRequest, now_ms: int) -> None:
    if not queue.postpone(instrument, request, now_ms):
        queue.give_up(instrument, request, now_ms)


def minutes(queue: BackfillQueue) -> set[tuple[str, int]]:
    """All minutes that are to be repaired, and of which timeframe's candles."""
    return {
        (instrument, minute)
        for instrument, requests in queue._content.requests.items()
        for request in requests
        for minute in range((request.from_ms - NOW_MS) // MINUTE_MS, (request.to_ms - NOW_MS) // MINUTE_MS)
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
        queue = BackfillQueue(Path(folder) / "history.json", "log")
        for what, instrument, begin, length in steps:
            request = asked.requests[begin % len(asked.requests)] if asked else None
            if what == "gap":
                queue.add(instrument, [repair(begin, begin + length)])
                lacking |= {(instrument, minute) for minute in range(begin, begin + length)}
            elif what == "asked":
                asked = queue.due(FAR_MS)
            elif what == "restart":
                queue.save()
                queue, asked = BackfillQueue(Path(folder) / "history.json", "log"), None
            elif request is not None and asked is not None:
                if what == "answered":
                    until_ms = min(request.from_ms + length * MINUTE_MS, request.to_ms)
                    queue.done(asked.instrument, request, until_ms)
                    brought = range((request.from_ms - NOW_MS) // MINUTE_MS, (until_ms - NOW_MS) // MINUTE_MS)
                    lacking -= {(asked.instrument, minute) for minute in brought}
                else:
                    postpone_or_give_up(queue, asked.instrument, request, NOW_MS)
            assert minutes(queue) == lacking
            assert (queue.due(FAR_MS) is None) == (queue.next_ms() is None) == (not lacking)
            assert len(queue) == len({name for name, _ in lacking})
            for requests in queue._content.requests.values():
                bounds = sorted((request.from_ms, request.to_ms) for request in requests)
                assert all(earlier[1] < later[0] for earlier, later in pairwise(bounds))


def test_what_is_known_is_the_same_after_a_restart(path: Path) -> None:
    queue = BackfillQueue(path, "log")
    queue.add(ONE, [fill(60), fill(300, reset=True), repair(0, 5)])
    queue.promise(ONE, {60: 600, 300: 250})
    queue.begin_gap([TWO], NOW_MS)
    queue.asked, queue.warmed = 7, 5
    assert queue.changed
    queue.save()
    again = BackfillQueue(path, "log")
    assert again._content == queue._content
    assert not queue.changed
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
    assert len(BackfillQueue(path, "log")) == 0
    assert "is begun anew" in caplog.text


def test_another_logs_file_is_begun_anew(path: Path) -> None:
    queue = BackfillQueue(path, "log")
    queue.add(ONE, [fill()])
    queue.asked = 7
    queue.save()
    other = BackfillQueue(path, "another")
    assert (len(other), other.asked, other.due(FAR_MS)) == (0, 0, None)


def test_a_gap_begins_when_it_was_first_noted_whatever_is_noted_until_it_ends(path: Path) -> None:
    queue = BackfillQueue(path, "log")
    queue.begin_gap([ONE, TWO], NOW_MS)
    queue.save()
    queue = BackfillQueue(path, "log")
    queue.begin_gap([ONE], NOW_MS + 30_000)
    assert queue.end_gap(ONE, Interval(NOW_MS + 30_000, NOW_MS + 40_000)) == Interval(NOW_MS, NOW_MS + 40_000)
    later = Interval(NOW_MS + 50_000, NOW_MS + 60_000)
    assert queue.end_gap(ONE, later) == later, "it has ended"
    earlier = Interval(NOW_MS - 5_000, NOW_MS + 60_000)
    assert queue.end_gap(TWO, earlier) == earlier


def test_repairs_come_first_and_then_what_is_due_for_longest(path: Path) -> None:
    queue = BackfillQueue(path, "log")
    queue.add("NSE:1", [fill(due_ms=NOW_MS - 9)])
    queue.add("NSE:2", [fill(due_ms=NOW_MS - 8), repair(0, 1, due_ms=NOW_MS - 1)])
    queue.add("NSE:3", [repair(0, 1, due_ms=NOW_MS - 2), repair(9, 10, due_ms=NOW_MS + 1)])
    queue.add("NSE:4", [repair(0, 1, due_ms=NOW_MS + 1), fill(300, due_ms=NOW_MS + 1)])
    order = []
    while (due := queue.due(NOW_MS)) is not None:
        order.append((due.instrument, len(due.requests)))
        for request in due.requests:
            queue.done(due.instrument, request, FAR_MS)
    assert order == [("NSE:3", 1), ("NSE:2", 2), ("NSE:1", 1)], "with all that is due of an instrument"
    assert queue.next_ms() == queue.next_ms(repairs=False) == NOW_MS + 1


@given(st.permutations([(minute, minute + 1) for minute in range(10)]))
def test_repairs_that_touch_become_one_in_whatever_order_they_come(intervals: list[tuple[int, int]]) -> None:
    queue = BackfillQueue(Path("nowhere"), "log")
    for begin, end in intervals:
        queue.add(ONE, [repair(begin, end, due_ms=NOW_MS + end)])
    assert queue.due(FAR_MS) == Due(ONE, [repair(0, 10, due_ms=NOW_MS + 1)])


def test_a_request_takes_the_place_of_the_one_before_but_a_reset_stays_one_and_repairs_stay(path: Path) -> None:
    queue = BackfillQueue(path, "log")
    queue.add(ONE, [fill(60), fill(300), repair(0, 5)])
    queue.add(ONE, [fill(60, reset=True)])
    queue.add(ONE, [fill(60)])
    due = queue.due(NOW_MS)
    assert due is not None
    assert sorted(due.requests, key=lambda request: (request.timeframe_s, request.repairs)) == [
        fill(60, reset=True), repair(0, 5), fill(300)
    ]  # fmt: skip


def test_a_request_that_comes_while_the_one_before_is_asked_for_is_asked_for_too(path: Path) -> None:
    queue = BackfillQueue(path, "log")
    queue.add(ONE, [fill()])
    asked = queue.due(NOW_MS)
    assert asked is not None
    queue.add(ONE, [fill(reset=True)])
    queue.postpone(ONE, asked.requests[0], NOW_MS)
    queue.done(ONE, asked.requests[0], FAR_MS)
    assert queue.due(NOW_MS) == Due(ONE, [fill(reset=True)])


def test_an_empty_answer_is_asked_for_again_after_pauses_and_then_on_another_day(path: Path) -> None:
    queue = BackfillQueue(path, "log")
    queue.add(ONE, [fill()])
    now_ms, pauses_ms = NOW_MS, []
    for _ in range(2 * (len(PAUSES_MS) + 1)):
        due = queue.due(now_ms)
        assert due is not None
        again = queue.postpone(ONE, due.requests[0], now_ms)
        if not again:
            assert queue.due(now_ms) == due, "it has not been touched"
            queue.give_up(ONE, due.requests[0], now_ms)
        next_ms = queue.next_ms()
        assert next_ms is not None
        pauses_ms.append((next_ms - now_ms, again))
        assert queue.due(next_ms - 1) is None
        now_ms = next_ms
    assert pauses_ms == [*((pause_ms, True) for pause_ms in PAUSES_MS), (ANOTHER_DAY_MS, False)] * 2


def test_a_need_that_is_put_off_has_not_been_tried(path: Path) -> None:
    queue = BackfillQueue(path, "log")
    queue.add(ONE, [repair(0, 5)])
    queue.put_off(ONE, queue._content.requests[ONE][0], NOW_MS + 5)
    assert queue.due(NOW_MS + 4) is None
    assert queue.due(NOW_MS + 5) == Due(ONE, [repair(0, 5, due_ms=NOW_MS + 5)])


def test_each_timeframe_has_pauses_of_its_own(path: Path) -> None:
    queue = BackfillQueue(path, "log")
    queue.add(ONE, [repair(0, 5, timeframe_s=timeframe_s) for timeframe_s in (60, 120, 180, 300)])
    due = queue.due(NOW_MS)
    assert due is not None
    for request in due.requests:
        assert queue.postpone(ONE, request, NOW_MS)
    assert {request.due_ms - NOW_MS for request in queue._content.requests[ONE]} == {PAUSES_MS[0]}


def test_a_repair_is_given_up_on_the_second_day_and_anything_after_thirty(path: Path) -> None:
    queue = BackfillQueue(path, "log")
    queue.add(ONE, [fill(), repair(0, 1)])
    asked: dict[bool, list[int]] = {True: [], False: []}
    while (now_ms := queue.next_ms()) is not None:
        due = queue.due(now_ms)
        assert due is not None
        for request in due.requests:
            asked[request.repairs].append(now_ms)
            postpone_or_give_up(queue, ONE, request, now_ms)
    assert len(asked[True]) == 8
    assert OLDEST_MS < asked[False][-1] - NOW_MS < OLDEST_MS + ANOTHER_DAY_MS


def test_instruments_that_are_no_longer_subscribed_are_forgotten(path: Path) -> None:
    queue = BackfillQueue(path, "log")
    for instrument in (ONE, TWO):
        queue.add(instrument, [fill()])
        queue.promise(instrument, {60: 250})
        queue.begin_gap([instrument], NOW_MS)
    queue.save()
    queue.keep_only([TWO])
    assert queue.changed
    kept = queue._content
    assert [list(known) for known in (kept.requests, kept.ready, kept.gaps)] == [[TWO]] * 3
    assert queue.lacking(ONE, {60: 250}) == [60]


def test_gaps_every_few_seconds_for_hours_pile_up_nothing() -> None:
    queue, choose = BackfillQueue(Path("nowhere"), "log"), Random(5)
    for second in range(0, 4 * 3600, 5):
        minute = second // 60
        for timeframe in (1, 5):
            begin = minute // timeframe * timeframe
            due_ms = NOW_MS + (begin + timeframe) * MINUTE_MS
            queue.add(ONE, [repair(begin, begin + timeframe, timeframe_s=60 * timeframe, due_ms=due_ms)])
        now_ms = NOW_MS + second * 1000
        if (due := queue.due(now_ms)) is not None and choose.random() < 0.1:
            postpone_or_give_up(queue, ONE, due.requests[0], now_ms)
        assert len(queue._content.requests[ONE]) <= 2
