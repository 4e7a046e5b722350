"""Of two connections one is an instrument's source: who takes over when, and that what is missed by it is reported."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.feeds.angel.source_selector import (
    APART_MS,
    LAG_MS,
    LATE,
    LOOKED_AT,
    SILENT_MS,
    SWITCHED,
    USED,
    Choice,
    SourceSelector,
)
from topology.feeds.angel.translator import AHEAD_MS, OLD_MS

STOCK = "NSE:2885"
NOW_MS = 1_669_088_700_000
FAR = 10**9


class Connections:
    """Two connections of one instrument. Times are milliseconds from some moment on."""

    def __init__(self) -> None:
        self.sources = SourceSelector([STOCK])
        self.sources.opened(0)
        self.sources.opened(1)

    def bring(self, connection: int, time_ms: int, at_ms: int | None = None) -> Choice:
        """Let a connection bring a packet of a time; at once by default."""
        at_ms = time_ms if at_ms is None else at_ms
        choice = self.sources.choose(STOCK, connection, exchange_ms=NOW_MS + time_ms, received_ms=NOW_MS + at_ms)
        return choice._replace(missed_ms=choice.missed_ms - NOW_MS) if choice.why else choice


@pytest.fixture
def connections() -> Connections:
    return Connections()


def in_step(connections: Connections, until_ms: int, step_ms: int = 500) -> None:
    """Let both bring the same, the first connection before the other."""
    for time_ms in range(0, until_ms + 1, step_ms):
        assert connections.bring(0, time_ms) == USED
        assert connections.bring(1, time_ms) == LOOKED_AT


def test_whichever_brings_the_first_packet_is_the_source(connections: Connections) -> None:
    assert connections.sources.without() == [STOCK]
    assert connections.bring(1, 0) == USED
    assert connections.bring(0, 1) == LOOKED_AT
    assert (connections.sources.without(), connections.sources.of(0), connections.sources.of(1)) == ([], [], [STOCK])


def test_a_silent_source_is_replaced_once_the_other_has_been_ahead_for_so_long(connections: Connections) -> None:
    in_step(connections, 10_000)
    assert (
        connections.bring(1, 60_000) == LOOKED_AT
    )  # nothing was traded meanwhile: only now there is something to bring
    assert connections.bring(1, 60_000 + SILENT_MS - 1) == LOOKED_AT
    assert connections.bring(1, 60_000 + SILENT_MS) == Choice(True, SWITCHED, 60_000 - LAG_MS)
    assert connections.bring(0, 60_000 + SILENT_MS) == LOOKED_AT


def test_a_source_that_is_down_is_replaced_at_once_by_something_newer(connections: Connections) -> None:
    in_step(connections, 10_000)
    assert connections.sources.closed(0) == {}
    assert connections.bring(1, 10_000, 10_010) == LOOKED_AT
    assert connections.bring(1, 10_100) == Choice(True, SWITCHED, 10_000)
    assert connections.sources.up == [1]


def test_a_source_that_brings_old_news_is_replaced(connections: Connections) -> None:
    in_step(connections, 10_000)
    for time_ms in (10_500, 11_000, 11_500):
        assert connections.bring(1, time_ms) == LOOKED_AT
        assert connections.bring(0, time_ms - LAG_MS, time_ms) == USED
    assert connections.bring(1, 11_501) == LOOKED_AT
    assert connections.bring(0, 10_501, 11_502) == USED
    assert connections.bring(1, 11_600) == LOOKED_AT
    assert connections.bring(0, 10_510, 11_603) == Choice(True, LATE, 10_501)
    assert connections.bring(1, 11_700) == Choice(True, SWITCHED, 10_510)


def test_a_source_that_repeats_itself_is_silent(connections: Connections) -> None:
    in_step(connections, 10_000)
    for time_ms in range(10_100, 10_100 + SILENT_MS, 100):
        assert connections.bring(1, time_ms) == LOOKED_AT
        assert connections.bring(0, 10_000, time_ms) == USED
    assert connections.bring(1, 10_100 + SILENT_MS).why == SWITCHED


def test_a_source_that_is_so_far_behind_that_its_times_seem_wrong_is_late(connections: Connections) -> None:
    in_step(connections, 10_000)
    assert connections.bring(1, 20_000) == LOOKED_AT
    assert connections.bring(0, 10_100, 20_010) == Choice(True, LATE, 19_000)
    assert connections.bring(1, 20_020) == Choice(True, SWITCHED, 19_000)


def test_a_source_whose_clock_is_ahead_is_silent(connections: Connections) -> None:
    in_step(connections, 10_000)
    for time_ms in range(10_100, 10_100 + SILENT_MS, 100):
        assert connections.bring(1, time_ms) == LOOKED_AT
        assert connections.bring(0, time_ms + 3_600_000, time_ms) == USED
    assert connections.bring(1, 10_100 + SILENT_MS) == Choice(True, SWITCHED, 10_000)


def test_no_packet_is_taken_that_is_behind_one_of_the_source_whose_time_was_mended(connections: Connections) -> None:
    in_step(connections, 10_000)
    assert connections.bring(0, 10_100, 20_000) == USED  # that old, the time of receipt counts in its place
    connections.sources.closed(0)
    assert connections.bring(1, 19_999, 20_001) == LOOKED_AT
    assert connections.bring(1, 20_001).why == SWITCHED


def test_a_source_is_not_replaced_again_so_soon(connections: Connections) -> None:
    in_step(connections, 10_000)
    connections.sources.closed(0)
    assert connections.bring(1, 11_000).why == SWITCHED
    connections.sources.opened(0)
    connections.sources.closed(1)
    assert connections.bring(0, 12_000) == LOOKED_AT
    assert connections.bring(0, 10_999 + APART_MS) == LOOKED_AT
    assert connections.bring(0, 11_000 + APART_MS) == Choice(True, SWITCHED, 11_000)


@pytest.mark.parametrize(("time_ms", "told"), [(10_000, USED), (12_000, Choice(True, LATE, 10_000))])
def test_a_source_that_comes_back_tells_whether_there_was_something_that_neither_has_brought(
    connections: Connections, time_ms: int, told: Choice
) -> None:
    in_step(connections, 10_000)
    connections.sources.closed(0)
    connections.sources.opened(0)
    assert connections.bring(0, time_ms, 15_000) == told
    assert connections.bring(0, 16_000) == USED


def test_what_overtook_another_packet_does_not_hide_it(connections: Connections) -> None:
    in_step(connections, 10_000)
    assert connections.bring(1, 14_000) == LOOKED_AT
    assert connections.bring(1, 12_000, 14_001) == LOOKED_AT
    assert connections.bring(1, 17_000) == Choice(True, SWITCHED, 12_000 - LAG_MS)


def test_a_source_that_comes_back_before_the_other_has_spoken_again_has_missed_something(
    connections: Connections,
) -> None:
    in_step(connections, 10_000)
    assert connections.bring(1, 20_000) == LOOKED_AT
    assert connections.bring(0, 30_000) == Choice(True, LATE, 20_000 - LAG_MS)
    assert connections.bring(1, 30_000) == LOOKED_AT


def test_a_source_that_goes_down_has_missed_what_the_other_has_brought(connections: Connections) -> None:
    in_step(connections, 10_000)
    connections.bring(1, 11_500)
    assert connections.sources.closed(0) == {STOCK: NOW_MS + 10_500}
    assert connections.sources.closed(1) == {}
    assert connections.sources.without() == [STOCK]


def test_the_first_packet_of_a_line_does_not_tell_what_was_there_before_it(connections: Connections) -> None:
    in_step(connections, 10_000)
    connections.sources.closed(1)
    connections.sources.opened(1)
    connections.sources.closed(0)
    assert connections.bring(1, 40_000) == Choice(True, SWITCHED, 10_000)


@pytest.mark.parametrize("off_ms", [-OLD_MS - 1, AHEAD_MS + 1])
def test_a_time_that_cannot_be_true_replaces_no_source_that_is_up(connections: Connections, off_ms: int) -> None:
    in_step(connections, 10_000)
    for at_ms in range(11_000, 30_000, 500):
        assert connections.bring(1, at_ms + off_ms, at_ms) == LOOKED_AT
    assert connections.bring(0, 30_000) == USED
    connections.sources.closed(0)
    assert connections.bring(1, 31_000 + off_ms, 31_000).why == SWITCHED


class Packet(NamedTuple):
    at_ms: int
    connection: int
    time_ms: int


class Down(NamedTuple):
    """A connection goes down, or comes up again."""

    at_ms: int
    connection: int
    up: bool


class Taken(NamedTuple):
    at_ms: int
    time_ms: int
    connection: int
    why: str
    missed_ms: int  # the earliest time from which on it tells that something may be missing


class Silence(NamedTuple):
    """A connection brings nothing from ``from_ms`` on; it is down where that is noticed."""

    from_ms: int
    length_ms: int
    noticed: bool


stream = st.lists(st.one_of(st.integers(1, 700), st.integers(1, 8_000)), min_size=1, max_size=80)  # how far apart
delays = st.lists(st.integers(0, 400), min_size=80, max_size=80)
silences = st.lists(st.builds(Silence, st.integers(0, 40_000), st.integers(1, 9_000), st.booleans()), max_size=5)


def brought(apart_ms: list[int], delays_ms: list[int], connection: int, silences: list[Silence]) -> list[Packet | Down]:
    """Return what happens on a connection, in order. What it brings first when it is up again is how things stand."""
    happens: list[Packet | Down] = []
    time_ms = at_ms = until_ms = 0
    down = False
    for after_ms, delay_ms in zip(apart_ms, delays_ms, strict=False):
        before_ms, time_ms = time_ms, time_ms + after_ms
        at_ms = max(at_ms, time_ms + delay_ms)
        silent = [one for one in silences if one.from_ms <= time_ms < one.from_ms + one.length_ms]
        if silent:
            until_ms = max(one.from_ms + one.length_ms for one in silent)
            if not down and any(one.noticed for one in silent):
                down = True
                happens.append(Down(at_ms, connection, up=False))
            continue
        if down:
            down = False
            happens += [
                Down(max(until_ms, at_ms - after_ms), connection, up=True),
                Packet(at_ms, connection, before_ms),
            ]
        happens.append(Packet(at_ms, connection, time_ms))
    return sorted(happens, key=lambda one: one.at_ms)


def played(*happens: Packet | Down) -> tuple[list[Taken], list[Packet]]:
    """Return what was taken, and what was only looked at."""
    connections, taken, left = Connections(), list[Taken](), list[Packet]()
    missed_ms = FAR
    for one in sorted(happens, key=lambda one: one.at_ms):
        if isinstance(one, Packet):
            choice = connections.bring(one.connection, one.time_ms, one.at_ms)
            if not choice.used:
                left.append(one)
            elif not taken or one.time_ms > taken[-1].time_ms:  # it may bring again how things stand
                missed_ms = min(missed_ms, choice.missed_ms if choice.why else FAR)
                taken.append(Taken(one.at_ms, one.time_ms, one.connection, choice.why, missed_ms))
                missed_ms = FAR
        elif one.up:
            connections.sources.opened(one.connection)
        else:
            missed_ms = min(
                [missed_ms, *(since - NOW_MS for since in connections.sources.closed(one.connection).values())]
            )
            if not connections.sources.up:  # then there is a gap
                missed_ms = min([missed_ms, *(one.time_ms for one in taken[-1:])])
    return taken, left


@given(stream, delays, delays)
def test_lines_in_step_are_left_alone(apart_ms: list[int], first: list[int], second: list[int]) -> None:
    taken, left = played(*brought(apart_ms, first, 0, []), *brought(apart_ms, second, 1, []))
    assert {one.why for one in taken} == {""}
    assert len({one.connection for one in taken}) == len({one.connection for one in left}) == 1
    assert len(taken) == len(left) == len(apart_ms)


@given(stream, delays, delays, silences, silences)
def test_what_is_taken_goes_on_in_time_and_what_is_not_is_told(
    apart_ms: list[int],
    first: list[int],
    second: list[int],
    first_silences: list[Silence],
    second_silences: list[Silence],
) -> None:
    taken, left = played(*brought(apart_ms, first, 0, first_silences), *brought(apart_ms, second, 1, second_silences))
    times = [one.time_ms for one in taken]
    switches = [one.at_ms for one in taken if one.why == SWITCHED]
    assert times == sorted(set(times))
    assert all(later - earlier >= APART_MS for earlier, later in pairwise(switches))
    for packet in left:
        if packet.time_ms not in times:
            newer = [one for one in taken if one.time_ms > packet.time_ms][:1]
            assert all(one.at_ms - packet.at_ms <= LAG_MS or one.missed_ms <= packet.time_ms for one in newer)


@given(stream, delays, st.integers(0, 40_000))
def test_a_source_that_dies_is_replaced(apart_ms: list[int], delays_ms: list[int], dies_ms: int) -> None:
    steady = [min(after_ms, 1_000) for after_ms in apart_ms]
    dead = brought(steady, delays_ms, 0, [Silence(dies_ms, FAR, noticed=False)])
    taken, left = played(*dead, *brought(steady, delays_ms, 1, []))
    first_ms = min([one.time_ms for one in taken] + [one.time_ms for one in left])
    replaced_ms = max(dies_ms, first_ms) + SILENT_MS + 2 * 1_000 + 2 * 400
    assert all(one.time_ms <= replaced_ms for one in left)
