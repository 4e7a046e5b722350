"""A random walk as a feed: SIMULATED prices for a demonstration, around the price that each instrument starts from."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from random import Random
from typing import NamedTuple

from topology.market.calendar import indian_day
from topology.market.ticks import Tick

STEP = 0.000_05
"""The largest step of a price, as a part of it: 0.005 %."""
REVERSION = 0.001
"""The part of its distance from the start price that a price comes back in a step: 0.1 %."""

_PRICE_STEP_PAISE = 5
_LARGEST_QUANTITY = 400


class Listing(NamedTuple):
    """An instrument of the walk and its start price in paise; an index is not traded and has no volume."""

    instrument: str
    start_price: int
    traded: bool = True


DEMONSTRATION = (
    Listing("NSE:99926000", 24_500_00, traded=False),  # NIFTY 50
    Listing("NSE:2885", 1_400_00),  # RELIANCE
    Listing("NSE:11536", 3_200_00),  # TCS
    Listing("NSE:1333", 1_750_00),  # HDFCBANK
    Listing("NSE:1594", 1_500_00),  # INFY
    Listing("NSE:4963", 1_300_00),  # ICICIBANK
    Listing("NSE:3045", 820_00),  # SBIN
)


class RandomWalk:
    """One tick an instrument and step. The same listings, seed and times give the same ticks.

    Prices are multiples of 5 paise. The day volume of a traded instrument starts again with each Indian day.
    """

    def __init__(self, listings: Iterable[Listing], seed: int) -> None:
        self._random = Random(seed)
        self._prices = {listing: float(listing.start_price) for listing in listings}
        self._day_volumes: dict[Listing, int] = {}
        self._day: date | None = None

    def ticks(self, now_ms: int) -> list[Tick]:
        """Take one step: a tick of every instrument at ``now_ms``, in milliseconds since the epoch."""
        if self._day != indian_day(now_ms):
            self._day = indian_day(now_ms)
            self._day_volumes.clear()
        return [self._tick(listing, now_ms) for listing in self._prices]

    def _tick(self, listing: Listing, now_ms: int) -> Tick:
        price = self._prices[listing]
        price += price * self._random.uniform(-STEP, STEP) + (listing.start_price - price) * REVERSION
        self._prices[listing] = price
        shown = max(round(price / _PRICE_STEP_PAISE), 1) * _PRICE_STEP_PAISE
        if not listing.traded:
            return Tick(listing.instrument, shown, now_ms)
        quantity = self._random.randint(1, _LARGEST_QUANTITY)
        day_volume = self._day_volumes.get(listing, 0) + quantity
        self._day_volumes[listing] = day_volume
        return Tick(listing.instrument, shown, now_ms, day_volume, quantity)
