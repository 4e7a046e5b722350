"""The connection to Redis' pub/sub, and which lines are heard by it."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from random import Random
from typing import NoReturn

from topology.backoff import Backoff
from topology.market import CalendarError
from topology.sinks.cursor import SinkError
from topology.sinks.mirror.pubsub import PubSubConnection, PubSubMessage
from web.http.problem import Problem
from web.live.channel import Channel
from web.live.channel_history import ChannelHistory, laid_over
from web.live.channel_name import ChannelName
from web.live.client import Client, ClientSubscriptions
from web.live.hub import ACTIVE_CHANNEL, Hub, source
from web.live.metrics import LINES
from web.live.resampled_channel import ResampledChannel, base_of

logger = logging.getLogger(__name__)

KEPT_MS = 120_000
"""How long a line is kept that nobody hears any more."""

SWEEP_S = 10.0
RETRY_S = (0.1, 2.5)
ALIVE_S = 5.0
"""How often a silent connection is asked whether it lives."""

Connect = Callable[[Callable[[list[PubSubMessage]], None]], Awaitable[PubSubConnection]]


class RedisLink:
    """Opens the lines of a hub, and opens them again whenever Redis comes back. ``connect`` makes the connection.

    ``repeat`` is called for each client with what it had subscribed, when not all that was said can be told.
    """

    def __init__(self, hub: Hub, connect: Connect) -> None:
        self.hub, self._connect = hub, connect
        self.past = ChannelHistory(hub.gateway, hub.clock)
        self.repeat: Callable[[Client, ClientSubscriptions], None] = lambda client, subscriptions: None  # noqa: ARG005
        self._returns = False  # whether Redis has been connected before
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._hears_all = asyncio.Lock()

    async def run(self) -> NoReturn:
        """Stay connected to Redis, for as long as the gateway runs."""
        backoff = Backoff(RETRY_S, Random())
        while True:
            try:
                await self._listen()
            except SinkError as error:
                logger.warning("live values are away: %s", error)
            if self.hub.heard is not None:
                backoff.reset()
                self._lose()
            await self.hub.clock.sleep(backoff.next_s())

    async def _listen(self) -> None:
        """Connect, tell what was said meanwhile, and listen until the connection is lost."""
        heard = await self._connect(self.hub.take)
        try:
            self.hub.heard = heard
            self.hub.tell_all(source(redis=True))
            await heard.subscribe([ACTIVE_CHANNEL])
            await self.hear_everything()
            await self.open([line.channel for line in self.hub.lines.values()])
            if self._returns:
                self.hub.on_return()
            self._returns = True
            while not heard.ended.done():
                await heard.caught_up()
                await asyncio.wait({heard.ended}, timeout=ALIVE_S)
        finally:
            heard.close()

    def _lose(self) -> None:
        self.hub.heard = None
        for line in self.hub.lines.values():
            line.lose()
        self.hub.tell_all(source(redis=False))

    async def open(self, channels: Iterable[ChannelName]) -> list[Channel]:
        """Return the lines of channels, as soon as they are heard; those that aren't now will be later."""
        lines = [self._line(channel) for channel in channels]
        lacking = [line for line in lines if line.heard_from is None and line.name not in self._opening]
        folded = {line: base for line in lacking if (base := base_of(self.hub.gateway, line.channel)) is not None}
        said = [line for line in lacking if line not in folded]
        if said and self.hub.heard is not None:
            self._start(self._open(self.hub.heard, said), said)
        for line, base in folded.items():
            self._start(self._fold(line, base), [line])
        while link := {self._opening[line.name] for line in lines if line.name in self._opening}:
            await asyncio.wait(link)
        return lines

    def _start(self, link: Coroutine[None, None, None], lines: list[Channel]) -> None:
        task = asyncio.create_task(link)
        self._opening |= {line.name: task for line in lines}
        task.add_done_callback(lambda _: self._opened(lines))

    async def _fold(self, line: Channel, of: ChannelName) -> None:
        """Hear the line that one is folded out of."""
        (base,) = await self.open([of])
        if line.base is not base:
            fold = ResampledChannel(self.hub.gateway, line, base, tell=self.hub.tell_folded, show=self.hub.show)
            count = -(-line.channel.timeframe_s // of.timeframe_s) + 1
            try:
                rows = await self.past.rows(base, count)
            except (SinkError, Problem, CalendarError) as error:
                logger.warning("%s can't be folded: %s", line.name, error)
                return
            known = laid_over(rows, base)
            fold.begin([known[ts] for ts in sorted(known)])
            self.hub.join(base, fold, until=rows.until)
            line.base, line.fold = base, fold
        line.heard_from = base.heard_from

    def _unfold(self, line: Channel) -> None:
        if line.base is not None and line.fold is not None:
            self.hub.leave(line.base.name, line.fold)
            line.base = line.fold = None

    def _opened(self, lines: Iterable[Channel]) -> None:
        for line in lines:
            del self._opening[line.name]

    async def _open(self, heard: PubSubConnection, lines: list[Channel]) -> None:
        """Hear lines from now on. Those who hear them are told what was said meanwhile."""
        for line in lines:
            line.held = []
            if not line.listeners:
                line.forget()
        try:
            await heard.subscribe([line.name for line in lines])
            applied = await self.hub.gateway.reading.mirror.positions()
            for line in lines:
                line.heard_from = applied.get(line.channel.stage, {})
            await asyncio.gather(*(self._catch_up(line) for line in lines if line.listeners))
            await heard.caught_up()
        except SinkError as error:
            logger.warning("%d channels can't be heard: %s", len(lines), error)
            for line in lines:
                line.lose()
            return heard.close()  # and again from the beginning
        if any(line.lost for line in lines):
            self._renew()
        for line in lines:
            held, line.held = line.held or [], None
            self.hub.tell(line, held)
        return None

    async def _catch_up(self, line: Channel) -> None:
        held = line.held
        missed = await self.past.after(line, max(line.told, line.reached))
        if line.held is not held or held is None:
            return  # the connection is another one by now
        if missed is None:
            line.lost = True
        else:
            held += missed.told

    def _renew(self) -> None:
        """Begin a new epoch: not all that was said while Redis was away can be told."""
        self.hub.epoch = secrets.token_hex(6)
        for line in self.hub.lines.values():
            line.lost = False
            line.forget()
            self._unfold(line)
            line.heard_from = None if base_of(self.hub.gateway, line.channel) else line.heard_from
        for client in self.hub.clients:
            subscriptions, client.subscriptions = client.subscriptions, {}
            for line in self.hub.lines.values():
                self.hub.leave(line.name, client)
            client.tell(self.hub.hello())
            self.repeat(client, subscriptions)

    async def hear_everything(self) -> None:
        """Listen to all channels, or no longer, as somebody wants it. Raises MirrorAwayError."""
        async with self._hears_all:
            if self.hub.heard is not None and self.hub.heard.hears_all_channels != bool(self.hub.everything):
                await self.hub.heard.listen_to_everything(bool(self.hub.everything))
            if not self.hub.everything:
                self.hub.others.clear()

    def _line(self, channel: ChannelName) -> Channel:
        """Return the line of a channel, which is kept for a while at least."""
        lines, name = self.hub.lines, str(channel)
        line = lines.get(name)
        if line is None:
            line = lines[name] = self.hub.others.pop(name, Channel(channel))
            LINES.set(len(lines))
        if not line.listeners:
            line.left_ms = self.hub.clock.now_ms()
        return line

    async def sweep(self) -> NoReturn:
        """Let go of lines that nobody has heard for a while."""
        while True:
            await self.hub.clock.sleep(SWEEP_S)
            before_ms = self.hub.clock.now_ms() - KEPT_MS
            left = [line for line in self.hub.lines.values() if line.left_ms is not None and line.left_ms < before_ms]
            for line in left:
                if line.name not in self._opening:
                    del self.hub.lines[line.name]
                    if self.hub.everything and line.base is None:
                        self.hub.others[line.name] = line
                    self._unfold(line)
            if self.hub.heard is not None:
                self.hub.heard.unsubscribe([line.name for line in left if line.name not in self.hub.lines])
            LINES.set(len(self.hub.lines))
