"""A channel that somebody listens to: the newest of its confirmed messages, and who hears it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import NamedTuple, Protocol

from topology.sinks.channel_name import ChannelName
from web.live.message_header import MessageHeader

REMEMBERED = 500
NOWHERE = -1


class ConfirmedMessage(NamedTuple):
    """A confirmed message, as it was said or as the archive has it now."""

    marks: MessageHeader
    data: bytes


class Message(NamedTuple):
    """A confirmed message. ``text`` is its envelope, ``number`` the ``channel_seq`` in it."""

    marks: MessageHeader
    data: bytes
    text: bytes
    number: int

    @property
    def position(self) -> int:
        """The position of the frame that caused it."""
        return self.marks.position


def key(told: ConfirmedMessage | Message) -> tuple[int, int, int]:
    """Return what a confirmed message of a line is known by, and its place in order."""
    return told.marks.position, told.marks.ts, told.marks.revision


class PositionGroup(NamedTuple):
    """The confirmed messages that a line has of one position: a client has all of them or none. ``text`` is theirs."""

    position: int
    messages: list[Message]
    text: bytes


class Listener(Protocol):
    """Who hears a line."""

    def confirmed(self, channel: str, group: PositionGroup) -> None:
        """Take confirmed messages."""
        ...

    def newest(self, channel: str, data: bytes, text: bytes) -> None:
        """Take a value that the next one makes worthless, and its envelope."""
        ...


class Channel:
    """A channel's confirmed messages, in the order in which they were said.

    ``listeners`` maps each to the position up to which it has all already. ``left_ms`` says since when there is none.
    """

    def __init__(self, channel: ChannelName) -> None:
        self.channel, self.name = channel, str(channel)
        self.listeners: dict[Listener, int] = {}
        self.left_ms: int | None = None
        self.memory: deque[Message] = deque()
        self.number = 0
        self.forgotten = 0  # the number of the newest message that is no longer in the memory
        self.reached = NOWHERE  # the newest position
        self.partition: int | None = None
        self.base: Channel | None = None  # the line that it is folded out of, and what folds it
        self.fold: Listener | None = None
        self.heard_from: Mapping[int, int] | None = None  # positions by partition, None while nothing is heard
        self.held: list[ConfirmedMessage] | None = None  # what is said while it is found out what was said before
        self.lost = False  # whether that can't be found out
        self.told = NOWHERE  # the position up to which all who hear it have had all
        self.trimmed = NOWHERE  # the position of the newest message that is no longer in the memory
        self._newest: set[tuple[int, int]] = set()  # ts and revision of those at the position reached

    @property
    def since(self) -> int | None:
        """The position beyond which the memory has all messages; None while nothing is heard for sure."""
        if self.heard_from is None:
            return None
        return max(self.trimmed, NOWHERE if self.partition is None else self.heard_from.get(self.partition, NOWHERE))

    def lose(self) -> None:
        """Note that nothing is heard any more. Those who hear the line have had all up to where it was."""
        since = self.since if self.held is None else None
        self.told = max(self.told, self.reached, NOWHERE if since is None else since)
        self.heard_from = self.held = None

    def forget(self) -> None:
        """Drop what is remembered: there is a hole behind it."""
        self.memory.clear()
        self.forgotten, self.trimmed = self.number, self.reached

    def is_news(self, told: MessageHeader) -> bool:
        """Whether a confirmed message is one that this line hasn't had: positions fall only where all is repeated."""
        if told.position != self.reached:
            return told.position > self.reached
        return (told.ts, told.revision) not in self._newest

    def remember(self, message: Message) -> None:
        """Take a message that is news."""
        told = message.marks
        if told.position > self.reached:
            self.reached, self.partition = told.position, told.partition
            self._newest.clear()
        self._newest.add((told.ts, told.revision))
        self.memory.append(message)
        if len(self.memory) > REMEMBERED:
            forgotten = self.memory.popleft()
            self.forgotten = forgotten.number
            self.trimmed = forgotten.position

    def beyond(self, position: int) -> list[Message]:
        """Return what is remembered of positions after this one."""
        return [message for message in self.memory if message.position > position]


def position_groups(messages: Iterable[Message]) -> list[PositionGroup]:
    """Group messages that are in order by their position."""
    found = [(position, list(group)) for position, group in groupby(messages, key=lambda message: message.position)]
    return [PositionGroup(position, group, b"\n".join(message.text for message in group)) for position, group in found]
