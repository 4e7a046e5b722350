"""All clients of a gateway, and how messages of channels get to them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec

from topology.clock import Clock
from topology.sinks.mirror.pubsub import PubSubMessage
from web.gateway import Gateway, Replay
from web.live.channel import Channel, Listener, Message, PositionGroup, position_groups
from web.live.channel_state import ChannelEvent, ChannelState, ConfirmedMessage, ResampledPublication
from web.live.client import GOES_AWAY, Client
from web.live.message_header import message_header
from web.live.metrics import CLIENTS
from web.live.registry import ChannelRegistry
from web.rest.indicators import ACTIVE_KEY

logger = logging.getLogger(__name__)

ACTIVE_CHANNEL = f"pub:{ACTIVE_KEY}"
"""Where gateways tell each other which indicators are shown."""


class Hub:
    """Passes messages of channels on to their listeners, and to those of the firehose, who listen to all channels.

    ``epoch`` names the time in which the numbers of pushes count. ``on_active`` is called with what another gateway
    says is shown.
    """

    def __init__(
        self, gateway: Gateway, clock: Clock, registry: ChannelRegistry, *, on_active: Callable[[bytes], None]
    ) -> None:
        self._gateway, self._clock, self._registry, self._on_active = gateway, clock, registry, on_active
        self.clients: set[Client] = set()
        self.firehose: dict[Listener, None] = {}
        self.epoch = secrets.token_hex(6)
        self._has_redis = False
        self._seq = 0
        self._stamp = (0, b"")

    def admit(self, client: Client) -> None:
        """Let a client in, and greet it."""
        self.clients.add(client)
        CLIENTS.set(len(self.clients))
        client.answer(self._hello())
        if not self._has_redis:
            client.answer(source(redis=False))

    def dismiss(self, client: Client) -> None:
        """Forget a client."""
        self.clients.discard(client)
        CLIENTS.set(len(self.clients))
        for channel in client.channels:
            self.leave(channel, client)

    def _hello(self) -> bytes:
        """Return what a client is told first, and again when the epoch changes."""
        gateway = self._gateway
        return msgspec.json.encode(
            {
                "type": "hello",
                "epoch": self.epoch,
                "log": gateway.log.id,
                "simulated": gateway.simulated,
                "server_ts": self._clock.now_ms(),
            }
        )

    def broadcast(self, text: bytes) -> None:
        """Send every client something that is no push."""
        for client in self.clients:
            client.answer(text)

    def set_source(self, *, redis: bool) -> None:
        """Note whether live values come, and tell every client."""
        self._has_redis = redis
        self.broadcast(source(redis=redis))

    def begin_epoch(self) -> None:
        """Begin a new epoch, and greet every client again."""
        self.epoch = secrets.token_hex(6)
        self.broadcast(self._hello())

    def leave(self, channel: str, client: Client) -> None:
        """Let a client listen to a channel no longer."""
        if self._registry.leave(channel, client):
            client.forget(channel)

    def join_firehose(self, listener: Listener) -> None:
        """Let somebody listen to all channels."""
        self.firehose[listener] = None

    def leave_firehose(self, listener: Listener) -> None:
        """Let somebody listen to all channels no longer, if he does."""
        self.firehose.pop(listener, None)

    def receive(self, messages: list[PubSubMessage]) -> None:
        """Pass on what was published, whole runs of the mirror's script."""
        by_channel: dict[str, list[bytes]] = {}
        for key, data in messages:
            by_channel.setdefault(key, []).append(data)
        for key, values in by_channel.items():
            channel = self._registry.channels.get(key)
            if channel is None and self.firehose:
                channel = self._registry.of_firehose(key)
            if channel is not None:
                self._receive(channel, values)
            elif key == ACTIVE_CHANNEL:
                self._on_active(values[-1])

    def _receive(self, channel: Channel, values: list[bytes]) -> None:
        """Pass on values of a channel: confirmed ones, and the newest of those that are not."""
        newest: bytes | None = None
        confirmed: list[ConfirmedMessage] = []
        for data in values:
            try:
                header = message_header(data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                logger.warning("what was said on %s is none of the mirror's values", channel.key)
                continue
            if not channel.name.stage or header.forming or header.live:
                newest = data
            elif channel.progress.is_new(header):
                newest = None
                confirmed.append(ConfirmedMessage(header, data))
        if confirmed:
            self.apply(channel, channel.publication(confirmed))
        if newest is not None and channel.state not in (ChannelState.CATCHING_UP, ChannelState.LOST):
            self.publish_newest(channel, newest)

    def publish_newest(self, channel: Channel, data: bytes) -> None:
        """Pass on a value that is not confirmed."""
        text = self._envelope(channel.key, data, channel.next_number())
        for listener in (*channel.listeners, *self._firehose_of(channel)):
            listener.newest(channel.key, data, text)

    def publish_resampled(self, channel: Channel, message: ConfirmedMessage) -> None:
        """Pass on a closed candle of a channel that is resampled."""
        self.apply(channel, ResampledPublication([message]))

    def apply(self, channel: Channel, event: ChannelEvent) -> None:
        """Apply an event to a channel, and pass on the confirmed messages that come of it."""
        messages = []
        for header, data in channel.apply(event):
            number = channel.next_number()
            messages.append(Message(header, data, self._envelope(channel.key, data, number), number))
            channel.remember(messages[-1])
        self._pass_on(channel, position_groups(messages))

    def _pass_on(self, channel: Channel, groups: Iterable[PositionGroup]) -> None:
        for group in groups:
            for listener, until in channel.listeners.items():
                if group.position > until:
                    listener.confirmed(channel.key, group)
            for listener in self._firehose_of(channel):
                listener.confirmed(channel.key, group)

    def _firehose_of(self, channel: Channel) -> Iterable[Listener]:
        """Return those who listen to all channels, which are those that Redis has."""
        return self.firehose if channel.base is None else ()

    def repeated(self, channel: Channel, message: ConfirmedMessage) -> Message:
        """Return a message of before for one client: it has the number of the newest push of its channel."""
        header, data = message
        return Message(header, data, self._envelope(channel.key, data, channel.number), channel.number)

    def _envelope(self, key: str, data: bytes, number: int) -> bytes:
        """Wrap a value for clients."""
        self._seq += 1
        return b'{"channel":"%b","data":%b,"ts":"%b","seq":%d,"channel_seq":%d,"epoch":"%b"}' % (
            key.encode(), data, self.now(), self._seq, number, self.epoch.encode(),
        )  # fmt: skip

    def initial(self, key: str, data: bytes) -> bytes:
        """Wrap the newest value of a channel for a client of the firehose."""
        channel = self._registry.get(key)
        return self._envelope(key, data, 0 if channel is None else channel.number)[:-1] + b',"initial":true}'

    def now(self) -> bytes:
        """Return the time of day as clients read it."""
        now_ms = self._clock.now_ms()
        if self._stamp[0] != now_ms:
            text = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
            self._stamp = now_ms, text.replace("+00:00", "Z").encode()
        return self._stamp[1]

    def replay(self, channel: str, *, first: int, last: int, epoch: str) -> Replay:
        """Return what was pushed for good on a channel from one of its numbers to another, as far as it is known."""
        found = self._registry.channels.get(channel)
        if found is None or epoch not in ("", self.epoch):
            return Replay([], 0 if found is None else found.number, self.epoch, complete=False)
        texts = [message.text for message in found.memory if first <= message.number <= last]
        return Replay(texts, found.number, self.epoch, complete=first > found.forgotten and last <= found.number)

    def close(self) -> None:
        """Have every client closed: the gateway stops."""
        for client in self.clients:
            client.end(GOES_AWAY)


def source(*, redis: bool) -> bytes:
    """Return what tells clients whether live values come."""
    return msgspec.json.encode({"type": "source", "redis": redis})
