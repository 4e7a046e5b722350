"""A channel of a gateway: how far it is, the newest of its confirmed messages, and who listens to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import NamedTuple, Protocol

from topology.sinks.channel_name import ChannelName
from web.live.channel_state import (
    ChannelEvent,
    ChannelProgress,
    ChannelState,
    ConfirmedMessage,
    FirstListener,
    NewEpoch,
    Publication,
    SubscriptionStart,
    Trim,
    step,
)
from web.live.message_header import MessageHeader

REMEMBERED = 500


class Message(NamedTuple):
    """A confirmed message. ``text`` is its envelope, ``number`` the ``channel_seq`` in it."""

    header: MessageHeader
    data: bytes
    text: bytes
    number: int

    @property
    def position(self) -> int:
        """The position of the frame that caused it."""
        return self.header.position

    @property
    def confirmed(self) -> ConfirmedMessage:
        """The message without its envelope."""
        return ConfirmedMessage(self.header, self.data)


class PositionGroup(NamedTuple):
    """The confirmed messages of one position in a channel: a client has all of them or none. ``text`` is theirs."""

    position: int
    messages: list[Message]
    text: bytes


class Listener(Protocol):
    """Who listens to a channel."""

    def confirmed(self, channel: str, group: PositionGroup) -> None:
        """Take confirmed messages."""
        ...

    def newest(self, channel: str, data: bytes, text: bytes) -> None:
        """Take a value that the next one makes worthless, and its envelope."""
        ...


class Channel:
    """The mutable half of a channel; what may happen next is decided by `channel_state.step` alone.

    ``listeners`` maps each to the position up to which it had all when it joined. ``left_ms`` says since when there is
    none. ``number`` is that of the newest push, ``forgotten`` that of the newest one that is no longer in ``memory``.
    ``base`` is the channel that this one is resampled out of, by ``resampler``.
    """

    def __init__(self, name: ChannelName) -> None:
        self.name, self.key = name, str(name)
        self.progress = ChannelProgress()
        self.listeners: dict[Listener, int] = {}
        self.left_ms: int | None = None
        self.memory: deque[Message] = deque()
        self.number = self.forgotten = 0
        self.base: Channel | None = None
        self.resampler: Listener | None = None

    @property
    def state(self) -> ChannelState:
        """What becomes of its messages."""
        return self.progress.state

    def apply(self, event: ChannelEvent) -> Iterable[ConfirmedMessage]:
        """Apply an event; return the messages to be passed on now."""
        self.progress, messages = step(self.progress, event)
        return messages

    def publication(self, messages: list[ConfirmedMessage]) -> Publication:
        """Return the event that confirmed messages have come here."""
        return Publication(messages, has_listeners=bool(self.listeners))

    def start(self) -> None:
        """Begin to subscribe. What is remembered ends before a hole where nobody listens, for it isn't read."""
        self.apply(SubscriptionStart(has_listeners=bool(self.listeners)))
        if not self.listeners:
            self._forget()

    def renew(self) -> None:
        """Begin a new epoch."""
        self.apply(NewEpoch())
        self._forget()

    def _forget(self) -> None:
        self.memory.clear()
        self.forgotten = self.number

    def join(self, listener: Listener, *, until: int) -> None:
        """Let somebody listen who has all up to a position, and what is remembered beyond it."""
        if not self.listeners:
            self.apply(FirstListener(until))
        self.listeners[listener] = until
        self.left_ms = None

    def leave(self, listener: Listener, now_ms: int) -> bool:
        """Let somebody listen no longer. Returns whether he did."""
        found = self.listeners.pop(listener, None) is not None
        if found and not self.listeners:
            self.left_ms = now_ms
        return found

    def keep(self, now_ms: int) -> None:
        """Let a channel without listeners stay for a while from now on."""
        if not self.listeners:
            self.left_ms = now_ms

    def resample_from(self, base: Channel, resampler: Listener) -> None:
        """Note that candles of another channel become those of this one."""
        self.base, self.resampler = base, resampler

    def stop_resampling(self, now_ms: int) -> None:
        """Listen to the other channel no longer, if it does."""
        if self.base is not None and self.resampler is not None:
            self.base.leave(self.resampler, now_ms)
            self.base = self.resampler = None

    def next_number(self) -> int:
        """Return the number of the next push."""
        self.number += 1
        return self.number

    def remember(self, message: Message) -> None:
        """Keep a message that is passed on, in place of the oldest one."""
        self.memory.append(message)
        if len(self.memory) > REMEMBERED:
            oldest = self.memory.popleft()
            self.forgotten = oldest.number
            self.apply(Trim(oldest.position))

    def beyond(self, position: int) -> list[Message]:
        """Return what is remembered of positions after this one."""
        return [message for message in self.memory if message.position > position]

    def goes_on(self, until: int, messages: Iterable[ConfirmedMessage]) -> bool:
        """Whether all beyond what was read of it up to a position is still remembered."""
        return self.progress.trimmed <= max([until, *(message.header.position for message in messages)])

    def laid_over(
        self, rows: Mapping[int, ConfirmedMessage], until: int, others: Iterable[ConfirmedMessage] = ()
    ) -> dict[int, ConfirmedMessage]:
        """Lay what is remembered beyond a position over rows, by ``ts``. Of two the later position's stands."""
        merged = dict(rows)
        for message in [*others, *(one.confirmed for one in self.beyond(until))]:
            row = merged.get(message.header.ts)
            if row is None or row.header.position <= message.header.position:
                merged[message.header.ts] = message
        return merged


def position_groups(messages: Iterable[Message]) -> list[PositionGroup]:
    """Group messages that are in order by their position."""
    groups = [(position, list(group)) for position, group in groupby(messages, key=lambda message: message.position)]
    return [PositionGroup(position, group, b"\n".join(one.text for one in group)) for position, group in groups]
