"""Instruments that share a connection, or two. What is missed of them is reported as gaps and suspect spans."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from topology.angel.client import ConnectionEnd, EndKind
from topology.clock import Clock
from topology.feeds.angel.broker_socket import RawPacket
from topology.feeds.angel.events import EventRecorder
from topology.feeds.angel.packets import HEAD, Fields, PacketError, parse_all
from topology.feeds.angel.source_selector import LAG_MS, LATE, SourceSelector
from topology.feeds.angel.suspect_spans import SuspectSpans
from topology.feeds.angel.translator import Translator
from topology.feeds.live import LiveFeed
from topology.feeds.subscriptions import Subscription
from topology.log.frames import FeedEventKind
from topology.market.gaps import Baseline, Gap
from topology.market.quotes import Quote
from topology.market.ticks import Tick

logger = logging.getLogger(__name__)


class ConnectionGroup:
    """The instruments of one connection, or with ``standby`` of two: what their packets hold goes to ``live``.

    A gap is when no connection is up. ``since_ms`` is up to when nothing was missing before.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        *,
        live: LiveFeed,
        clock: Clock,
        events: EventRecorder,
        since_ms: int,
        standby: bool,
    ) -> None:
        self.counts: Counter[str] = Counter()  # of packets: what came, and what became of it where it is no tick
        self.newest_ms = since_ms  # of the good ticks: up to here nothing is missing
        self._standby = standby
        self._instruments = [str(one.instrument) for one in subscriptions]
        self._live, self._clock, self._events = live, clock, events
        self._translator = Translator(self._instruments)
        self._sources = SourceSelector(self._instruments)
        self._gap_from_ms: int | None = None
        self._suspects = SuspectSpans()

    def counted(self) -> Counter[str]:
        """Return how many packets came, and how often something was special about one."""
        return self.counts + self._translator.counts

    def begin(self) -> None:
        """Note that a day begins: until something comes it is missing."""
        self._interrupt("the feed starts")

    def end(self, whole_until_ms: int) -> None:
        """Note that the day is over: what comes from here on is missing, and nothing before unless there is a gap."""
        if self._gap_from_ms is None:
            self.newest_ms = max(self.newest_ms, whole_until_ms)
        for connection in self._sources.up:
            self._down(connection)
        self._interrupt("the day is over")

    def on_open(self, connection: int) -> None:
        """Note that a connection is open and brings snapshots: news of what no other connection brings."""
        self._translator.subscribed(self._clock.now_ms(), self._sources.without())
        self._sources.opened(connection)
        self._events.record(FeedEventKind.CONNECTED, f"{len(self._instruments)} instruments", socket=connection)

    def on_rejection(self, connection: int, detail: str) -> None:
        """Note that the broker has rejected a subscription."""
        self._events.record(FeedEventKind.REJECTED, detail, socket=connection)

    def on_end(self, connection: int, end: ConnectionEnd) -> None:
        """Note that a connection is down. Another one that is up carries on."""
        self._down(connection)
        carried = len(self._instruments) if self._sources.up else 0
        if not carried:
            self._interrupt(str(end))
        if end.kind in (EndKind.DEAD, EndKind.SILENT):
            self._events.record(FeedEventKind.STALE, str(end), socket=connection, instruments=carried)
        self._events.record(FeedEventKind.DISCONNECTED, str(end), socket=connection, instruments=carried)

    def on_packets(self, connection: int, packets: Sequence[RawPacket]) -> bool:
        """Translate packets, and hand over what they hold. Return whether any of them could be read."""
        unreadable = 0
        ticks: list[Tick] = []
        quotes: list[Quote] = []
        baselines: list[Baseline] = []
        self.counts["received"] += len(packets)
        parsed = parse_all([data for _, data in packets])
        for (received_ms, _), packet in zip(packets, parsed, strict=True):
            if isinstance(packet, PacketError):
                self.counts[str(packet)] += 1
                unreadable += 1
                whole_until_ms = self.newest_ms - LAG_MS * self._standby  # the other connection may be ahead so much
                self._suspects.begin(self._sources.of(connection), str(packet), whole_until_ms)
                continue
            if self._standby and not self._chosen(connection, packet, received_ms):
                continue
            if self._gap_from_ms is not None:
                self._resume(connection, received_ms)
            tick, quote, baseline, suspicion = self._translator.translate(packet, received_ms)
            if tick is not None:
                ticks.append(tick)
                self._judge(tick, suspicion)
            elif quote is not None:
                self._suspects.settle(quote.instrument, received_ms)
            if quote is not None:
                quotes.append(quote)
            if baseline is not None:
                baselines.append(baseline)
        if baselines:
            self._live.rebase(baselines)
        if ticks:
            self._live.add(ticks, received_ms=packets[0].received_ms)
        self._live.quote(quotes)
        self._report_suspects(connection)
        return len(packets) > unreadable

    def _chosen(self, connection: int, packet: Fields, received_ms: int) -> bool:
        """Say whether a packet is the source's. One of no instrument of these is counted further on."""
        _, _, _, _, exchange_ms, price = packet[HEAD]
        instrument = self._translator.instrument(packet)
        if instrument is None or price <= 0:
            return True
        chosen, why, missed_ms = self._sources.choose(
            instrument, connection, exchange_ms=exchange_ms, received_ms=received_ms
        )
        if why:
            self.counts[why] += 1
            self._suspects.begin([instrument], why, missed_ms)
        elif not chosen:
            self.counts["standby"] += 1
        return chosen

    def _judge(self, tick: Tick, suspicion: str) -> None:
        """Note how far all is right, and what isn't."""
        if suspicion:
            self._suspects.begin([tick.instrument], suspicion, min(tick.time_ms, self.newest_ms))
        else:
            self._suspects.settle(tick.instrument, tick.time_ms)
            self.newest_ms = max(self.newest_ms, tick.time_ms)

    def _report_suspects(self, connection: int) -> None:
        if (settled := self._suspects.settled()) is not None:
            gap = settled.gap
            self._live.interrupt(gap)
            self._events.record(
                FeedEventKind.SUSPECT,
                settled.why,
                socket=connection,
                from_ms=gap.from_ms,
                to_ms=gap.to_ms,
                instruments=len(gap.instruments),
            )
        if (begun := self._suspects.begun()) is not None:
            self._live.interrupt(begun)

    def _down(self, connection: int) -> None:
        """Note what a connection that is down has missed before."""
        for instrument, missed_ms in self._sources.closed(connection).items():
            self._suspects.begin([instrument], LATE, missed_ms)
        self._report_suspects(connection)

    def _interrupt(self, why: str) -> None:
        """Begin a gap where the newest tick was, unless there is one already."""
        if self._gap_from_ms is None:
            self._gap_from_ms = self.newest_ms
            self._live.interrupt(Gap(self._instruments, self.newest_ms))
            logger.info("%d instruments miss data: %s", len(self._instruments), why)

    def _resume(self, connection: int, at_ms: int) -> None:
        """End the gap: the first packet is there, and it is the state after it."""
        from_ms, self._gap_from_ms = self._gap_from_ms, None
        assert from_ms is not None
        to_ms = max(at_ms, from_ms) + 1  # the first packet is still of the gap: its volume is not its own alone
        self._live.interrupt(Gap(self._instruments, from_ms, to_ms))
        # Until something of an instrument has come, it is not known to have come back.
        self._suspects.miss(self._instruments, to_ms)
        self._events.record(
            FeedEventKind.GAP, socket=connection, from_ms=from_ms, to_ms=to_ms, instruments=len(self._instruments)
        )
        self._events.record(FeedEventKind.RESUMED, socket=connection)
