"""What happens to a feed: recorded in the log's ``feed_events``, in metrics and for people."""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn, Unpack

from prometheus_client import Counter

from topology.clock import Clock
from topology.feeds.angel.events import EventFields
from topology.feeds.writer import TickLogWriter
from topology.log.frames import VERSION, FeedEvent, FeedEventKind
from topology.notifiers import Kind, Notice, Notifications

logger = logging.getLogger(__name__)

EVENTS = Counter("mdengine_feed_events_total", "What happened to the feed", ["kind"])
RECONNECTS = Counter("mdengine_ws_reconnects_total", "Sockets of the feed that were opened again")
TITLES = {
    FeedEventKind.LOGIN_FAILED: (Kind.LOGIN_FAILED, "The broker's login fails"),
    FeedEventKind.STALE: (Kind.FEED_STALE, "The feed is stale"),
    FeedEventKind.DISCONNECTED: (Kind.FEED_STALE, "The feed is disconnected"),
    FeedEventKind.GAP: (Kind.RECOVERED, "The feed has data again"),
    FeedEventKind.DAY: (Kind.DAY_SUMMARY, "The market is closed"),
    FeedEventKind.STOPPED: (Kind.STOPPED, "The feed has stopped"),
}
"""The events of which people get a notice."""
DOWN = {FeedEventKind.STALE, FeedEventKind.DISCONNECTED}


class FeedEventLog:
    """The `EventRecorder` of the role: events are written in the order in which they happen, by `run`."""

    def __init__(self, writer: TickLogWriter, clock: Clock, notifications: Notifications, *, simulated: bool) -> None:
        self._writer, self._clock, self._notifications, self._simulated = writer, clock, notifications, simulated
        self._waiting: asyncio.Queue[FeedEvent] = asyncio.Queue()
        self._down = False  # people have a notice of it, and none yet of its end
        self._connected: set[int] = set()  # sockets that have been so at any time

    def record(self, kind: FeedEventKind, detail: str = "", **about: Unpack[EventFields]) -> None:
        """Record an event; see `FeedEvent`."""
        at_ms, socket = self._clock.now_ms(), about.get("socket")
        EVENTS.labels(kind).inc()
        if kind is FeedEventKind.CONNECTED and socket is not None:
            RECONNECTS.inc(socket in self._connected)
            self._connected.add(socket)
        logger.info("feed: %s", kind, extra={"detail": detail, **about})
        event = FeedEvent(VERSION, self._writer.log.header.log, at_ms, kind, detail=detail, **about)
        self._waiting.put_nowait(event)
        if kind in TITLES and self._concerns_people(event):
            notice, title = TITLES[kind]
            text = detail or _duration(event.from_ms, event.to_ms)
            self._notifications.notify(Notice(notice, title, text, at_ms, self._simulated))

    def _concerns_people(self, event: FeedEvent) -> bool:
        """Say whether people are to have a notice, and note whether they have one of a feed that is down."""
        if event.kind in DOWN:
            if event.instruments:  # another connection carries them on
                return False
            self._down = True
        elif event.kind == FeedEventKind.GAP:  # each day begins with one: only the end of trouble matters
            was_down, self._down = self._down, False
            return was_down
        return True

    async def run(self) -> NoReturn:
        """Write the events, for as long as the feed is up."""
        while True:
            await self._writer.event(await self._waiting.get())


def _duration(from_ms: int | None, to_ms: int | None) -> str:
    return "" if from_ms is None or to_ms is None else f"It was without for {(to_ms - from_ms) / 1000:.0f} s."
