"""What a gateway needs to serve `/ws`, put together."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import NoReturn

from topology.clock import Clock
from web.gateway import Gateway
from web.live.broadcasts import Broadcaster
from web.live.channel_history import ChannelHistory
from web.live.firehose import Firehose
from web.live.hub import Hub
from web.live.redis_link import Connect, RedisLink
from web.live.registry import ChannelRegistry
from web.live.subscriptions import Subscriptions


class LiveServer:
    """Builds and owns the parts. ``connect`` makes a connection to Redis' pub/sub.

    Parts that know each other only by what happens are brought together here, since one of them is made first.
    """

    def __init__(self, gateway: Gateway, clock: Clock, connect: Connect) -> None:
        self.clock = clock
        self.registry = ChannelRegistry(clock.now_ms)
        self.hub = Hub(gateway, clock, self.registry, on_active=self._on_active)
        self.broadcaster = Broadcaster(gateway, clock, self.hub)
        history = ChannelHistory(gateway, clock)
        self.link = RedisLink(
            gateway, clock, self.hub, self.registry, history,
            connect=connect, on_return=self._on_return, on_hole=self._on_hole,
        )  # fmt: skip
        self.firehose = Firehose(gateway, self.hub, self.link)
        self.subscriptions = Subscriptions(gateway, self.hub, self.link, history)

    def coroutines(self) -> list[Coroutine[None, None, NoReturn]]:
        """Return what runs for as long as the gateway does."""
        return [self.link.run(), self.link.sweep(), self.broadcaster.run()]

    def _on_active(self, data: bytes) -> None:
        self.broadcaster.broadcast_active(data)

    def _on_return(self) -> None:
        self.firehose.renew()

    def _on_hole(self) -> None:
        self.subscriptions.renew()
