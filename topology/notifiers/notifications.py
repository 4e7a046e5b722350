"""The delivery of notices: each goes to every channel, and none waits for another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from prometheus_client import Counter

from topology.backoff import Backoff
from topology.notifiers.notice import Notice, Notifier, UndeliveredError
from topology.notifiers.notice_queue import NoticeQueue

logger = logging.getLogger(__name__)

NOTIFICATIONS = Counter("mdengine_notifications_total", "Notices by what became of them", ["channel", "outcome"])
RETRY_S, TRIES = (5.0, 75.0), 6
"""How long to wait before another try, and how many there are. A network that is down for two minutes costs no notice.
"""
SHORTEST_S = 0.001

Sleep = Callable[[float], Awaitable[None]]


class Notifications:
    """Every channel of a role. ``now_s`` gives monotonic seconds, ``sleep`` waits by the same clock.

    ``mdengine_notifications_total`` counts each notice once per channel: as ``delivered`` or ``failed`` (after every
    try), or as ``folded`` into another of its kind.
    """

    def __init__(
        self,
        channels: Sequence[Notifier],
        now_s: Callable[[], float],
        *,
        random: Random,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._deliveries = [_Delivery(channel, now_s, sleep, random) for channel in channels]

    def notify(self, notice: Notice) -> None:
        """Send a notice over every channel, at once; it never raises. To be called in the loop that runs `run`."""
        for delivery in self._deliveries:
            delivery.add(notice)

    async def run(self) -> None:
        """Deliver for as long as the role is up, each channel in a task of its own."""
        async with asyncio.TaskGroup() as tasks:
            for delivery in self._deliveries:
                tasks.create_task(delivery.run())


class _Delivery:
    """A channel, what waits for it, and whether it works."""

    def __init__(self, channel: Notifier, now_s: Callable[[], float], sleep: Sleep, random: Random) -> None:
        self._channel, self._now_s, self._sleep = channel, now_s, sleep
        self._queue = NoticeQueue()
        self._backoff = Backoff(RETRY_S, random)
        self._news = asyncio.Event()
        self._works = True

    def add(self, notice: Notice) -> None:
        if self._queue.add(notice, self._now_s()):
            self._count("folded")
        self._news.set()

    async def run(self) -> None:
        while True:
            self._news.clear()
            if group := self._queue.pop(self._now_s()):
                await self._deliver(group.notice)
            else:
                await self._news_or_due(self._queue.wait_s(self._now_s()))

    async def _news_or_due(self, wait_s: float | None) -> None:
        """Wait for another notice, or until one that is held back may leave."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._news.wait())]
        if wait_s is not None:
            waits.append(asyncio.ensure_future(self._sleep(max(wait_s, SHORTEST_S))))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _deliver(self, notice: Notice) -> None:
        """Try some times, as long as another try may help."""
        self._backoff.reset()
        for tries in range(1, TRIES + 1):
            problem = await self._try(notice)
            if problem is None:
                self._count("delivered")
                return
            if not problem.passing:
                break
            if tries < TRIES:
                await self._sleep(max(self._backoff.next_s(), problem.wait_s))
        self._count("failed")

    async def _try(self, notice: Notice) -> UndeliveredError | None:
        try:
            await self._channel.send(notice)
        except UndeliveredError as error:
            problem = error
        except Exception as error:  # it ends a message, not the role
            # Neither its text nor its traceback is logged: they may hold the channel's address.
            problem = UndeliveredError(f"a defect: {type(error).__name__}", passing=False)
        else:
            if not self._works:
                logger.info("the channel %s delivers again", self._channel.NAME)
            self._works = True
            return None
        if self._works:
            logger.warning("the channel %s does not deliver: %s", self._channel.NAME, problem)
        self._works = False
        return problem

    def _count(self, outcome: str) -> None:
        NOTIFICATIONS.labels(self._channel.NAME, outcome).inc()
