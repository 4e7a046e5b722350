"""Notices on their way to channels that work, fail and hang, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Self

import pytest

from topology.backoff import Backoff
from topology.notifiers import Kind, Notice, Notifications, Notifier, UndeliveredError
from topology.notifiers.notice_queue import GROUP_S
from topology.notifiers.notifications import NOTIFICATIONS, RETRY_S, TRIES
from topology.settings import Settings

names = map("channel-{}".format, itertools.count())


class Clock:
    """A clock that jumps to the next one who sleeps when a test waits for something."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = itertools.count()

    def now_s(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        wakes: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._number), wakes))
        await wakes

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let everything go on, and time pass, until this holds."""
        async with asyncio.timeout(10):
            while not condition():
                await settled()
                if not condition() and self._sleepers:
                    self.now, _, wakes = heapq.heappop(self._sleepers)
                    if not wakes.done():
                        wakes.set_result(None)


async def settled() -> None:
    """Let every task come as far as it can without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)


class Channel:
    """Takes notices, or fails with the next of its ``problems``; ``tried`` is when."""

    def __init__(self, clock: Clock, *problems: Exception | None) -> None:
        self.NAME = next(names)
        self.got: list[Notice] = []
        self.tried: list[float] = []
        self.problems = list(problems)
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        return None

    async def send(self, notice: Notice) -> None:
        self.tried.append(self._clock.now)
        problem = self.problems.pop(0) if self.problems else None
        if problem is not None:
            raise problem
        self.got.append(notice)

    def count(self, outcome: str) -> float:
        return float(NOTIFICATIONS.labels(self.NAME, outcome)._value.get())


class Hanging(Channel):
    async def send(self, notice: Notice) -> None:
        self.tried.append(self._clock.now)
        await asyncio.Event().wait()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def running(clock: Clock, *channels: Notifier) -> AsyncIterator[Notifications]:
    notifications = Notifications(channels, clock.now_s, random=Random(1), sleep=clock.sleep)
    task = asyncio.create_task(notifications.run())
    yield notifications
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def notice(kind: Kind = Kind.FEED_STALE, title: str = "No data") -> Notice:
    return Notice(kind, title, "", 0, False)


def passing(reason: str = "away", wait_s: float = 0.0) -> UndeliveredError:
    return UndeliveredError(reason, passing=True, wait_s=wait_s)


async def test_a_notice_goes_to_every_channel_at_once(clock: Clock) -> None:
    channels = [Channel(clock), Channel(clock)]
    async with running(clock, *channels) as notifications:
        notifications.notify(notice())
        await settled()
        assert [channel.got for channel in channels] == [[notice()]] * 2
        assert [channel.count("delivered") for channel in channels] == [1, 1]


async def test_what_is_told_before_it_runs_is_delivered(clock: Clock) -> None:
    channel = Channel(clock)
    notifications = Notifications([channel], clock.now_s, random=Random(1), sleep=clock.sleep)
    notifications.notify(notice())
    task = asyncio.create_task(notifications.run())
    await clock.until(lambda: channel.got == [notice()])
    task.cancel()


async def test_without_channels_telling_does_nothing(clock: Clock) -> None:
    notifications = Notifications([], clock.now_s, random=Random(1), sleep=clock.sleep)
    notifications.notify(notice())
    await notifications.run()


async def test_a_channel_that_hangs_delays_neither_the_caller_nor_another(clock: Clock) -> None:
    hanging, works = Hanging(clock), Channel(clock)
    async with running(clock, hanging, works) as notifications:
        for kind in Kind:
            notifications.notify(notice(kind))
            await settled()
        assert [got.kind for got in works.got] == list(Kind)
        assert len(hanging.tried) == 1
        assert clock.now == 1000.0


async def test_a_flood_becomes_two_messages_and_a_count(clock: Clock) -> None:
    channel = Channel(clock)
    async with running(clock, channel) as notifications:
        notifications.notify(notice(title="No data at all"))
        await settled()
        for number in range(999):
            notifications.notify(notice(title=f"No data {number}"))
            await asyncio.sleep(0)
        await clock.until(lambda: len(channel.got) == 2)
        first, last = channel.got
        assert channel.tried == [1000.0, 1000.0 + GROUP_S]
        assert first.title == "No data at all"
        assert last.title.startswith("No data 998 (999 times since ")
        assert channel.count("delivered") + channel.count("folded") == 1000
        assert channel.count("failed") == 0


async def test_while_one_is_held_back_another_kind_leaves_at_once(clock: Clock) -> None:
    channel = Channel(clock)
    async with running(clock, channel) as notifications:
        notifications.notify(notice())
        await settled()
        notifications.notify(notice())
        await settled()
        notifications.notify(notice(Kind.RECOVERED))
        await settled()
        assert [got.kind for got in channel.got] == [Kind.FEED_STALE, Kind.FEED_STALE, Kind.RECOVERED]
        assert clock.now == 1000.0


async def test_it_is_tried_again_until_it_works(clock: Clock) -> None:
    channel = Channel(clock, passing(), passing(wait_s=17.0))
    async with running(clock, channel) as notifications:
        notifications.notify(notice())
        await clock.until(lambda: channel.got == [notice()])
        again_s = 1000.0 + Backoff(RETRY_S, Random(1)).next_s()
        assert channel.tried == [1000.0, again_s, again_s + 17.0]  # the second time the server wanted longer
        assert (channel.count("delivered"), channel.count("failed")) == (1, 0)


async def test_it_is_given_up_after_some_tries_and_the_next_notice_has_its_own(clock: Clock) -> None:
    channel = Channel(clock, *[passing()] * TRIES)
    async with running(clock, channel) as notifications:
        notifications.notify(notice())
        notifications.notify(notice(Kind.RECOVERED))
        await clock.until(lambda: len(channel.got) == 1)
        assert channel.got == [notice(Kind.RECOVERED)]
        assert (channel.count("delivered"), channel.count("failed")) == (1, 1)


async def test_what_no_other_try_can_mend_is_given_up_at_once(clock: Clock) -> None:
    channel = Channel(clock, UndeliveredError("HTTP 404", passing=False))
    async with running(clock, channel) as notifications:
        notifications.notify(notice())
        await settled()
        assert len(channel.tried) == 1
        assert channel.count("failed") == 1


async def test_failures_are_logged_once_until_it_works_again(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    channel = Channel(clock, passing("away"), passing("still away"), None, passing("away again"))
    async with running(clock, channel) as notifications:
        notifications.notify(notice())
        await clock.until(lambda: channel.count("delivered") == 1)
        notifications.notify(notice(Kind.RECOVERED))
        await clock.until(lambda: channel.count("delivered") == 2)
    assert [record.getMessage().replace(channel.NAME, "X") for record in caplog.records] == [
        "the channel X does not deliver: away",
        "the channel X delivers again",
        "the channel X does not deliver: away again",
        "the channel X delivers again",
    ]


async def test_a_defect_of_a_channel_is_told_by_its_kind_alone_and_ends_nothing(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    channel = Channel(clock, ZeroDivisionError("https://example.org/secret"))
    async with running(clock, channel) as notifications:
        notifications.notify(notice())
        await settled()
        notifications.notify(notice(Kind.RECOVERED))
        await settled()
        assert channel.got == [notice(Kind.RECOVERED)]
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text
