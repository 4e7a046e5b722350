"""All lines and all clients of a gateway, and what goes from the ones to the others."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec

from topology.sinks.channel_name import ChannelName
from topology.sinks.mirror.pubsub import PubSubConnection, PubSubMessage
from web.gateway import Gateway, Replay
from web.live.channel import Channel, ConfirmedMessage, Listener, Message, PositionGroup, key, position_groups
from web.live.client import GOES_AWAY, Client
from web.live.message_header import MessageHeader, message_header
from web.live.metrics import CLIENTS
from web.ports import Clock
from web.rest.indicators import ACTIVE_KEY

logger = logging.getLogger(__name__)

ACTIVE_CHANNEL = f"pub:{ACTIVE_KEY}"
"""Where gateways tell each other which indicators are shown."""


class Hub:
    """What is said goes to whoever hears its line.

    ``heard`` is the connection to Redis while there is one. The functions that are set from outside are called for what
    another gateway says is shown (``on_active``), and when live values are back (``on_return``).
    """

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self.gateway, self.clock = gateway, clock
        self.clients: set[Client] = set()
        self.lines: dict[str, Channel] = {}
        self.epoch = secrets.token_hex(6)
        self.heard: PubSubConnection | None = None
        self.on_active: Callable[[bytes], None] = lambda data: None  # noqa: ARG005
        self.on_return: Callable[[], None] = lambda: None
        self.everything: dict[Listener, None] = {}
        self.others: dict[str, Channel] = {}
        gateway.pushed = self
        self._seq = 0
        self._stamp = (0, b"")

    def admit(self, client: Client) -> None:
        """Let a client in, and greet it."""
        self.clients.add(client)
        CLIENTS.set(len(self.clients))
        client.tell(self.hello())
        if self.heard is None:
            client.tell(source(redis=False))

    def dismiss(self, client: Client) -> None:
        """Forget a client."""
        self.clients.discard(client)
        CLIENTS.set(len(self.clients))
        for channel in client.channels:
            self.leave(channel, client)

    def hello(self) -> bytes:
        """Return what a client is told first, and again when the epoch changes."""
        gateway = self.gateway
        return msgspec.json.encode(
            {
                "type": "hello",
                "epoch": self.epoch,
                "log": gateway.log.id,
                "simulated": gateway.simulated,
                "server_ts": self.clock.now_ms(),
            }
        )

    def tell_all(self, text: bytes) -> None:
        """Tell every client something that is no push."""
        for client in self.clients:
            client.tell(text)

    def tell_folded(self, line: Channel, told: ConfirmedMessage) -> None:
        """Pass on a message of a line that is folded: the line it is made of has seen that it is news."""
        message = self._message(line, told.marks, told.data)
        line.remember(message)
        self._pass_on(line, position_groups([message]))

    def join(self, line: Channel, client: Listener, *, until: int) -> None:
        """Let a client hear a line; it has all up to a position. What the line is given from now on is passed on."""
        if line.heard_from is None and not line.listeners:
            line.told = max(line.told, until)
        line.listeners[client] = until
        line.left_ms = None

    def leave(self, channel: str, client: Listener) -> None:
        """Let a client hear a line no longer."""
        line = self.lines.get(channel)
        if line is not None and line.listeners.pop(client, None) is not None:
            if isinstance(client, Client):
                client.forget(channel)
            if not line.listeners:
                line.left_ms = self.clock.now_ms()

    def take(self, said: list[PubSubMessage]) -> None:
        """Pass on what was said, whole runs of the mirror's script."""
        told: dict[str, list[bytes]] = {}
        for channel, data in said:
            told.setdefault(channel, []).append(data)
        for channel, values in told.items():
            line = self.lines.get(channel) or self._other(channel)
            if line is not None:
                self._take(line, values)
            elif channel == ACTIVE_CHANNEL:
                self.on_active(values[-1])

    def _other(self, channel: str) -> Channel | None:
        """Return the line of a channel that only those hear who hear everything."""
        if not self.everything:
            return None
        found = self.others.get(channel)
        if found is None and (read := ChannelName.parse(channel)) is not None:
            found = self.others[channel] = Channel(read)
        return found

    def _take(self, line: Channel, values: list[bytes]) -> None:
        """Pass on values of a line: confirmed ones, and the newest of those that are not."""
        newest: bytes | None = None
        confirmed: list[ConfirmedMessage] = []
        for data in values:
            try:
                mark = message_header(data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                logger.warning("what was said on %s is none of the mirror's values", line.name)
                continue
            if not line.channel.stage or mark.forming or mark.live:
                newest = data
            elif line.is_news(mark):
                newest = None
                confirmed.append(ConfirmedMessage(mark, data))
        if line.held is not None:
            line.held += confirmed
            return
        self.tell(line, confirmed)
        if newest is not None:
            self.show(line, newest)

    def show(self, line: Channel, data: bytes) -> None:
        """Pass on a value that is not confirmed."""
        line.number += 1
        text = self.envelope(line, data)
        for listener in (*line.listeners, *self._everyone(line)):
            listener.newest(line.name, data, text)

    def tell(self, line: Channel, told: Iterable[ConfirmedMessage]) -> None:
        """Pass on confirmed messages as far as they are news."""
        news = []
        for one in sorted(told, key=key):
            if line.is_news(one.marks):
                news.append(self._message(line, one.marks, one.data))
                line.remember(news[-1])
        self._pass_on(line, position_groups(news))

    def _pass_on(self, line: Channel, told: Iterable[PositionGroup]) -> None:
        for group in told:
            for listener, until in line.listeners.items():
                if group.position > until:
                    listener.confirmed(line.name, group)
            for everyone in self._everyone(line):
                everyone.confirmed(line.name, group)

    def _everyone(self, line: Channel) -> Iterable[Listener]:
        """Return those who hear everything, which is what Redis has."""
        return self.everything if line.base is None else ()

    def _message(self, line: Channel, mark: MessageHeader, data: bytes) -> Message:
        line.number += 1
        return Message(mark, data, self.envelope(line, data), line.number)

    def repeated(self, line: Channel, mark: MessageHeader, data: bytes) -> Message:
        """Return a message that was said before for one client: it has the number of the newest push of its line."""
        return Message(mark, data, self.envelope(line, data), line.number)

    def envelope(self, line: Channel, data: bytes) -> bytes:
        """Wrap a value for clients. It has the line's newest number."""
        self._seq += 1
        return b'{"channel":"%b","data":%b,"ts":"%b","seq":%d,"channel_seq":%d,"epoch":"%b"}' % (
            line.name.encode(), data, self.now(), self._seq, line.number, self.epoch.encode(),
        )  # fmt: skip

    def initial(self, channel: str, data: bytes) -> bytes:
        """Wrap the newest value of a channel for a client that hears everything."""
        line = self.lines.get(channel) or self.others.get(channel)
        self._seq += 1
        return b'{"channel":"%b","data":%b,"ts":"%b","seq":%d,"channel_seq":%d,"epoch":"%b","initial":true}' % (
            channel.encode(), data, self.now(), self._seq, 0 if line is None else line.number, self.epoch.encode(),
        )  # fmt: skip

    def now(self) -> bytes:
        """Return the time of day as clients read it."""
        now_ms = self.clock.now_ms()
        if self._stamp[0] != now_ms:
            text = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
            self._stamp = now_ms, text.replace("+00:00", "Z").encode()
        return self._stamp[1]

    def replay(self, channel: str, *, first: int, last: int, epoch: str) -> Replay:
        """Return what was pushed for good on a channel from one of its numbers to another, as far as it is known."""
        line = self.lines.get(channel)
        if line is None or epoch not in ("", self.epoch):
            return Replay([], 0 if line is None else line.number, self.epoch, complete=False)
        texts = [message.text for message in line.memory if first <= message.number <= last]
        return Replay(texts, line.number, self.epoch, complete=first > line.forgotten and last <= line.number)

    def close(self) -> None:
        """Have every client closed: the gateway stops."""
        for client in self.clients:
            client.end(GOES_AWAY)


def source(*, redis: bool) -> bytes:
    """Return what tells clients whether live values come."""
    return msgspec.json.encode({"type": "source", "redis": redis})
