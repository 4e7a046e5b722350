"""The connection to Redis' pub/sub, and which channels are subscribed by it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from random import Random
from typing import NoReturn

from topology.backoff import Backoff
from topology.clock import Clock
from topology.market import CalendarError
from topology.sinks.channel_name import ChannelName
from topology.sinks.cursor import SinkError
from topology.sinks.mirror.mirror import MirrorAwayError
from topology.sinks.mirror.pubsub import PubSubConnection, PubSubMessage
from web.gateway import Gateway
from web.http.problem import Problem
from web.live.channel import Channel
from web.live.channel_history import ChannelHistory
from web.live.channel_state import CatchUp, CatchUpEnd, ChannelState, ConnectionLoss, SubscriptionReady
from web.live.hub import ACTIVE_CHANNEL, Hub
from web.live.registry import ChannelRegistry
from web.live.resampled_channel import ResampledChannel, base_of

logger = logging.getLogger(__name__)

SWEEP_S = 10.0
RETRY_S = (0.1, 2.5)
ALIVE_S = 5.0
"""How often a silent connection is asked whether it lives."""

Connect = Callable[[Callable[[list[PubSubMessage]], None]], Awaitable[PubSubConnection]]


class RedisLink:
    """Subscribes channels, and does so again whenever Redis comes back. ``connect`` makes the connection.

    ``on_return`` is called when live values are back, ``on_hole`` when not all that was published meanwhile can be
    read: after it nobody listens to a channel.
    """

    def __init__(
        self, gateway: Gateway, clock: Clock, hub: Hub, registry: ChannelRegistry, history: ChannelHistory, *,
        connect: Connect, on_return: Callable[[], None], on_hole: Callable[[], None],
    ) -> None:  # fmt: skip
        self._gateway, self._clock, self._hub, self._registry, self._history = gateway, clock, hub, registry, history
        self._connect, self._on_return, self._on_hole = connect, on_return, on_hole
        self.connection: PubSubConnection | None = None
        self._was_connected = False
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._firehose_lock = asyncio.Lock()

    async def run(self) -> NoReturn:
        """Stay connected to Redis, for as long as the gateway runs."""
        backoff = Backoff(RETRY_S, Random())
        while True:
            try:
                await self._listen()
            except SinkError as error:
                logger.warning("live values are away: %s", error)
            if self.connection is not None:
                backoff.reset()
                self._lose_connection()
            await self._clock.sleep(backoff.next_s())

    async def _listen(self) -> None:
        """Connect, pass on what was published meanwhile, and listen until the connection is lost."""
        connection = await self._connect(self._hub.receive)
        try:
            self.connection = connection
            self._hub.set_source(redis=True)
            await connection.subscribe([ACTIVE_CHANNEL])
            await self.listen_to_firehose()
            if self._opening:  # by the connection before: they end soon, and their channels are still to be subscribed
                await asyncio.wait(set(self._opening.values()))
            await self.open([channel.name for channel in self._registry.channels.values()])
            if self._was_connected:
                self._on_return()
            self._was_connected = True
            while not connection.ended.done():
                await connection.caught_up()
                await asyncio.wait({connection.ended}, timeout=ALIVE_S)
        finally:
            connection.close()

    def _lose_connection(self) -> None:
        self.connection = None
        for channel in self._registry.channels.values():
            self._hub.apply(channel, ConnectionLoss())
        self._hub.set_source(redis=False)

    async def is_unbroken(self, since: PubSubConnection | None) -> bool:
        """Whether the connection is that one still (None: there is none), and all published so far has come by it."""
        if self.connection is not since:
            return False
        if since is None:
            return True
        try:
            await since.caught_up()
        except MirrorAwayError:
            return False
        return self.connection is since

    async def open(self, names: Iterable[ChannelName]) -> list[Channel]:
        """Return channels, as soon as they are subscribed; those that can't be now will be later."""
        channels = [self._registry.open(name) for name in names]
        cold = [one for one in channels if one.state is ChannelState.COLD and one.key not in self._opening]
        resampled = {one: base for one in cold if (base := base_of(self._gateway, one.name)) is not None}
        published = [one for one in cold if one not in resampled]
        if published and self.connection is not None:
            for channel in published:
                channel.start()
            self._start(self._subscribe(self.connection, published), published)
        for channel, base in resampled.items():
            self._start(self._resample(channel, base), [channel])
        while opening := {self._opening[one.key] for one in channels if one.key in self._opening}:
            await asyncio.wait(opening)
        return channels

    def _start(self, opening: Coroutine[None, None, None], channels: list[Channel]) -> None:
        task = asyncio.create_task(opening)
        self._opening |= {channel.key: task for channel in channels}
        task.add_done_callback(lambda _: self._end_opening(channels))

    def _end_opening(self, channels: Iterable[Channel]) -> None:
        for channel in channels:
            del self._opening[channel.key]

    async def _resample(self, channel: Channel, base_name: ChannelName) -> None:
        """Have a channel resampled out of another, as soon as that is subscribed."""
        (base,) = await self.open([base_name])
        if channel.base is not base:
            hub = self._hub
            resampler = ResampledChannel(
                self._gateway, channel, base, publish=hub.publish_resampled, publish_newest=hub.publish_newest
            )
            count = -(-channel.name.timeframe_s // base_name.timeframe_s) + 1
            try:
                rows = await self._history.rows(base, count)
            except (SinkError, Problem, CalendarError) as error:
                logger.warning("%s can't be resampled: %s", channel.key, error)
                return
            closed = base.laid_over(rows.messages, rows.until)
            resampler.begin([closed[ts] for ts in sorted(closed)])
            base.join(resampler, until=rows.until)
            channel.resample_from(base, resampler)
        if base.progress.subscribed_at is not None:
            self._hub.apply(channel, SubscriptionReady(base.progress.subscribed_at))

    async def _subscribe(self, connection: PubSubConnection, channels: list[Channel]) -> None:
        """Subscribe channels that were started. Their listeners get what was published meanwhile."""
        try:
            await connection.subscribe([channel.key for channel in channels])
            positions = await self._gateway.store.mirror.positions()
            if self.connection is not connection:
                return None
            for channel in channels:
                self._hub.apply(channel, SubscriptionReady(positions.get(channel.name.stage, {})))
            await asyncio.gather(*(self._catch_up(connection, channel) for channel in channels if channel.listeners))
            await connection.caught_up()
        except SinkError as error:
            logger.warning("%d channels can't be subscribed: %s", len(channels), error)
            if self.connection is connection:
                for channel in channels:
                    self._hub.apply(channel, ConnectionLoss())
            return connection.close()  # and again from the beginning
        if any(channel.state is ChannelState.LOST for channel in channels):
            self._begin_epoch()
        for channel in channels:
            self._hub.apply(channel, CatchUpEnd())
        return None

    async def _catch_up(self, connection: PubSubConnection, channel: Channel) -> None:
        missed = await self._history.after(channel, channel.progress.resumes_after)
        if self.connection is connection:
            self._hub.apply(channel, CatchUp(None if missed is None else missed.messages))

    def _begin_epoch(self) -> None:
        """Forget what is behind a hole: not all that was published while Redis was away can be read."""
        for channel in self._registry.channels.values():
            channel.renew()
            self._registry.stop_resampling(channel)
            if base_of(self._gateway, channel.name) is not None:
                self._hub.apply(channel, ConnectionLoss())
        self._on_hole()

    async def listen_to_firehose(self) -> None:
        """Listen to all channels, or no longer, as somebody wants it. Raises MirrorAwayError."""
        async with self._firehose_lock:
            wanted = bool(self._hub.firehose)
            if self.connection is not None and self.connection.hears_all_channels != wanted:
                await self.connection.listen_to_everything(wanted)
            if not self._hub.firehose:
                self._registry.forget_others()

    async def sweep(self) -> NoReturn:
        """Let go of channels that nobody has listened to for a while."""
        while True:
            await self._clock.sleep(SWEEP_S)
            gone = self._registry.sweep(busy=self._opening, to_firehose=bool(self._hub.firehose))
            if self.connection is not None:
                self.connection.unsubscribe(gone)
