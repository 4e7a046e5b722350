"""The broker's feed, unattended: log in before each open, stream, and stop at the close, day after day."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from topology.angel.answers import TokenDeadError
from topology.angel.login import BrokerLogin
from topology.angel.rate_limits import RateLimits
from topology.angel.refusals import Refusals
from topology.clock import Clock
from topology.feeds.angel.backfiller import Backfiller
from topology.feeds.angel.broker_socket import BrokerSocket
from topology.feeds.angel.connection_group import ConnectionGroup
from topology.feeds.angel.events import EventRecorder
from topology.feeds.angel.feed_connection import FeedConnection
from topology.feeds.angel.hours import Hours, next_hours, open_since_ms
from topology.feeds.live import LiveFeed
from topology.feeds.subscriptions import Subscription
from topology.log.frames import FeedEventKind
from topology.market.calendar import Calendar
from topology.market.instruments import default_class
from topology.market.times import LONG_AGO
from topology.settings import Account

logger = logging.getLogger(__name__)

LOGIN_BEFORE_MS = 5 * 60_000  # the open: 09:10 where it is 09:15
CONNECT_BEFORE_MS = 60_000
HISTORY_MS = 350  # for each instrument that lacks history: three calls a second are allowed
LOOKS_EVERY_S = 10.0  # for the next open
STAY_AFTER_MS = 10_000  # the close, for what is on its way


class AngelFeed:
    """Feeds ``live`` from the broker. ``groups`` are the subscriptions of a connection each, with ``standby`` of two.

    ``classes`` names the instrument class where :func:`default_class` is not enough. ``prepare`` runs beside each day's
    login; what is not done when it is time to connect is cancelled. Raises CalendarError for a class that the calendar
    lacks. `run` raises CredentialsError when the broker refuses the credentials for good, and NotCovered where the
    calendar ends.
    """

    def __init__(
        self,
        account: Account,
        groups: Sequence[Sequence[Subscription]],
        *,
        live: LiveFeed,
        calendar: Calendar,
        classes: Mapping[str, str],
        clock: Clock,
        limits: RateLimits,
        refusals: Refusals,
        prepare: Callable[[], Awaitable[None]],
        history: Backfiller,
        events: EventRecorder,
        since_ms: int,
        random: Random,
        standby: bool = False,
    ) -> None:
        self._account, self._clock, self._events = account, clock, events
        self._login = BrokerLogin(
            account, limits, refusals, now_ms=clock.now_ms, sleep=clock.sleep,
            on_failure=partial(events.record, FeedEventKind.LOGIN_FAILED), random=random,
        )  # fmt: skip
        self._prepare, self._history, self._live = prepare, history, live
        self._instruments = [[str(one.instrument) for one in group] for group in groups]
        self.follow(calendar, classes)
        self._groups = [
            ConnectionGroup(group, live=live, clock=clock, events=events, since_ms=since_ms, standby=standby)
            for group in groups
        ]
        self._group_of = [group for group in range(len(groups)) for _ in range(1 + standby)]  # each of the connections
        self._connections = [
            self._connection(number, group, groups[group], random) for number, group in enumerate(self._group_of)
        ]

    def _connection(
        self, number: int, group: int, subscriptions: Sequence[Subscription], random: Random
    ) -> FeedConnection:
        return FeedConnection(
            number, subscriptions, self._groups[group], clock=self._clock, connect=self._connect,
            renew=self._login.renew, open_since_ms=partial(self._open_since_ms, group), random=random,
        )  # fmt: skip

    def follow(self, calendar: Calendar, classes: Mapping[str, str]) -> None:
        """Follow this calendar and these classes from here on. Raises CalendarError, and changes nothing then."""
        of_groups = [{classes.get(name) or default_class(name) for name in names} for names in self._instruments]
        for name in set().union(*of_groups):
            calendar.sessions(name, calendar.first_day)
        self._calendar, self._classes = calendar, of_groups

    async def run(self) -> None:
        """Feed day after day."""
        while True:
            now_ms = self._clock.now_ms()
            hours = next_hours(self._calendar, set().union(*self._classes), now_ms)
            before_ms = max(LOGIN_BEFORE_MS, CONNECT_BEFORE_MS + self._history.warm() * HISTORY_MS)
            if (left_ms := hours.open_ms - before_ms - now_ms) > 0:
                if self._history.asked:
                    await self._login.login()
                    await self._with_history(self._history.caught_up(hours.open_ms - before_ms))
                    await self._login.logout()
                else:  # not longer: the calendar may change meanwhile
                    await self._clock.sleep(min(left_ms / 1000, LOOKS_EVERY_S))
                continue
            preparing = asyncio.ensure_future(self._prepare())
            try:
                await self._login.login()
                logger.info("logged in")
                await self._with_history(self._until_closed(hours, preparing))
            finally:
                preparing.cancel()
            await self._login.logout()

    def counted(self) -> Counter[str]:
        """Return how many packets came over all connections, and how often something was special about one."""
        counts: Counter[str] = Counter()
        for group in self._groups:
            counts += group.counted()
        return counts

    async def _until_closed(self, hours: Hours, preparing: asyncio.Future[None]) -> None:
        await self._clock.sleep_until(hours.open_ms - CONNECT_BEFORE_MS)
        if preparing.done():
            preparing.result()  # raises what it could not go on with
        preparing.cancel()
        await self._day(hours)
        await self._history.caught_up()

    async def _with_history(self, work: Coroutine[Any, Any, None]) -> None:
        """Bring history while something else goes on, until that is over."""
        backfill = self._history.run(ask=self._ask, append=self._live.append_history)
        running = [asyncio.create_task(each) for each in (backfill, self._history.keep(), work)]
        try:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _ask(self, parameters: Mapping[str, str]) -> object:
        """Ask for candles of the past, once more with a new session where the broker says that this one is over."""
        tokens = self._login.tokens
        try:
            return await self._login.candles(parameters)
        except TokenDeadError:
            await self._login.renew(tokens)
            return await self._login.candles(parameters)

    async def _day(self, hours: Hours) -> None:
        for group in self._groups:
            group.begin()
        running = [asyncio.create_task(connection.run()) for connection in self._connections]
        over = asyncio.create_task(self._clock.sleep_until(hours.close_ms + STAY_AFTER_MS))
        try:
            done, _ = await asyncio.wait([*running, over], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises what a connection could not go on with
        finally:
            for task in (*running, over):
                task.cancel()
            await asyncio.gather(*running, over, return_exceptions=True)
        for number, group in enumerate(self._groups):
            # What says something after the close has brought all that came before it.
            connections = [
                connection for connection, of in zip(self._connections, self._group_of, strict=True) if of == number
            ]
            proven = any(connection.alive_ms >= hours.close_ms for connection in connections)
            group.end(hours.close_ms if proven else LONG_AGO)
        counts = [f"{what.replace('_', ' ')}: {count:,}" for what, count in sorted(self.counted().items())]
        self._events.record(FeedEventKind.DAY, ", ".join(counts))

    async def _connect(self) -> BrokerSocket:
        tokens = self._login.tokens or await self._login.renew(None)
        return BrokerSocket(self._account, tokens, now_ms=self._clock.now_ms)

    def _open_since_ms(self, group: int) -> int | None:
        return open_since_ms(self._calendar, self._classes[group], self._clock.now_ms())
