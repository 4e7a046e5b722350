"""What the exchange shows of an instrument at a moment, and the broker's packets of it. Pure."""

from __future__ import annotations

from topology.feeds.angel.packets import (
    BUY,
    LTP,
    QUOTE,
    SELL,
    TOKEN_SIZE,
    DepthLevel,
    LtpPacket,
    Packet,
    QuotePacket,
    SnapQuotePacket,
    depth_of,
)
from topology.market.instruments import NUMBERS
from topology.market.times import DAY_MS, last_midnight_ms
from topology.simulator.listings import SimulatedListing
from topology.simulator.source import Print, Source, candles_until

_PRICE_STEP = 5
_CIRCUIT_PERCENT = 10
_YEAR_PERCENT = 30
_NO_DEPTH = depth_of([DepthLevel(flag, 0, 0, 0) for flag in (BUY, SELL) for _ in range(5)])


class InstrumentDay:
    """An instrument's day so far, moved on by each print; prices are paise, ``close`` is that of the previous day.

    Open, high and low are 0 until the first trade of the day. Average price, quantities on offer, depth, open
    interest and circuits are made up out of the rest.
    """

    __slots__ = (
        "_day_end_ms", "close", "day_volume", "high", "listing", "low", "number", "open", "price", "quantity",
        "sequence", "time_ms", "token", "traded_ms",
    )  # fmt: skip

    def __init__(self, listing: SimulatedListing) -> None:
        self.listing = listing
        self.number = NUMBERS[listing.exchange]
        self.token = listing.token.encode().ljust(TOKEN_SIZE, b"\0")
        self.price = self.close = listing.start_price
        self.quantity = self.day_volume = self.open = self.high = self.low = 0
        self.sequence = self.time_ms = self.traded_ms = self._day_end_ms = 0

    @classmethod
    def at(cls, source: Source, index: int, time_ms: int) -> InstrumentDay:
        """Give the state of an instrument after all that was printed up to a time, this included."""
        made = cls(source.listings[index])
        start_ms = last_midnight_ms(time_ms)
        made._day_end_ms = start_ms + DAY_MS
        if (before := source.last(index, start_ms)) is not None:
            made.time_ms = before.time_ms
            made.price = made.close = before.price
        for candle in candles_until(source, index, start_ms, time_ms + 1):
            made.open = made.open or candle.open
            made.high, made.low = max(made.high, candle.high), min(made.low or candle.low, candle.low)
            made.day_volume += candle.volume
        made.day_volume += source.outside(index, start_ms, time_ms + 1)
        if (last := source.last(index, time_ms + 1)) is not None and last.time_ms >= start_ms:
            made.time_ms, made.price, made.quantity = last.time_ms, last.price, last.quantity
        while last is not None and not last.trading:  # before the open and after the close prints only show a price
            last = source.last(index, last.time_ms)
        made.traded_ms = last.time_ms if last is not None else 0
        return made

    def apply(self, print_: Print, sequence: int) -> None:
        """Take the next print; ``sequence`` is the number of the exchange's packets so far, which an index lacks."""
        time_ms, _, price, quantity, trading, outside = print_
        if time_ms >= self._day_end_ms:
            self._day_end_ms = last_midnight_ms(time_ms) + DAY_MS
            self.close = self.price
            self.day_volume = self.open = self.high = self.low = 0
        self.time_ms, self.price, self.quantity = time_ms, price, quantity
        self.day_volume += quantity + outside
        if self.listing.traded:
            self.sequence = sequence
        if trading:
            self.traded_ms = time_ms
            if not self.open:
                self.open = self.high = self.low = price
            elif price > self.high:
                self.high = price
            elif price < self.low:
                self.low = price

    @property
    def average_price(self) -> int:
        """The mean of the day's four prices: between its low and its high; 0 where nothing is traded."""
        return (self.open + self.high + self.low + self.price) // 4 if self.day_volume else 0

    @property
    def offered(self) -> tuple[int, int]:
        """The quantities that are bid for and asked for in all."""
        if not self.listing.traded:
            return 0, 0
        mixed = self.day_volume * 7 + self.price
        return 10_000 + mixed % 90_000, 10_000 + mixed * 13 % 90_000

    @property
    def open_interest(self) -> int:
        """The contracts that are open, in units; 0 where it is no derivative."""
        listing = self.listing
        return (10_000 + self.day_volume // (10 * listing.lot)) * listing.lot if listing.expiry else 0

    @property
    def circuits(self) -> tuple[int, int]:
        """The upper and the lower price limit of the day; 0 for an index."""
        if not self.listing.traded:
            return 0, 0
        width = self.close * _CIRCUIT_PERCENT // 100
        return self.close + width, max(self.close - width, _PRICE_STEP)

    @property
    def year(self) -> tuple[int, int]:
        """The highest and the lowest price of the last 52 weeks."""
        width = self.listing.start_price * _YEAR_PERCENT // 100
        high, low = self.listing.start_price + width, self.listing.start_price - width
        return max(high, self.high), min(low, self.low or low)

    def depth(self) -> tuple[list[DepthLevel], list[DepthLevel]]:
        """Give the five best bids and the five best asks, the best first; none of an index."""
        if not self.listing.traded:
            return [], []
        mixed = self.day_volume * 31 + self.price
        rows = [(1 + (mixed >> number) % 900, 1 + (mixed >> number) % 9) for number in range(10)]
        price, step = self.price, _PRICE_STEP
        bids = [DepthLevel(BUY, q, max(price - step * n, step), o) for n, (q, o) in enumerate(rows[:5])]
        asks = [DepthLevel(SELL, q, price + step * (n + 1), o) for n, (q, o) in enumerate(rows[5:])]
        return bids, asks

    def packet(self, mode: int) -> Packet:
        """Give the packet of a mode as things stand."""
        if mode == LTP:
            return LtpPacket(LTP, self.number, self.token, self.sequence, self.time_ms, self.price)
        bid, asked = self.offered
        quote = (
            mode, self.number, self.token, self.sequence, self.time_ms, self.price, self.quantity, self.average_price,
            self.day_volume, float(bid), float(asked), self.open, self.high, self.low, self.close,
        )  # fmt: skip
        if mode == QUOTE:
            return QuotePacket(*quote)
        bids, asks = self.depth()
        depth = depth_of(bids + asks) if bids else _NO_DEPTH
        interest = self.open_interest
        return SnapQuotePacket(*quote, self.traded_ms // 1000, interest, 0, *self.circuits, *self.year, depth)
