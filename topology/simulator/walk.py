"""A random walk as a source: every minute of it can be found without those before it. Pure.

The price at the start of a minute is a sum of random curves with periods from a minute to days: together they look like
a walk, which comes back to the start price over the years. The prints of a minute lead from its start to that of the
next, through a high and a low. So candles of any day in the past are found as fast as those of now, and agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from random import Random
from typing import NamedTuple

from topology.market import Calendar, Candle
from topology.market.calendar import Span, indian_day
from topology.market.instruments import default_class
from topology.simulator.curve import PRICE_STEP, Curve, mixed
from topology.simulator.listings import SimulatedListing
from topology.simulator.source import MINUTE_MS, Print

_WICK = 0.000_3  # how far high and low lie outside of open and close, at most
_MINUTE_VALUE = 15_000_000_00  # paise that are traded in a minute, about
_BEFORE_OPEN, _AFTER_CLOSE = 15, 10  # minutes with a print each before a session opens and after it closes
_LOOK_BACK = 20_000  # minutes with a session that are searched for a last print

_SCALE = 1 / (1 << 24)
_NEVER_MS = 1 << 62


class _Minute(NamedTuple):
    """What is known of a minute before its prints are made: how many, and their candle."""

    minute: int
    prints: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    first: bool  # whether a session opens with it: its first print adds no volume


class Walk:
    """Prints of ``listings`` at ``rate`` a second, all together, while ``calendar`` has a session of their class.

    Before the open and after the close there is a print a minute. The same listings, seed, rate and calendar give the
    same prints. The walk ends where its calendar does.
    """

    def __init__(self, listings: Sequence[SimulatedListing], *, seed: int, rate: float, calendar: Calendar) -> None:
        self.listings = listings
        self.calendar = calendar
        self._per_minute = 60 * rate / len(listings)
        self._keys = [mixed(seed, index) for index in range(len(listings))]
        self._classes = [default_class(listing.instrument) for listing in listings]
        self._curves = [Curve(listing.start_price, key) for listing, key in zip(listings, self._keys, strict=True)]
        self._spans: dict[str, Span] = {}

    def market_ms(self, now_ms: int) -> int:
        """Give the market's time: that of the clock."""
        return now_ms

    def play(self, after_ms: int) -> Iterator[Print]:
        """Yield the prints of all instruments after a time, by time and then by instrument."""
        return merge(*(self._endless(index, after_ms) for index in range(len(self.listings))))

    def prints(self, index: int, from_ms: int, until_ms: int) -> Iterable[Print]:
        """Give the prints of one instrument in ``[from_ms, until_ms)``, in order."""
        for minute, span in self._minutes(index, from_ms // MINUTE_MS, until_ms):
            for print_ in self._prints(index, minute, span):
                if from_ms <= print_.time_ms < until_ms:
                    yield print_

    def last(self, index: int, before_ms: int) -> Print | None:
        """Give the newest print of an instrument before a time."""
        minute = (before_ms - 1) // MINUTE_MS
        for _ in range(_LOOK_BACK):
            span = self._span(index, minute * MINUTE_MS)
            if span is None:
                return None
            if span.session is None and not self._quiet(index, minute, span):
                minute = min(minute, span.from_ms // MINUTE_MS + _AFTER_CLOSE) - 1
                continue
            before = [p for p in self._prints(index, minute, span) if p.time_ms < before_ms]
            if before:
                return before[-1]
            minute -= 1
        return None

    def candles(self, index: int, from_ms: int, until_ms: int) -> list[Candle]:
        """Give the candles of one minute that start in ``[from_ms, until_ms)``, in order."""
        first = -(-from_ms // MINUTE_MS)
        instrument, made = self.listings[index].instrument, []
        for minute, span in self._minutes(index, first, until_ms):
            if span.session is not None:
                found = self._minute(index, minute, span)
                if found.prints:
                    start_ms = minute * MINUTE_MS
                    made.append(Candle(instrument, 60, start_ms, *found[2:7], found.prints))
        return made

    def outside(self, index: int, from_ms: int, until_ms: int) -> int:
        """Give 0: the first print of a session has no quantity, nor have those outside of it."""
        del index, from_ms, until_ms
        return 0

    def _endless(self, index: int, after_ms: int) -> Iterator[Print]:
        for minute, span in self._minutes(index, after_ms // MINUTE_MS, _NEVER_MS):
            for print_ in self._prints(index, minute, span):
                if print_.time_ms > after_ms:
                    yield print_

    def _minutes(self, index: int, minute: int, until_ms: int) -> Iterator[tuple[int, Span]]:
        """Yield the minutes in which an instrument may have a print."""
        while (time_ms := minute * MINUTE_MS) < until_ms and (span := self._span(index, time_ms)) is not None:
            if span.session is not None or self._quiet(index, minute, span):
                yield minute, span
                minute += 1
            else:
                minute = max(minute + 1, span.until_ms // MINUTE_MS - _BEFORE_OPEN)

    def _span(self, index: int, time_ms: int) -> Span | None:
        """Give the session around a time, or the interval without one; None where the calendar ends."""
        name = self._classes[index]
        span = self._spans.get(name)
        if span is None or not span.from_ms <= time_ms < span.until_ms:
            if not self.calendar.covered(indian_day(time_ms)):
                return None
            span = self._spans[name] = self.calendar.span(name, time_ms)
        return span

    def _quiet(self, index: int, minute: int, span: Span) -> bool:
        """Whether a minute of a closed interval is shortly before a session, or shortly after one."""
        if minute < span.from_ms // MINUTE_MS + _AFTER_CLOSE and self._in_session(index, span.from_ms - 1):
            return True
        return minute >= span.until_ms // MINUTE_MS - _BEFORE_OPEN and self._in_session(index, span.until_ms)

    def _in_session(self, index: int, time_ms: int) -> bool:
        if not self.calendar.covered(indian_day(time_ms)):
            return False
        return self.calendar.span(self._classes[index], time_ms).session is not None

    def _minute(self, index: int, minute: int, span: Span) -> _Minute:
        listing, number = self.listings[index], mixed(self._keys[index], minute)
        first = span.session is not None and minute * MINUTE_MS == span.session.open_ms
        whole = int(self._per_minute)
        count = max(whole + ((number & 0xFFFFFF) * _SCALE < self._per_minute - whole), 1 if first else 0)
        price = self._curves[index].price
        open_, close = price(minute), price(minute + 1)
        reach = int(listing.start_price * _WICK / PRICE_STEP) + 1
        high = max(open_, close) + (number >> 24 & 0xFFF) * reach // 0xFFF * PRICE_STEP
        low = max(min(open_, close) - (number >> 36 & 0xFFF) * reach // 0xFFF * PRICE_STEP, PRICE_STEP)
        volume = 0
        if listing.traded and count > first:
            volume = count + (number >> 48) * _MINUTE_VALUE // listing.start_price // 0x8000
        if count < 4:  # too few prints for all four prices
            close = close if count > 1 else open_
            high, low = max(open_, close, high if count == 3 else 0), min(open_, close)
        return _Minute(minute, count, open_, high, low, close, volume, first)

    def _prints(self, index: int, minute: int, span: Span) -> Iterator[Print]:
        if span.session is None:
            until = span.until_ms // MINUTE_MS
            price = self._curves[index].price(until if minute >= until - _BEFORE_OPEN else span.from_ms // MINUTE_MS)
            offset_ms = mixed(self._keys[index], minute) % MINUTE_MS
            yield Print(minute * MINUTE_MS + offset_ms, index, price, 0, False)
            return
        found = self._minute(index, minute, span)
        if not found.prints:
            return
        random = Random(mixed(self._keys[index], minute, 2)).random
        prices, volumes = _prices(found, random), _volumes(found, random)
        start_ms, step_ms = minute * MINUTE_MS, MINUTE_MS / found.prints
        for number in range(found.prints):
            yield Print(start_ms + int((number + random()) * step_ms), index, prices(number), volumes(number), True)


def _prices(found: _Minute, random: Callable[[], float]) -> Callable[[int], int]:
    """Give the price of each print of a minute: first and last are its open and close, one is its high, one its low."""
    last, high, low = found.prints - 1, found.high, found.low
    fixed = {0: found.open, last: found.close}
    if last == 2:
        fixed[1] = high
    elif last > 2:
        one = 1 + int(random() * (last - 1))
        other = 1 + (one + int(random() * (last - 2))) % (last - 1)
        fixed[one], fixed[other] = high, low
    steps = (high - low) // PRICE_STEP + 1

    def price(number: int) -> int:
        known = fixed.get(number)
        return low + int(random() * steps) * PRICE_STEP if known is None else known

    return price


def _volumes(found: _Minute, random: Callable[[], float]) -> Callable[[int], int]:
    """Give the quantity of each print; together they are the volume of the minute."""
    prints = found.prints - found.first
    each = found.volume // max(prints, 1)
    left = found.volume - each * prints
    moved = 0

    def quantity(number: int) -> int:
        nonlocal moved
        if not each or (found.first and number == 0):
            return 0
        last = number == found.prints - 1
        if moved or last:  # what the print before took away or left over
            quantity, moved = each - moved + (left if last else 0), 0
            return quantity
        moved = int((random() * 2 - 1) * (each - 1))
        return each + moved

    return quantity
