"""A quote: what the exchange reports of an instrument beside its last trade."""

from __future__ import annotations

import msgspec

from topology.market.ticks import Price, Quantity


class Quote(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The newest state of an instrument at ``time_ms``; None where the source has none.

    Prices are in the exchange's minor unit, times in milliseconds since the epoch, UTC. ``bid`` and ``ask`` are the
    best prices, ``previous_close`` is that of the day before, the other prices are those of the day so far.
    """

    instrument: str
    time_ms: int
    price: Price
    day_volume: Quantity | None = None
    open: Price | None = None
    high: Price | None = None
    low: Price | None = None
    previous_close: Price | None = None
    average_price: Price | None = None
    bid: Price | None = None
    bid_quantity: Quantity | None = None
    ask: Price | None = None
    ask_quantity: Quantity | None = None
    open_interest: Quantity | None = None
    upper_circuit: Price | None = None
    lower_circuit: Price | None = None
    last_traded_ms: int | None = None
