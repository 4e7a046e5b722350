"""What waits for a channel: nothing is lost, nothing comes too often, and order is kept."""

from __future__ import annotations

import doctest
import itertools
from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from topology.notifiers import Kind, Notice, notice
from topology.notifiers.notice_queue import BURST, GROUP_S, PACE_S, NoticeGroup, NoticeQueue

# What happens: so many seconds later, a notice of this kind.
happenings = st.lists(st.tuples(st.integers(0, 400), st.sampled_from(Kind)), max_size=60)


def notice_of(kind: Kind, number: int = 0) -> Notice:
    return Notice(kind, f"{kind} {number}", "", number, False)


def played(happened: list[tuple[int, Kind]]) -> list[tuple[float, NoticeGroup]]:
    """When which message leaves, when each leaves as soon as it may and all of them in the end."""
    waiting, left, now_s = NoticeQueue(), [], 0.0

    def drain(until_s: float) -> None:
        nonlocal now_s
        while (wait_s := waiting.wait_s(now_s)) is not None and now_s + wait_s <= until_s:
            now_s += wait_s
            group = waiting.pop(now_s)
            assert group is not None
            left.append((now_s, group))
        now_s = until_s

    for number, (later_s, kind) in enumerate(happened):
        drain(now_s + later_s)
        waiting.add(notice_of(kind, number), now_s)
    drain(now_s + 10 * GROUP_S)
    assert waiting.wait_s(now_s) is None
    return left


@given(happenings)
def test_every_notice_leaves_in_one_message(happened: list[tuple[int, Kind]]) -> None:
    told = Counter(kind for _, kind in happened)
    left: Counter[Kind] = Counter()
    for _, group in played(happened):
        left[group.newest.kind] += group.count
    assert left == told


@given(happenings)
def test_messages_leave_in_the_order_of_their_newest_notice(happened: list[tuple[int, Kind]]) -> None:
    numbers = [group.newest.at_ms for _, group in played(happened)]
    assert numbers == sorted(numbers)


@given(happenings)
def test_never_more_messages_than_a_burst_and_the_pace(happened: list[tuple[int, Kind]]) -> None:
    times = [at_s for at_s, _ in played(happened)]
    for (first, first_s), (last, last_s) in itertools.combinations(enumerate(times), 2):
        assert last - first + 1 <= BURST + (last_s - first_s) / PACE_S


@given(st.lists(st.integers(0, 400), max_size=60), st.sampled_from(Kind))
def test_one_kind_alone_leaves_once_in_some_minutes_and_never_waits_longer(later: list[int], kind: Kind) -> None:
    left = played([(later_s, kind) for later_s in later])
    for (before_s, _), (after_s, group) in itertools.pairwise(left):
        assert after_s - before_s >= GROUP_S
        assert after_s - group.first_s <= GROUP_S


def test_the_first_of_a_kind_leaves_at_once() -> None:
    waiting = NoticeQueue()
    for kind in Kind:
        waiting.add(notice_of(kind), 7.0)
        group = waiting.pop(7.0)
        assert group is not None
        assert group.notice == notice_of(kind)


def test_what_is_folded_says_how_often_and_since_when() -> None:
    waiting = NoticeQueue()
    waiting.add(notice_of(Kind.LOGIN_FAILED), 0.0)
    waiting.pop(0.0)
    for number in range(1, 4):
        folded = waiting.add(
            Notice(Kind.LOGIN_FAILED, "Refused", f"try {number}", 1_669_088_700_000 + number, False), 1.0
        )
        assert folded == (number > 1)
    assert waiting.pop(GROUP_S - 1) is None
    group = waiting.pop(GROUP_S)
    assert group is not None
    assert group.notice.title == "Refused (3 times since 2022-11-22 09:15:00 IST)"
    assert group.notice.text == "try 3"


def test_what_is_held_back_leaves_before_a_later_one_that_is_due() -> None:
    waiting = NoticeQueue()
    waiting.add(notice_of(Kind.FEED_STALE, 1), 0.0)
    waiting.pop(0.0)
    waiting.add(notice_of(Kind.FEED_STALE, 2), 10.0)
    assert waiting.pop(10.0) is None
    waiting.add(notice_of(Kind.RECOVERED, 3), 20.0)
    left = [waiting.pop(20.0), waiting.pop(20.0)]
    assert [group and group.newest.kind for group in left] == [Kind.FEED_STALE, Kind.RECOVERED]


def test_a_notice_is_a_value_that_travels() -> None:
    told = notice_of(Kind.TEST)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=Notice) == told


def test_the_example_of_a_message_holds() -> None:
    assert doctest.testmod(notice).failed == 0
