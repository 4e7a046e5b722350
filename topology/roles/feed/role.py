"""The role `feed`: the broker's ticks into the tick log. It is the only writer of the clock."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import nullcontext
from datetime import datetime
from random import Random
from urllib.parse import urlsplit

from faust.types import TP, EventT
from prometheus_client import Gauge, Histogram

from agents.metrics import Progress
from agents.process_guard import REFUSED, end_process
from agents.stage_wiring import attach
from topology import faust_fixes
from topology.angel.login import CredentialsError
from topology.angel.master import MasterError
from topology.angel.master.download import last_copy, update
from topology.angel.master.listings import FILE_NAME, Listings
from topology.angel.rate_limits import RateLimits
from topology.angel.refusals import Refusals
from topology.backoff import Backoff
from topology.clock import SYSTEM, Clock
from topology.feeds import FeedError
from topology.feeds import subscriptions as subscribing
from topology.feeds.angel.backfill_queue import BackfillQueue
from topology.feeds.angel.backfiller import Backfiller
from topology.feeds.angel.feed import AngelFeed
from topology.feeds.angel.translator import OLD_MS
from topology.feeds.live import LiveFeed
from topology.feeds.writer import StaleSourceError, TickLogWriter
from topology.json_file import JsonFile
from topology.kafka import broker_log, topics
from topology.log.frames import COMMANDS, Backfill, FeedEventKind, Warmup
from topology.market import Calendar, CalendarError, Instrument
from topology.market.times import IST
from topology.notifiers import Notifications, channels_of
from topology.roles.background import BackgroundTasks
from topology.roles.base import RoleApp
from topology.roles.feed.event_log import FeedEventLog
from topology.settings import SIM, Account, Settings, SettingsError
from web.http import health

logger = logging.getLogger(__name__)

PACKETS = Gauge("mdengine_feed_packets_total", "Packets that came, and those that were special, by how", ["what"])
_BUCKETS_MS = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 125, 150, 200, 300, 500, 1000, 2000, 5000)
DELIVERY = Histogram(
    "mdengine_feed_delivery_seconds",
    "From the receipt of the first tick of a frame until the log has the frame",
    buckets=[at_most_ms / 1000 for at_most_ms in _BUCKETS_MS],
)
MASTER_RETRY_S = (30.0, 75.0)
SUBSCRIBED_NAME = "subscribed.json"
CLOCK_STEP_MS = 60_000
FAREWELL_S = 10.0  # for the notice that nothing more is tried


class FeedRole:
    """The broker's feed, of the real broker or of one that is simulated."""

    def __init__(self, app: RoleApp, settings: Settings) -> None:
        self._settings = settings
        self._background = BackgroundTasks(settings)
        self._log = ""
        self._writer: TickLogWriter | None = None
        self._live: LiveFeed | None = None
        self._feed: AngelFeed | None = None
        self._history: Backfiller | None = None
        commands = topics.topic(settings.namespace, COMMANDS)

        attach(app, "feed", [commands], self._copy)
        faust_fixes.install(app, {commands: self._newest_copied})
        health.add(app, self._health)

    async def start(self, log: broker_log.Log) -> None:
        """Take the log's partitions over and start to write. What can't be used ends the process with one line."""
        settings, clock = self._settings, SYSTEM
        _refuse_to_mix(settings.account, simulated=log.header.namespace == SIM)
        self._log = log.header.log
        try:
            notifications = Notifications(channels_of(settings), time.monotonic, random=Random())
            subscriptions = _subscriptions(settings)
            writer = TickLogWriter(settings.bootstrap, log, on_delivery=_observe_delivery)
            self._writer = await writer.__aenter__()
            if writer.clock_ms - clock.now_ms() < CLOCK_STEP_MS:  # it was put back a little
                await clock.sleep_until(writer.clock_ms)
            writer.refuse_older(clock.now_ms())
            event_log = FeedEventLog(writer, clock, notifications, simulated=log.header.namespace == SIM)
            since_ms = writer.whole_until_ms - OLD_MS if writer.clock_ms else clock.now_ms()
            self._history = history = self._backfiller(log, subscriptions, since_ms, clock=clock, events=event_log)
            self._live = live = LiveFeed(writer, frame_ms=settings.frame_ms, now_ms=clock.now_ms, on_gap=history.missed)
            self._feed = self._make_feed(
                log, subscriptions, since_ms, live=live, history=history, clock=clock, event_log=event_log
            )
        except (FeedError, MasterError, StaleSourceError, CalendarError, CredentialsError, SettingsError) as error:
            end_process(str(error), code=REFUSED)
        running = self._run(self._feed, event_log)
        self._background.start([live.run(), event_log.run(), notifications.run(), running])

    def _make_feed(
        self,
        log: broker_log.Log,
        subscriptions: list[subscribing.Subscription],
        since_ms: int,
        *,
        live: LiveFeed,
        history: Backfiller,
        clock: Clock,
        event_log: FeedEventLog,
    ) -> AngelFeed:
        return AngelFeed(
            self._settings.account,
            subscribing.spread(subscriptions),
            live=live,
            calendar=Calendar.parse(log.configuration.calendar),
            classes=log.configuration.classes,
            clock=clock,
            limits=RateLimits(time.monotonic),
            refusals=Refusals(self._settings.namespace_dir / "refused-logins.json", self._settings.account),
            prepare=lambda: self._fetch_master([one.instrument for one in subscriptions]),
            history=history,
            events=event_log,
            since_ms=since_ms,
            random=Random(),
            standby=self._settings.feed_standby,
        )

    def _backfiller(
        self,
        log: broker_log.Log,
        subscriptions: list[subscribing.Subscription],
        since_ms: int,
        *,
        clock: Clock,
        events: FeedEventLog,
    ) -> Backfiller:
        queue = BackfillQueue(self._settings.namespace_dir / "history.json", log.header.log)
        instruments = [one.instrument for one in subscriptions]
        history = Backfiller(queue, instruments, configuration=log.configuration, clock=clock, events=events)
        history.begin(since_ms)
        for request in log.requests:
            history.ask(request)
        return history

    async def _fetch_master(self, wanted: list[Instrument]) -> None:
        """Fetch the instrument master of the day, as often as it takes; until then the last good copy does."""
        backoff = Backoff(MASTER_RETRY_S, Random())
        while True:
            try:
                return await asyncio.to_thread(_updated_master, self._settings, wanted)
            except (MasterError, OSError) as error:
                logger.warning("the instrument master of today can't be had: %s", str(error) or type(error).__name__)
            await SYSTEM.sleep(backoff.next_s())

    async def _run(self, feed: AngelFeed, event_log: FeedEventLog) -> None:
        try:
            await feed.run()
        except (CredentialsError, CalendarError) as error:
            event_log.record(FeedEventKind.STOPPED, str(error))
            await asyncio.sleep(FAREWELL_S)
            end_process(str(error), code=REFUSED)

    async def close(self) -> None:
        """Deliver what was written."""
        self._background.stop()
        if self._live is not None:
            await self._live.flush()
        if self._writer is not None:
            await self._writer.flush()

    async def stop(self) -> None:
        """Disconnect."""
        if self._writer is not None:
            await self._writer.__aexit__()

    async def _newest_copied(self, _tp: TP, _log_end: int) -> int:
        """Return the id of the newest command that the writer has been given at its start."""
        return 0 if self._writer is None else self._writer.log.newest

    async def _copy(self, event: EventT[bytes]) -> None:
        """Copy a command that comes while the feed runs into every partition, or do what it asks of the feed."""
        if self._writer is None or self._feed is None or self._history is None:
            return
        command = broker_log.command_of(event.message)
        if isinstance(command, Warmup):
            self._history.ask(command)
            return
        self._writer.command([command])
        if isinstance(command, Backfill):
            return
        try:
            self._feed.follow(Calendar.parse(command.calendar), command.classes)
            self._history.configure(command)
        except CalendarError as error:
            logger.warning("command %d is not followed: %s", command.id, error)

    def _health(self) -> health.RoleHealth:
        clock_ms = 0 if self._writer is None else self._writer.clock_ms
        running = SYSTEM.now_ms() - clock_ms < 5000
        progress = Progress("feed", -1, None if self._writer is None else self._writer.frames, 0, clock_ms, not running)
        for what, count in (self._feed.counted() if self._feed is not None else {}).items():
            PACKETS.labels(what).set(count)
        return health.RoleHealth("feed", "running" if running else "standing still", self._log, [progress])


def _observe_delivery(received_ms: int) -> None:
    DELIVERY.observe(max(SYSTEM.now_ms() - received_ms, 0) / 1000)


def _subscriptions(settings: Settings) -> list[subscribing.Subscription]:
    """Read what to subscribe to, and save what its entries stand for: that of a contract is forgotten when it expires.

    Raises FeedError, MasterError.
    """
    seen_file = JsonFile(settings.namespace_dir / SUBSCRIBED_NAME, dict[str, str])
    seen = seen_file.read() or {}
    with Listings.opened(settings.namespace_dir / FILE_NAME) or nullcontext() as listings:
        wanted = subscribing.read(settings.subscribe_tokens, listings, standby=settings.feed_standby, seen=seen)
    seen_file.write(seen)
    return wanted


def _updated_master(settings: Settings, wanted: list[Instrument]) -> None:
    path = settings.namespace_dir / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(IST)
    with last_copy(path) as before:
        if before is not None and datetime.fromtimestamp(before.fetched_at_ms / 1000, IST).date() == now.date():
            return  # a feed that starts again has no time to lose
        update(settings.account.master_url, path, before=before, wanted=wanted, now=now)


def _refuse_to_mix(account: Account, *, simulated: bool) -> None:
    """Simulated data never gets into a live log, nor live data into a simulated one: the addresses tell which it is."""
    urls = {"API": account.api_url, "FEED": account.feed_url, "MASTER": account.master_url}
    for name, url in urls.items():
        if _is_the_brokers(url) == simulated:
            end_process(
                f"ANGEL_{name}_URL {'leads to' if simulated else 'does not lead to'} the real broker, but the log is a "
                f"{'simulated' if simulated else 'live'} one: set ANGEL_{name}_URL or TOPOLOGY_NAMESPACE",
                code=REFUSED,
            )


def _is_the_brokers(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    return parts.scheme in ("https", "wss") and host.endswith((".angelone.in", ".angelbroking.com"))
