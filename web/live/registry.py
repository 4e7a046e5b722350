"""The channels of a gateway, by name."""

from __future__ import annotations

from collections.abc import Callable, Collection

from topology.sinks.channel_name import ChannelName
from web.live.channel import Channel, Listener
from web.live.channel_state import ConnectionLoss
from web.live.metrics import CHANNELS

KEPT_MS = 120_000
"""How long a channel is kept that nobody listens to any more."""


class ChannelRegistry:
    """Makes channels when they are asked for, and lets go of those that nobody has listened to for a while.

    ``channels`` are subscribed, ``others`` have only listeners of the firehose. ``now_ms`` is the time of day.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.channels: dict[str, Channel] = {}
        self.others: dict[str, Channel] = {}

    def get(self, key: str) -> Channel | None:
        """Return a channel, if there is one."""
        return self.channels.get(key) or self.others.get(key)

    def open(self, name: ChannelName) -> Channel:
        """Return a channel to be subscribed, which is kept for a while at least."""
        key = str(name)
        channel = self.channels.get(key)
        if channel is None:
            channel = self.channels[key] = self.others.pop(key) if key in self.others else Channel(name)
            CHANNELS.set(len(self.channels))
        channel.keep(self._now_ms())
        return channel

    def of_firehose(self, key: str) -> Channel | None:
        """Return a channel whose messages only the firehose wants; None for what is no channel of values."""
        channel = self.others.get(key)
        if channel is None and (name := ChannelName.parse(key)) is not None:
            channel = self.others[key] = Channel(name)
        return channel

    def forget_others(self) -> None:
        """Drop the channels that only the firehose had."""
        self.others.clear()

    def leave(self, key: str, listener: Listener) -> bool:
        """Let somebody listen to a channel no longer. Returns whether he did."""
        channel = self.channels.get(key)
        return channel is not None and channel.leave(listener, self._now_ms())

    def stop_resampling(self, channel: Channel) -> None:
        """Have a channel resampled no longer."""
        channel.stop_resampling(self._now_ms())

    def sweep(self, *, busy: Collection[str], to_firehose: bool) -> list[str]:
        """Let go of channels that nobody has listened to for a while but for busy ones; return which."""
        before_ms = self._now_ms() - KEPT_MS
        left = [one for one in self.channels.values() if one.left_ms is not None and one.left_ms < before_ms]
        gone = [channel for channel in left if channel.key not in busy]
        for channel in gone:
            del self.channels[channel.key]
            channel.apply(ConnectionLoss())  # its subscription is given up
            if to_firehose and channel.base is None:
                self.others[channel.key] = channel
            self.stop_resampling(channel)
        CHANNELS.set(len(self.channels))
        return [channel.key for channel in gone]
