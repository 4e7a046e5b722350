"""A tick: one price of one instrument at one moment, as the exchange reported it."""

from __future__ import annotations

import msgspec


class Tick(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A last traded price.

    ``instrument`` is exchange and token (``"NSE:99926000"``); ``price`` is in the exchange's minor unit (paise);
    ``time_ms`` is exchange time in milliseconds since the epoch, UTC. ``day_volume`` is the quantity traded since
    the start of the day (None where the source has no volume, as for an index), ``quantity`` that of the last trade.
    """

    instrument: str
    price: int
    time_ms: int
    day_volume: int | None = None
    quantity: int | None = None
