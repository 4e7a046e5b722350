"""Recorded ticks as a source: at their own times, moved to another day, or as if they came in now. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import date
from operator import attrgetter

from topology.market import Calendar, Candle, Tick
from topology.market.calendar import Session, indian_day
from topology.market.instruments import default_class
from topology.market.times import midnight_ms
from topology.simulator.listings import SimulatedListing, catalogue, made_up
from topology.simulator.source import Print, minute_candles


class Recording:
    """Prints made of ``ticks``, which stay in memory, sorted by time. ``calendar`` says which of them trade.

    Each tick is printed at its own time, unless ``now_ms`` says when the first one is due; then ``speed`` is how fast
    the recording goes, and each print has the time at which it is due. With ``day`` the prints have the times of the
    recording, moved by whole days so that its first day is this one, and only when they are due follows the clock.
    """

    def __init__(
        self,
        ticks: Iterable[Tick],
        *,
        calendar: Calendar,
        now_ms: int | None = None,
        speed: float = 1.0,
        day: date | None = None,
    ) -> None:
        ordered = sorted(ticks, key=attrgetter("time_ms"))
        first_ms = ordered[0].time_ms if ordered else 0
        self.calendar = calendar
        self._now_ms = now_ms
        self._speed = speed if day is not None else 1.0
        moved_ms = midnight_ms(day) - midnight_ms(indian_day(first_ms)) if day is not None else 0
        self._first_ms = first_ms + moved_ms if day is not None or now_ms is None else now_ms
        pressed = speed if day is None and now_ms is not None else 1.0
        self.listings = _listings(ordered, indian_day(self._first_ms))
        self._all = _prints(
            ordered,
            indexes={listing.instrument: index for index, listing in enumerate(self.listings)},
            time_ms=[self._first_ms + int((tick.time_ms - first_ms) / pressed) for tick in ordered],
            calendar=calendar,
        )
        self._of: list[list[Print]] = [[] for _ in self.listings]
        for print_ in self._all:
            self._of[print_.listing_index].append(print_)
        self._candles = [
            minute_candles(listing.instrument, of) for listing, of in zip(self.listings, self._of, strict=True)
        ]

    def market_ms(self, now_ms: int) -> int:
        """Give the market's time at a time of the clock."""
        if self._now_ms is None:
            return now_ms
        return self._first_ms + int((now_ms - self._now_ms) * self._speed)

    def play(self, after_ms: int) -> Iterator[Print]:
        """Yield the prints after a market time."""
        for index in range(bisect_right(self._all, after_ms, key=_time_ms), len(self._all)):
            yield self._all[index]

    def prints(self, index: int, from_ms: int, until_ms: int) -> Iterable[Print]:
        """Give the prints of one instrument in ``[from_ms, until_ms)``."""
        of = self._of[index]
        return of[bisect_left(of, from_ms, key=_time_ms) : bisect_left(of, until_ms, key=_time_ms)]

    def last(self, index: int, before_ms: int) -> Print | None:
        """Give the newest print of an instrument before a time."""
        of = self._of[index]
        after = bisect_left(of, before_ms, key=_time_ms)
        return of[after - 1] if after else None

    def candles(self, index: int, from_ms: int, until_ms: int) -> list[Candle]:
        """Give the candles of one minute that start in ``[from_ms, until_ms)``."""
        made = self._candles[index]
        return made[bisect_left(made, from_ms, key=_start_ms) : bisect_left(made, until_ms, key=_start_ms)]

    def outside(self, index: int, from_ms: int, until_ms: int) -> int:
        """Give the quantity of an instrument's prints in ``[from_ms, until_ms)`` that no candle has."""
        return sum(p.outside if p.trading else p.quantity for p in self.prints(index, from_ms, until_ms))


_time_ms = attrgetter("time_ms")
_start_ms = attrgetter("start_ms")


def _listings(ticks: list[Tick], day: date) -> list[SimulatedListing]:
    listings = {listing.instrument: listing for listing in catalogue(day)}
    names = dict.fromkeys(tick.instrument for tick in ticks)
    return [listings.get(name) or made_up(name) for name in names]


def _prints(ticks: list[Tick], *, indexes: dict[str, int], time_ms: list[int], calendar: Calendar) -> list[Print]:
    volumes: dict[tuple[int, date], int] = {}
    sessions: dict[int, Session] = {}  # the one that each instrument's newest print lies in
    made: list[Print] = []
    for tick, at_ms in zip(ticks, time_ms, strict=True):
        index, quantity, outside = indexes[tick.instrument], 0, 0
        if tick.day_volume is not None:
            day = (index, indian_day(tick.time_ms))
            before = volumes.get(day, 0)
            quantity = max(tick.day_volume - before, 0)
            volumes[day] = before + quantity
        session = calendar.span(default_class(tick.instrument), at_ms).session
        if session is not None and sessions.get(index) != session:
            sessions[index] = session
            quantity, outside = 0, quantity
        made.append(Print(at_ms, index, tick.price, quantity, session is not None, outside))
    return made
