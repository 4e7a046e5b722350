"""What the parts of the broker's feed report of what happens to them."""

from __future__ import annotations

from typing import Protocol, TypedDict, Unpack

from topology.log.frames import FeedEventKind


class EventFields(TypedDict, total=False):
    """What an event is about, see :class:`topology.log.frames.FeedEvent`."""

    socket: int
    from_ms: int | None
    to_ms: int | None
    instruments: int


class EventRecorder(Protocol):
    """Where login, connections and backfill report to."""

    def record(self, kind: FeedEventKind, detail: str = "", **about: Unpack[EventFields]) -> None:
        """Record that something has happened now; ``detail`` is for people."""
