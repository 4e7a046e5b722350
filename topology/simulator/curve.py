"""A price as a curve over minutes that looks like a walk, and numbers that look random: both found anywhere. Pure."""

from __future__ import annotations

PRICE_STEP = 5
"""Paise; prices are multiples of it."""

_PERIODS = (4, 16, 64, 256, 1024, 4096, 16384)  # of the slow curves, in minutes, each a multiple of the one before
_SIZE = 0.000_2  # of the fastest curve; it has a knot every minute
_SIZES = tuple(
    _SIZE * 2**number for number in range(1, len(_PERIODS) + 1)
)  # a walk: four times the time, twice the way

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


class Curve:
    """The price of an instrument at the start of each minute since the epoch, in paise, around ``start_price``.

    It is a sum of curves through random knots, which lie from a minute to days apart. ``key`` is what decides.
    """

    __slots__ = ("_block", "_key", "_knots", "_minute", "_price", "_slope", "_start_price", "_value")

    def __init__(self, start_price: int, key: int) -> None:
        self._start_price, self._key = start_price, key
        self._block = self._minute = -1
        self._price, self._value, self._slope = 0, 0.0, 0.0
        self._knots = [(-1, 0.0, 0.0)] * len(_PERIODS)  # of each slow curve: where we are, the knots around it

    def price(self, minute: int) -> int:
        """Give the price at the start of a minute; the next minute is found faster than any other."""
        if minute != self._minute:
            block, into = divmod(minute, _PERIODS[0])
            if block != self._block:
                self._enter(block)
            around = self._value + self._slope * into + _SIZE * _knot(self._key, 0, minute)
            self._minute, self._price = minute, max(round(self._start_price * around / PRICE_STEP), 1) * PRICE_STEP
        return self._price

    def _enter(self, block: int) -> None:
        """Within four minutes the slow curves together are one straight line."""
        value, slope, minute = 1.0, 0.0, block * _PERIODS[0]
        for number, period in enumerate(_PERIODS):
            knot, into = divmod(minute, period)
            if self._knots[number][0] != knot:
                left, right = (_knot(self._key, number + 1, at) for at in (knot, knot + 1))
                self._knots[number] = (knot, left, right)
            _, left, right = self._knots[number]
            rise = _SIZES[number] * (right - left) / period
            value += _SIZES[number] * left + rise * into
            slope += rise
        self._block, self._value, self._slope = block, value, slope


def _knot(key: int, number: int, knot: int) -> float:
    return mixed(key, number, knot) * _SCALE * 2 - 1
