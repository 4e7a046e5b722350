"""The records of the log: every byte that the topics hold is written and read here.

A *tick frame* is a record of ``ticks``; its offset is its *position*. Each stage turns one frame into exactly one
*derived frame* with the same position on the same partition of the next topic. Frames are MessagePack arrays whose
first element is the format version. New fields go to the end, with a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Generic, TypeVar

import msgspec

from topology.market.candle import Candle
from topology.market.gaps import Baseline, Gap
from topology.market.history import History
from topology.market.quotes import Quote
from topology.market.second_candles import LateTick
from topology.market.ticks import Tick

VERSION = 1

TICKS, CANDLES, TIMEFRAMES, INDICATORS = "ticks", "candles_1s", "candles_tf", "indicators"
COMMANDS, DEAD_LETTERS, FEED_EVENTS = "commands", "dead_letters", "feed_events"
WARMUP, BACKFILL = b"warmup", b"backfill"


SHORTEST_S, LONGEST_S = 5, 86_400  # a timeframe
TimeframeSeconds = Annotated[int, msgspec.Meta(ge=SHORTEST_S, le=LONGEST_S)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0)]


class FrameError(ValueError):
    """A record of the log can't be decoded, or breaks what its readers rely on."""


class Poison(msgspec.Struct, frozen=True):
    """Stands for a tick frame that can't be decoded; ``reason`` says why."""

    reason: str


class LogHeader(msgspec.Struct, array_like=True, frozen=True):
    """The first record of ``commands``: which log this is. Its id is made when the topics are created."""

    version: int
    log: str
    namespace: str
    partitions: int


class Configure(msgspec.Struct, array_like=True, frozen=True):
    """A command: what the stages compute from here on. ``id`` is its offset in ``commands``.

    ``timeframes`` maps a timeframe in seconds to its indicators (``"SMA:20"``). ``classes`` maps instruments to
    instrument classes where the rule of the exchange does not hold. ``calendar`` is the session calendar itself, as
    JSON text, so that a replay sees the sessions that live saw. A tick is late when its second ended more than
    ``lateness_ms`` ago.
    """

    id: int
    timeframes: dict[TimeframeSeconds, list[str]]
    classes: dict[str, str]
    calendar: str
    lateness_ms: Milliseconds


class Warmup(msgspec.Struct, array_like=True, frozen=True):
    """A command for the feed: ask the broker for the history of these instruments, of all that it has where empty.

    With ``reset`` they start afresh with it. ``id`` is its offset in ``commands``, where its record has `WARMUP` for a
    key.
    """

    id: int
    instruments: list[str]
    reset: bool


class Backfill(msgspec.Struct, array_like=True, frozen=True):
    """A command: history of timeframes that are new, which the feed copies into the partitions of its instruments.

    ``id`` is its offset in ``commands``, where its record is compressed and has `BACKFILL` for a key.
    """

    id: int
    history: list[History]


class IndicatorValue(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The value of an indicator (``"SMA_20"``) at the candle that starts at ``start_ms``; prices are paise."""

    instrument: str
    name: str
    timeframe_s: int
    start_ms: int
    value: float


class TickFrame(msgspec.Struct, array_like=True, frozen=True):
    """The ticks of one partition, collected for a few milliseconds. They apply in order, then the clock.

    Before them apply the ``gaps`` that began or ended, and the ``baselines`` that snapshots gave. ``quotes`` holds the
    newest quote of each instrument that has one in this frame; candles are not made of them. ``history`` applies after
    all else.

    ``epoch`` and ``sequence`` number the frames of a feed, per partition: a frame that is not above the last one
    counts as empty. ``commanded`` is the id of the last command that this partition has been given.
    """

    version: int
    log: str
    epoch: int
    sequence: int
    clock_ms: int
    commanded: int
    commands: list[Configure]
    ticks: list[Tick]
    quotes: list[Quote] = []
    gaps: list[Gap] = []
    baselines: list[Baseline] = []
    history: list[History] = []


Row = TypeVar("Row")


class Frame(msgspec.Struct, Generic[Row], array_like=True, frozen=True, rename={"unusable": "gap"}):
    """What a stage made of the tick frame at ``position``: ``rows`` are final, ``live`` is for eyes only.

    ``unusable`` says why the tick frame could not be used, and is empty where it could.
    """

    version: int
    log: str
    run: int
    position: int
    clock_ms: int
    commands: list[Configure]
    unusable: str
    rows: list[Row]
    live: list[Row]


class CandleFrame(Frame[Candle], array_like=True, frozen=True):
    """A record of ``candles_1s``: closed 1-second candles, and what became of the ticks of this frame.

    ``gap_volumes`` are the quantities, by instrument, that were found to have been traded in gaps.
    """

    accepted: int = 0
    out_of_session: int = 0
    late: list[LateTick] = []
    gaps: list[Gap] = []
    gap_volumes: dict[str, int] = {}
    history: list[History] = []


class TimeframeFrame(Frame[Candle], array_like=True, frozen=True):
    """A record of ``candles_tf``: closed candles of every timeframe.

    ``history`` is what is used of that of the tick frame: candles of timeframes that there are, which have ended.
    """

    history: list[History] = []


class IndicatorFrame(Frame[IndicatorValue], array_like=True, frozen=True):
    """A record of ``indicators``: the values of ready indicators at closed candles."""


class DeadLetter(msgspec.Struct, array_like=True, frozen=True):
    """A record of ``dead_letters``: a tick frame that could not be used, as it was, and why."""

    version: int
    log: str
    partition: int
    position: int
    reason: str
    record: bytes


class FeedEventKind(StrEnum):
    """What can happen to a feed; the values are the words of the records."""

    LOGIN_FAILED = "login_failed"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    STALE = "stale"  # the connection was up, and brought nothing
    GAP = "gap"  # one is over
    RESUMED = "resumed"
    SUSPECT = "doubt"  # packets were missed singly, or came wrong
    REJECTED = "rejected"  # a subscription
    HISTORY = "history"  # some has come, or can't be had
    WARMED = "warmed"  # a `Warmup` is done
    DAY = "day"  # one is over
    STOPPED = "stopped"


class FeedEvent(msgspec.Struct, array_like=True, frozen=True):
    """A record of ``feed_events``: something that happened to a feed, at ``at_ms`` by its clock.

    ``kind`` is a `FeedEventKind`, or one of a later version, which must not make the record unreadable. ``socket`` is
    the number of the connection, None where it is about all. A gap or suspect span has its bounds, in milliseconds
    since the epoch, and the number of its ``instruments``; one that is disconnected or stale the number of those that
    another connection carries on. ``detail`` is for people.
    """

    version: int
    log: str
    at_ms: int
    kind: str
    socket: int | None = None
    detail: str = ""
    from_ms: int | None = None
    to_ms: int | None = None
    instruments: int = 0


AnyFrame = TypeVar("AnyFrame", bound=msgspec.Struct)

encode = msgspec.msgpack.Encoder().encode


class Decoder(Generic[AnyFrame]):
    """Reads one kind of record: ``decode`` raises :class:`FrameError` for bytes that aren't one of this version."""

    def __init__(self, kind: type[AnyFrame]) -> None:
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._name = kind.__name__

    def decode(self, record: bytes | None) -> AnyFrame:
        """Return the frame that these bytes hold."""
        if not record:
            raise FrameError(f"an empty record is no {self._name}")
        try:
            frame = self._decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FrameError(f"not a {self._name}: {error}") from error
        if frame.version != VERSION:  # type: ignore[attr-defined] # every record starts with it
            raise FrameError(f"a {self._name} of version {frame.version}, where {VERSION} is read")  # type: ignore[attr-defined]
        return frame


HEADER = Decoder(LogHeader)
TICK_FRAME = Decoder(TickFrame)
CANDLE_FRAME = Decoder(CandleFrame)
TIMEFRAME_FRAME = Decoder(TimeframeFrame)
INDICATOR_FRAME = Decoder(IndicatorFrame)

DERIVED: Mapping[str, Decoder[CandleFrame] | Decoder[TimeframeFrame] | Decoder[IndicatorFrame]] = {
    CANDLES: CANDLE_FRAME,
    TIMEFRAMES: TIMEFRAME_FRAME,
    INDICATORS: INDICATOR_FRAME,
}
"""The topics that the stages write, in the order of a tick's way, and what reads their frames."""


def tick_frame(record: bytes | None) -> TickFrame | Poison:
    """Decode a record of ``ticks``; one that can't be decoded comes back as :class:`Poison`."""
    try:
        return TICK_FRAME.decode(record)
    except FrameError as error:
        return Poison(str(error))
