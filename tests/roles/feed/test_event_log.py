"""What happens to a feed is written in its order, and people have notices of trouble and of its end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.until import until
from topology.clock import Clock
from topology.log.frames import FeedEvent, FeedEventKind
from topology.notifiers import Kind, Notice
from topology.roles.feed.event_log import FeedEventLog

NOW_MS = 1_669_088_700_000


class Writer:
    def __init__(self) -> None:
        self.log = SimpleNamespace(header=SimpleNamespace(log="sim-4f2a"))
        self.events: list[FeedEvent] = []

    async def event(self, event: FeedEvent) -> None:
        self.events.append(event)


@pytest.fixture
def notices() -> list[Notice]:
    return []


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def event_log(writer: Writer, notices: list[Notice]) -> FeedEventLog:
    notifications: Any = SimpleNamespace(notify=notices.append)
    return FeedEventLog(writer, Clock(lambda: NOW_MS, asyncio.sleep), notifications, simulated=True)  # type: ignore[arg-type]


async def test_events_are_written_in_the_order_in_which_they_happen(event_log: FeedEventLog, writer: Writer) -> None:
    event_log.record(FeedEventKind.CONNECTED, "7 instruments", socket=0)
    event_log.record(FeedEventKind.GAP, socket=0, from_ms=1, to_ms=2501, instruments=7)
    event_log.record(FeedEventKind.DAY, "received: 5")
    running = asyncio.create_task(event_log.run())
    await until(lambda: len(writer.events) == 3)
    running.cancel()
    assert [event.kind for event in writer.events] == ["connected", "gap", "day"]
    assert writer.events[1] == FeedEvent(1, "sim-4f2a", NOW_MS, "gap", 0, "", 1, 2501, 7)


def test_the_gap_that_each_day_begins_with_and_suspect_spans_concern_nobody(
    event_log: FeedEventLog, notices: list[Notice]
) -> None:
    event_log.record(FeedEventKind.CONNECTED, socket=0)
    event_log.record(FeedEventKind.GAP, socket=0, from_ms=0, to_ms=63_000_000)
    event_log.record(FeedEventKind.SUSPECT, "reordered", socket=0, from_ms=0, to_ms=1)
    assert notices == []


def test_a_socket_that_is_lost_while_another_carries_on_concerns_nobody(
    event_log: FeedEventLog, notices: list[Notice]
) -> None:
    event_log.record(FeedEventKind.STALE, "the socket is silent", socket=0, instruments=7)
    event_log.record(FeedEventKind.DISCONNECTED, "the socket is silent", socket=0, instruments=7)
    event_log.record(FeedEventKind.GAP, socket=1, from_ms=0, to_ms=63_000_000)
    assert notices == []


def test_people_have_a_notice_of_trouble_and_one_of_its_end(event_log: FeedEventLog, notices: list[Notice]) -> None:
    event_log.record(FeedEventKind.STALE, "the socket is silent", socket=0)
    event_log.record(FeedEventKind.GAP, socket=0, from_ms=0, to_ms=45_000)
    event_log.record(FeedEventKind.GAP, socket=1, from_ms=0, to_ms=45_000)
    assert [(notice.kind, notice.text) for notice in notices] == [
        (Kind.FEED_STALE, "the socket is silent"), (Kind.RECOVERED, "It was without for 45 s.")
    ]  # fmt: skip
    assert all(notice.simulated for notice in notices)


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        (FeedEventKind.LOGIN_FAILED, Kind.LOGIN_FAILED),
        (FeedEventKind.STOPPED, Kind.STOPPED),
        (FeedEventKind.DAY, Kind.DAY_SUMMARY),
    ],
)
def test_what_a_person_must_know_is_a_notice(
    event_log: FeedEventLog, notices: list[Notice], kind: FeedEventKind, about: Kind
) -> None:
    event_log.record(kind, "why")
    assert [(notice.kind, notice.text, notice.at_ms) for notice in notices] == [(about, "why", NOW_MS)]
