"""The broker's feed, unattended: log in before each open, stream, and stop at the close, day after day."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from random import Random
from typing import Any

from topology.feeds.angel.answers import TokenDeadError
from topology.feeds.angel.connection import Connection
from topology.feeds.angel.historian import Historian
from topology.feeds.angel.hours import Hours, next_hours, open_since_ms
from topology.feeds.angel.limits import Limits
from topology.feeds.angel.refusals import Refusals
from topology.feeds.angel.session import Session, Tokens
from topology.feeds.angel.shard import Events, Shard, Wanted
from topology.feeds.clock import Clock
from topology.feeds.live import LiveFeed
from topology.market.calendar import Calendar
from topology.market.instruments import default_class
from topology.settings import Account

logger = logging.getLogger(__name__)

LOGIN_BEFORE_MS = 5 * 60_000  # the open: 09:10 where it is 09:15
CONNECT_BEFORE_MS = 60_000
HISTORY_MS = 350  # for each instrument that lacks history: three calls a second are allowed
LOOKS_EVERY_S = 10.0  # for the next open
STAY_AFTER_MS = 10_000  # the close, for what is on its way


class AngelFeed:
    """Feeds ``live`` from the broker. ``shards`` are the subscriptions of each socket.

    ``classes`` names the instrument class where :func:`default_class` is not enough. ``prepare`` is awaited before each
    day's login. `run` raises CredentialsError when the broker refuses the credentials for good, and NotCovered where
    the calendar ends.
    """

    def __init__(
        self,
        account: Account,
        shards: Sequence[Sequence[Wanted]],
        *,
        live: LiveFeed,
        calendar: Calendar,
        classes: Mapping[str, str],
        clock: Clock,
        limits: Limits,
        refusals: Refusals,
        prepare: Callable[[], Awaitable[None]],
        history: Historian,
        events: Events,
        since_ms: int,
        random: Random,
    ) -> None:
        self._account, self._clock, self._events = account, clock, events
        self.calendar = calendar  # another one may take its place while the feed runs
        self._session = Session(
            account,
            limits,
            refusals,
            now_ms=clock.now_ms,
            sleep=clock.sleep,
            told=lambda why: events("login_failed", why),
            random=random,
        )
        self._prepare, self._history, self._live = prepare, history, live
        self._renewing = asyncio.Lock()
        self._classes: set[str] = set()
        self.shards = []
        for number, wanted in enumerate(shards):
            names = [str(one.instrument) for one in wanted]
            of_shard = {classes.get(name) or default_class(name) for name in names}
            self._classes |= of_shard
            self.shards.append(
                Shard(
                    number,
                    wanted,
                    live=live,
                    clock=clock,
                    connect=self._connected,
                    renew=self._renewed,
                    open_since_ms=self._opener(of_shard),
                    events=events,
                    since_ms=since_ms,
                    random=random,
                )
            )

    async def run(self) -> None:
        """Feed day after day."""
        while True:
            now_ms = self._clock.now_ms()
            hours = next_hours(self.calendar, self._classes, now_ms)
            before_ms = max(LOGIN_BEFORE_MS, CONNECT_BEFORE_MS + self._history.warm() * HISTORY_MS)
            if (left_ms := hours.open_ms - before_ms - now_ms) > 0:
                if self._history.asked:
                    await self._session.login()
                    await self._with_history(self._history.caught_up(hours.open_ms - before_ms))
                    await self._session.logout()
                else:  # not longer: the calendar may change meanwhile
                    await self._clock.sleep(min(left_ms / 1000, LOOKS_EVERY_S))
                continue
            await self._prepare()
            await self._session.login()
            logger.info("logged in")
            await self._with_history(self._until_closed(hours))
            await self._session.logout()

    def counted(self) -> Counter[str]:
        """Return how many packets came over all sockets, and how often something was special about one."""
        counts: Counter[str] = Counter()
        for shard in self.shards:
            counts += shard.counted()
        return counts

    async def _until_closed(self, hours: Hours) -> None:
        await self._clock.sleep_until(hours.open_ms - CONNECT_BEFORE_MS)
        await self._day(hours)
        await self._history.caught_up()

    async def _with_history(self, work: Coroutine[Any, Any, None]) -> None:
        """Bring history while something else goes on, until that is over."""
        bringing = self._history.run(ask=self._ask, tell=self._live.tell)
        running = [asyncio.create_task(each) for each in (bringing, self._history.keep(), work)]
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
        tokens = self._session.tokens
        try:
            return await self._session.candles(parameters)
        except TokenDeadError:
            await self._renewed(tokens)
            return await self._session.candles(parameters)

    async def _day(self, hours: Hours) -> None:
        running = [asyncio.create_task(shard.run()) for shard in self.shards]
        over = asyncio.create_task(self._clock.sleep_until(hours.close_ms + STAY_AFTER_MS))
        try:
            done, _ = await asyncio.wait([*running, over], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises what a shard could not go on with
        finally:
            for task in (*running, over):
                task.cancel()
            await asyncio.gather(*running, over, return_exceptions=True)
        for shard in self.shards:
            shard.end()
        told = [f"{what.replace('_', ' ')}: {count:,}" for what, count in sorted(self.counted().items())]
        self._events("day", ", ".join(told))

    async def _connected(self) -> Connection:
        tokens = self._session.tokens or await self._renewed(None)
        return Connection(self._account, tokens, now_ms=self._clock.now_ms)

    async def _renewed(self, dead: Tokens | None = None) -> Tokens:
        """Return new tokens in place of the dead ones: several sockets may notice, one logs in."""
        async with self._renewing:
            if self._session.tokens is None or self._session.tokens is dead:
                return await self._session.login()
            return self._session.tokens

    def _opener(self, classes: set[str]) -> Callable[[], int | None]:
        return lambda: open_since_ms(self.calendar, classes, self._clock.now_ms())
