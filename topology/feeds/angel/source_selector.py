"""Which of two connections is the source of an instrument, where one stands by. Pure: times are passed in.

Both bring the same instruments, but each conflates on its own: mixed, their packets would be out of order. So one of
them is the source, and what the other brings is only looked at: its time says what the source should have brought.
The other becomes the source when the source is down, or silent for `SILENT_MS` since the other brought something newer,
or late by more than `LAG_MS`; and not within `APART_MS` of the last time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from topology.feeds.angel.translator import AHEAD_MS, OLD_MS
from topology.market.times import LONG_AGO

SILENT_MS = 1500
LAG_MS = 1000
APART_MS = 5000

SWITCHED, LATE = "switched", "late"


class Choice(NamedTuple):
    """Whether a packet is the source's, and so to be used.

    ``why`` is ``switched`` or ``late`` where something was missed from ``missed_ms`` on, up to this packet.
    """

    used: bool
    why: str = ""
    missed_ms: int = LONG_AGO


USED, LOOKED_AT = Choice(True), Choice(False)


class _InstrumentSource:
    """The source of one instrument. Times are those of packets, those that end in ``_at_ms`` are of receipt."""

    __slots__ = (
        "connection",
        "down",
        "late",
        "missed_ms",
        "newest_ms",
        "other_ms",
        "reached_ms",
        "switched_at_ms",
        "waits_at_ms"
    )  # fmt: skip

    def __init__(
        self, connection: int | None = None, newest_ms: int = LONG_AGO, switched_at_ms: int = LONG_AGO
    ) -> None:
        self.connection = connection  # None until one has brought a packet
        self.reached_ms = self.newest_ms = (
            newest_ms  # of its packets; `newest_ms` where a wrong time is that of receipt
        )
        self.other_ms = LONG_AGO  # the newest packet of the other connection
        self.missed_ms: int | None = None  # the first one of the other that the source has not caught up with
        self.waits_at_ms: int | None = None  # since when the source has brought nothing new, though the other has
        self.late = False
        self.down = False  # until it says something again
        self.switched_at_ms = switched_at_ms

    @property
    def whole_until_ms(self) -> int:
        """Up to when nothing is missing. The connections are apart a little: the other may have brought it later."""
        return self.reached_ms if self.missed_ms is None else max(self.reached_ms, self.missed_ms - LAG_MS)

    def process(self, time_ms: int, reached_ms: int, at_ms: int) -> Choice:
        """Process a packet of the source."""
        self.newest_ms = max(self.newest_ms, time_ms)
        was_down, self.down = self.down, False
        if reached_ms <= self.reached_ms:
            return USED
        whole_until_ms = self.whole_until_ms
        waited = self.waits_at_ms is not None and at_ms - self.waits_at_ms > LAG_MS
        self.reached_ms, self.waits_at_ms = reached_ms, None
        self.late = self.other_ms - reached_ms > LAG_MS
        if reached_ms >= self.other_ms:
            self.missed_ms = None
        return Choice(True, LATE, whole_until_ms) if waited or self.late or was_down else USED

    def look(self, time_ms: int, at_ms: int) -> Choice:
        """Look at a packet of the other connection. It is used where the source is down, silent or late."""
        first, self.other_ms = self.other_ms == LONG_AGO, max(self.other_ms, time_ms)
        if time_ms <= self.reached_ms:
            return LOOKED_AT
        if self.missed_ms is None or time_ms < self.missed_ms:
            self.missed_ms = self.reached_ms if first else time_ms  # the first doesn't show what was there before it
        if self.waits_at_ms is None:
            self.waits_at_ms = at_ms
        silent = at_ms - self.waits_at_ms >= SILENT_MS
        due = (self.down or silent or self.late) and at_ms - self.switched_at_ms >= APART_MS
        return Choice(True, SWITCHED, self.whole_until_ms) if due and time_ms > self.newest_ms else LOOKED_AT


class SourceSelector:
    """The source of each of these instruments, and which connections are up. With one there is nothing to choose."""

    def __init__(self, instruments: Iterable[str]) -> None:
        self._sources = {instrument: _InstrumentSource() for instrument in instruments}
        self._up: set[int] = set()

    @property
    def up(self) -> list[int]:
        """The connections that are up."""
        return sorted(self._up)

    def opened(self, connection: int) -> None:
        """Note that a connection is up."""
        self._up.add(connection)
        for source in self._sources.values():
            if source.connection != connection:
                source.other_ms = LONG_AGO

    def closed(self, connection: int) -> dict[str, int]:
        """Note that a connection is down. Return of which instruments it has missed something, and since when.

        With the last one every instrument is without a source.
        """
        self._up.discard(connection)
        missed = {}
        for instrument, source in self._sources.items():
            if source.connection == connection:
                source.down = True
                if source.missed_ms is not None:
                    missed[instrument] = source.whole_until_ms
        if not self._up:
            self._sources = {instrument: _InstrumentSource() for instrument in self._sources}
        return missed

    def without(self) -> list[str]:
        """Return the instruments that have no source, since nothing has come of them."""
        return [instrument for instrument, source in self._sources.items() if source.connection is None]

    def of(self, connection: int) -> list[str]:
        """Return the instruments that this connection is the source of, or may be."""
        return [instrument for instrument, source in self._sources.items() if source.connection in (connection, None)]

    def choose(self, instrument: str, connection: int, *, exchange_ms: int, received_ms: int) -> Choice:
        """Say whether a packet is to be used. One whose exchange time can't be true replaces no source that is up."""
        source = self._sources[instrument]
        if source.connection is None:
            source.connection = connection
        old, early = exchange_ms < received_ms - OLD_MS, exchange_ms > received_ms + AHEAD_MS
        time_ms = received_ms if old or early else exchange_ms
        if source.connection == connection:
            return source.process(time_ms, LONG_AGO if early else exchange_ms, received_ms)
        if (old or early) and not source.down:
            return LOOKED_AT
        choice = source.look(time_ms, received_ms)
        if choice.used:
            self._sources[instrument] = _InstrumentSource(connection, time_ms, received_ms)
        return choice
