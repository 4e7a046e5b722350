"""The broker's instrument master as it would list the simulated exchange. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from topology.simulator.listings import SimulatedListing


def master(listings: Iterable[SimulatedListing]) -> bytes:
    """Write the master: one JSON array of objects whose values are all text, as the broker's file has it."""
    return msgspec.json.encode([row(listing) for listing in listings])


def row(listing: SimulatedListing) -> dict[str, str]:
    """Give the row of an instrument. A strike is in paise, -1 where there is none for a stock, 0 for an index."""
    strike = float(listing.strike) if listing.kind else -1.0
    return {
        "token": listing.token,
        "symbol": listing.symbol,
        "name": listing.name,
        "expiry": f"{listing.expiry:%d%b%Y}".upper() if listing.expiry else "",
        "strike": f"{strike:.6f}",
        "lotsize": str(listing.lot),
        "instrumenttype": listing.kind,
        "exch_seg": listing.exchange,
        "tick_size": "5.000000",
    }
