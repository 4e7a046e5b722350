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
from topology.simulator.listings import Listing
from topology.simulator.source import MINUTE_MS, Print

_PRICE_STEP = 5
_PERIODS = (1, 4, 16, 64, 256, 1024, 4096, 16384)  # of the curves, in minutes
_SIZES = tuple(0.000_2 * 2**number for number in range(len(_PERIODS)))  # a walk: four times the time, twice the way
_WICK = 0.000_3  # how far high and low lie outside of open and close, at most
_MINUTE_VOLUME = 6_000
_BEFORE_OPEN, _AFTER_CLOSE = 15, 10  # minutes with a print each before a session opens and after it closes
_LOOK_BACK = 20_000  # minutes with a session that are searched for a last print

_MASK = (1 << 64) - 1
_SCALE = 1 / (1 << 64)


def mixed(*parts: int) -> int:
    """Mix whole numbers into one of 64 bits that looks random (the finaliser of splitmix64 over each part).

    >>> mixed(1, 2) == mixed(1, 2), mixed(1, 2) == mixed(2, 1)
    (True, False)
    """
    value = 0x9E3779B97F4A7C15
    for part in parts:
        value = (value ^ part) * 0xBF58476D1CE4E5B9 & _MASK
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
        value ^= value >> 31
    return value


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

    def __init__(self, listings: Sequence[Listing], *, seed: int, rate: float, calendar: Calendar) -> None:
        self.listings = listings
        self.calendar = calendar
        self._per_minute = 60 * rate / len(listings)
        self._keys = [mixed(seed, index) for index in range(len(listings))]
        self._classes = [default_class(listing.instrument) for listing in listings]
        self._curves = [[(-1, 0.0, 0.0)] * len(_PERIODS) for _ in listings]
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
            if not self.calendar.covered(indian_day(minute * MINUTE_MS)):
                return None
            span = self._span(index, minute * MINUTE_MS)
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
        for minute, span in self._minutes(index, after_ms // MINUTE_MS, _MASK):
            for print_ in self._prints(index, minute, span):
                if print_.time_ms > after_ms:
                    yield print_

    def _minutes(self, index: int, minute: int, until_ms: int) -> Iterator[tuple[int, Span]]:
        """Yield the minutes in which an instrument may have a print."""
        while (time_ms := minute * MINUTE_MS) < until_ms and self.calendar.covered(indian_day(time_ms)):
            span = self._span(index, time_ms)
            if span.session is not None or self._quiet(index, minute, span):
                yield minute, span
                minute += 1
            else:
                minute = max(minute + 1, span.until_ms // MINUTE_MS - _BEFORE_OPEN)

    def _span(self, index: int, time_ms: int) -> Span:
        name = self._classes[index]
        span = self._spans.get(name)
        if span is None or not span.from_ms <= time_ms < span.until_ms:
            span = self._spans[name] = self.calendar.span(name, time_ms)
        return span

    def _quiet(self, index: int, minute: int, span: Span) -> bool:
        """Whether a minute of a closed stretch is shortly before a session, or shortly after one."""
        if minute < span.from_ms // MINUTE_MS + _AFTER_CLOSE and self._in_session(index, span.from_ms - 1):
            return True
        return minute >= span.until_ms // MINUTE_MS - _BEFORE_OPEN and self._in_session(index, span.until_ms)

    def _in_session(self, index: int, time_ms: int) -> bool:
        if not self.calendar.covered(indian_day(time_ms)):
            return False
        return self.calendar.span(self._classes[index], time_ms).session is not None

    def _minute(self, index: int, minute: int, span: Span) -> _Minute:
        listing, key = self.listings[index], mixed(self._keys[index], minute)
        first = span.session is not None and minute * MINUTE_MS == span.session.open_ms
        whole = int(self._per_minute)
        count = max(whole + (key * _SCALE < self._per_minute - whole), 1 if first else 0)
        open_, close = self._price(index, minute), self._price(index, minute + 1)
        other = mixed(key, 1)
        reach = listing.start_price * _WICK / _PRICE_STEP
        high = max(open_, close) + int((other & 0xFFFF) / 0xFFFF * reach) * _PRICE_STEP
        low = max(min(open_, close) - int((other >> 16 & 0xFFFF) / 0xFFFF * reach) * _PRICE_STEP, _PRICE_STEP)
        volume = 0
        if listing.traded and count > first:
            volume = count + (other >> 32) * _MINUTE_VOLUME * 2 // (1 << 32) * 24_500_00 // (listing.start_price * 10)
        if count < 4:  # too few prints for all four prices
            close = close if count > 1 else open_
            high, low = max(open_, close, high if count == 3 else 0), min(open_, close)
        return _Minute(minute, count, open_, high, low, close, volume, first)

    def _price(self, index: int, minute: int) -> int:
        curves, key, around = self._curves[index], self._keys[index], 1.0
        for number, period in enumerate(_PERIODS):
            knot, into = divmod(minute, period)
            curve = curves[number]
            if curve[0] != knot:
                curve = curves[number] = (knot, _knot(key, number, knot), _knot(key, number, knot + 1))
            around += _SIZES[number] * (curve[1] + (curve[2] - curve[1]) * into / period)
        return max(round(self.listings[index].start_price * around / _PRICE_STEP), 1) * _PRICE_STEP

    def _prints(self, index: int, minute: int, span: Span) -> Iterator[Print]:
        if span.session is None:
            until = span.until_ms // MINUTE_MS
            price = self._price(index, until if minute >= until - _BEFORE_OPEN else span.from_ms // MINUTE_MS)
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


def _knot(key: int, number: int, knot: int) -> float:
    return mixed(key, number, knot) * _SCALE * 2 - 1


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
    steps = (high - low) // _PRICE_STEP + 1

    def price(number: int) -> int:
        known = fixed.get(number)
        return low + int(random() * steps) * _PRICE_STEP if known is None else known

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
