"""A source: what is printed on the simulated exchange, in time order, and the candles that follow from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from topology.market import Calendar, Candle
from topology.simulator.listings import SimulatedListing

MINUTE_MS = 60_000


class Print(NamedTuple):
    """A price that the exchange reports, with the quantity that was traded since the one before (0 for an index).

    ``listing_index`` is the instrument's among the source's listings. ``trading`` is false before the open and after
    the close, where a print is shown but belongs to no candle. ``outside`` is a quantity that belongs to none either:
    what was traded before the first print of a session. Prices are paise, times milliseconds since the epoch.
    """

    time_ms: int
    listing_index: int
    price: int
    quantity: int
    trading: bool
    outside: int = 0


class Source(Protocol):
    """Where prints come from. What it gives of a time is the same however often and in whatever order."""

    @property
    def listings(self) -> Sequence[SimulatedListing]:
        """The instruments; a print's ``listing_index`` is one in it."""

    @property
    def calendar(self) -> Calendar:
        """When which of them trades."""

    def market_ms(self, now_ms: int) -> int:
        """Give the market's time at a time of the simulator's clock; what was printed up to it is due."""

    def play(self, after_ms: int) -> Iterator[Print]:
        """Yield the prints of all instruments after a market time, by time and then by instrument."""

    def prints(self, index: int, from_ms: int, until_ms: int) -> Iterable[Print]:
        """Give the prints of one instrument in ``[from_ms, until_ms)``, in order."""

    def last(self, index: int, before_ms: int) -> Print | None:
        """Give the newest print of an instrument before a time, None where there is none."""

    def candles(self, index: int, from_ms: int, until_ms: int) -> list[Candle]:
        """Give the candles of one minute that start in ``[from_ms, until_ms)``, in order, of trading prints alone."""

    def outside(self, index: int, from_ms: int, until_ms: int) -> int:
        """Give the quantity of an instrument's prints in ``[from_ms, until_ms)`` that no candle has."""


def minute_candles(instrument: str, prints: Iterable[Print]) -> list[Candle]:
    """Make the candles of one minute of an instrument's trading prints, which come in order.

    >>> minute_candles("NSE:2885", [Print(60_000, 0, 105, 7, True), Print(61_000, 0, 100, 3, True)])[0].volume
    10
    """
    made: list[Candle] = []
    for print_ in prints:
        if not print_.trading:
            continue
        start_ms = print_.time_ms - print_.time_ms % MINUTE_MS
        price = print_.price
        if made and made[-1].start_ms == start_ms:
            old = made.pop()
            high, low = max(old.high, price), min(old.low, price)
            volume, count = old.volume + print_.quantity, old.count + 1
            made.append(Candle(instrument, 60, start_ms, old.open, high, low, price, volume, count))
        else:
            made.append(Candle(instrument, 60, start_ms, price, price, price, price, print_.quantity, 1))
    return made


def candles_until(source: Source, index: int, from_ms: int, until_ms: int) -> list[Candle]:
    """Give the candles of one minute from ``from_ms`` to ``until_ms``, the last one of what was printed before it."""
    whole_ms = until_ms - until_ms % MINUTE_MS
    made = source.candles(index, from_ms, whole_ms) if from_ms < whole_ms else []
    rest = source.prints(index, max(from_ms, whole_ms), until_ms)
    return made + minute_candles(source.listings[index].instrument, rest)
