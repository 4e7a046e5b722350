"""What happens to a feed: told in the log's ``feed_events``, in metrics and to people."""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn, Unpack

from prometheus_client import Counter

from topology.clock import Clock
from topology.feeds.angel.connection_group import About
from topology.feeds.writer import TickLogWriter
from topology.log.frames import VERSION, FeedEvent
from topology.notifiers import Kind, Notice, Notifications

logger = logging.getLogger(__name__)

EVENTS = Counter("mdengine_feed_events_total", "What happened to the feed", ["kind"])
RECONNECTS = Counter("mdengine_ws_reconnects_total", "Sockets of the feed that were opened again")
TITLES = {
    "login_failed": (Kind.LOGIN_FAILED, "The broker's login fails"),
    "stale": (Kind.FEED_STALE, "The feed is stale"),
    "disconnected": (Kind.FEED_STALE, "The feed is disconnected"),
    "gap": (Kind.RECOVERED, "The feed has data again"),
    "day": (Kind.DAY_SUMMARY, "The market is closed"),
    "stopped": (Kind.STOPPED, "The feed has stopped"),
}
"""The events that people are told of."""


class FeedEventLog:
    """Takes the events of a feed. They are written in the order in which they happen, by `run`."""

    def __init__(self, writer: TickLogWriter, clock: Clock, notifications: Notifications, *, simulated: bool) -> None:
        self._writer, self._clock, self._notifications, self._simulated = writer, clock, notifications, simulated
        self._waiting: asyncio.Queue[FeedEvent] = asyncio.Queue()
        self._troubled = False
        self._seen: set[int] = set()  # sockets that have been connected

    def __call__(self, kind: str, detail: str = "", **about: Unpack[About]) -> None:
        """Note an event; see `FeedEvent`."""
        at_ms, socket = self._clock.now_ms(), about.get("socket")
        EVENTS.labels(kind).inc()
        if kind == "connected" and socket is not None:
            RECONNECTS.inc(socket in self._seen)
            self._seen.add(socket)
        logger.info("feed: %s", kind, extra={"detail": detail, **about})
        event = FeedEvent(VERSION, self._writer.log.header.log, at_ms, kind, detail=detail, **about)
        self._waiting.put_nowait(event)
        if kind in ("stale", "disconnected") and event.instruments:  # they have another line: nobody need be told
            return
        troubled, self._troubled = self._troubled, self._troubled or kind in ("stale", "disconnected")
        if kind == "gap":  # each day begins with one, and nobody need be told
            self._troubled = False
        if kind in TITLES and (troubled or kind != "gap"):
            notice, title = TITLES[kind]
            text = detail or _lasted(event.from_ms, event.to_ms)
            self._notifications.tell(Notice(notice, title, text, at_ms, self._simulated))

    async def run(self) -> NoReturn:
        """Write the events, for as long as the feed is up."""
        while True:
            await self._writer.event(await self._waiting.get())


def _lasted(from_ms: int | None, to_ms: int | None) -> str:
    return "" if from_ms is None or to_ms is None else f"It was without for {(to_ms - from_ms) / 1000:.0f} s."
