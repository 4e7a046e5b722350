"""What may happen next on a channel, as a value and one pure step: no connection, client or clock in it.

A channel is COLD until a subscription is begun. From then on it is CATCHING_UP: what comes is held until what was
published meanwhile has been read from the stores; then it is LIVE, and what comes is passed on. Where what was missed
can't be read it is LOST, until a new epoch begins, in which nobody expects it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from web.live.message_header import MessageHeader

NOWHERE = -1
"""The position before the first one."""


class ChannelState(Enum):
    """What becomes of the messages of a channel."""

    COLD = "cold"
    CATCHING_UP = "catching up"
    LIVE = "live"
    LOST = "lost"


COLD, CATCHING_UP, LIVE, LOST = ChannelState


class ConfirmedMessage(NamedTuple):
    """A confirmed message, as it was published or as the archive has it now."""

    header: MessageHeader
    data: bytes


class ChannelProgress(NamedTuple):
    """How far a channel is. Messages up to a position are all known, or none of that position.

    ``subscribed_at`` has the position of each partition at which the subscription stood, None without one.
    ``confirmed`` is the newest position, ``at_confirmed`` tell its messages apart by ``ts`` and revision. ``delivered``
    is the position up to which all listeners had all when the connection was lost. ``trimmed`` is the newest position
    of which the memory lacks messages. ``held`` waits for what was published before it.
    """

    state: ChannelState = COLD
    subscribed_at: Mapping[int, int] | None = None
    partition: int | None = None
    confirmed: int = NOWHERE
    at_confirmed: frozenset[tuple[int, int]] = frozenset()
    delivered: int = NOWHERE
    trimmed: int = NOWHERE
    held: tuple[ConfirmedMessage, ...] = ()

    @property
    def complete_after(self) -> int | None:
        """The position beyond which memory and what is held have all messages; None without a subscription."""
        if self.subscribed_at is None:
            return None
        return max(self.trimmed, position_in(self.subscribed_at, self.partition))

    @property
    def resumes_after(self) -> int:
        """The position after which messages have to be read for the listeners, when it catches up."""
        return max(self.delivered, self.confirmed)

    def is_new(self, header: MessageHeader) -> bool:
        """Whether a confirmed message hasn't come yet: positions fall only where all is repeated."""
        if header.position != self.confirmed:
            return header.position > self.confirmed
        return (header.ts, header.revision) not in self.at_confirmed


class SubscriptionStart(NamedTuple):
    """A subscription is asked for. Without listeners nothing is read that was missed: the memory ends here."""

    has_listeners: bool


class SubscriptionReady(NamedTuple):
    """A subscription stands: of all that is beyond these positions nothing is missed.

    A resampled channel has that of its base, which has caught up.
    """

    positions: Mapping[int, int]


class Publication(NamedTuple):
    """Confirmed messages have come."""

    messages: Sequence[ConfirmedMessage]
    has_listeners: bool


class ResampledPublication(NamedTuple):
    """Candles were made of those of the base channel, which has seen to it that they are new."""

    messages: Sequence[ConfirmedMessage]


class CatchUp(NamedTuple):
    """What was published after `ChannelProgress.resumes_after`; None where that can't be told."""

    messages: Sequence[ConfirmedMessage] | None


class CatchUpEnd(NamedTuple):
    """All has been read, and all that was published before that has come."""


class ConnectionLoss(NamedTuple):
    """The connection to Redis is lost, or the subscription was given up."""


class NewEpoch(NamedTuple):
    """Listeners start afresh. What is behind a hole is forgotten."""


class Trim(NamedTuple):
    """The memory no longer has the messages up to a position."""

    position: int


class PartitionFound(NamedTuple):
    """The partition of the channel's instrument is known."""

    partition: int


class FirstListener(NamedTuple):
    """The only listener joins; it has all up to a position."""

    position: int


ChannelEvent = (
    SubscriptionStart
    | SubscriptionReady
    | Publication
    | ResampledPublication
    | CatchUp
    | CatchUpEnd
    | ConnectionLoss
    | NewEpoch
    | Trim
    | PartitionFound
    | FirstListener
)
Step = tuple[ChannelProgress, Sequence[ConfirmedMessage]]


def step(progress: ChannelProgress, event: ChannelEvent) -> Step:
    """Return the progress after an event, and the confirmed messages to be passed on now, in order."""
    match event:
        case Publication(messages, has_listeners):
            return _publication(progress, messages, has_listeners=has_listeners)
        case ResampledPublication(messages):
            return _passed_on(progress, messages)[0], messages
        case CatchUpEnd() if progress.state is CATCHING_UP:
            return _passed_on(progress._replace(state=LIVE, held=()), progress.held)
        case _:
            return _moved(progress, event), ()


def _publication(progress: ChannelProgress, messages: Sequence[ConfirmedMessage], *, has_listeners: bool) -> Step:
    if progress.state is LIVE:
        return _passed_on(progress, messages)
    if progress.state is not COLD:
        new = (message for message in messages if progress.is_new(message.header))
        return progress._replace(held=(*progress.held, *new)), ()
    # without a subscription they come to those who listen to all channels; listeners will have them read
    return (progress, ()) if has_listeners else _passed_on(progress, messages)


def _passed_on(progress: ChannelProgress, messages: Iterable[ConfirmedMessage]) -> Step:
    position, partition, marks = progress.confirmed, progress.partition, set(progress.at_confirmed)
    new = []
    for message in sorted(messages, key=message_key):
        header = message.header
        if header.position > position:
            position, partition, marks = header.position, header.partition, set()
        elif header.position < position or (header.ts, header.revision) in marks:
            continue
        marks.add((header.ts, header.revision))
        new.append(message)
    return progress._replace(confirmed=position, partition=partition, at_confirmed=frozenset(marks)), new


def _moved(progress: ChannelProgress, event: ChannelEvent) -> ChannelProgress:
    """Return the progress after an event of which no messages come."""
    state, held = progress.state, progress.held
    match event:
        case SubscriptionStart(has_listeners):
            trimmed = progress.trimmed if has_listeners else progress.confirmed
            progress = progress._replace(state=CATCHING_UP, held=(), trimmed=trimmed)
        case SubscriptionReady(positions):
            progress = progress._replace(state=LIVE if state is COLD else state, subscribed_at=positions)
        case CatchUp(None) if state is CATCHING_UP:
            progress = progress._replace(state=LOST)
        case CatchUp(messages) if state is CATCHING_UP and messages:
            progress = progress._replace(held=(*held, *messages))
        case ConnectionLoss():
            complete_after = progress.complete_after if state is LIVE else None
            delivered = max(progress.resumes_after, NOWHERE if complete_after is None else complete_after)
            progress = progress._replace(state=COLD, subscribed_at=None, held=(), delivered=delivered)
        case NewEpoch():
            state = CATCHING_UP if state is LOST else state
            progress = progress._replace(state=state, trimmed=progress.confirmed)
        case Trim(position):
            progress = progress._replace(trimmed=position)
        case PartitionFound(partition):
            progress = progress._replace(partition=partition)
        case FirstListener(position) if progress.subscribed_at is None:
            progress = progress._replace(delivered=max(progress.delivered, position))
    return progress


def message_key(message: ConfirmedMessage) -> tuple[int, int, int]:
    """Return what a confirmed message of a channel is known by, which is its place in order too."""
    return message.header.position, message.header.ts, message.header.revision


def position_in(positions: Mapping[int, int], partition: int | None) -> int:
    """Return the position of a partition, as far as both are known."""
    return NOWHERE if partition is None else positions.get(partition, NOWHERE)
