"""A tick: one price of one instrument at one moment, as the exchange reported it."""

from __future__ import annotations

from typing import Annotated

import msgspec

LARGEST = 2**63 - 1  # what a column of SQLite and a machine integer hold

Price = Annotated[int, msgspec.Meta(gt=0, le=LARGEST)]
Quantity = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]


class Tick(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A last traded price.

    ``instrument`` is exchange and token (``"NSE:99926000"``); ``price`` is in the exchange's minor unit (paise);
    ``time_ms`` is exchange time in milliseconds since the epoch, UTC. ``day_volume`` is the quantity traded since
    the start of the day (None where the source has no volume, as for an index), ``quantity`` that of the last trade.
    ``high`` and ``low`` are a new high or low of the day that was traded since the instrument's tick before, where the
    source has one that no tick has shown.
    Decoding refuses a price that isn't positive, a negative quantity, and either above ``LARGEST``.
    """

    instrument: str
    price: Price
    time_ms: int
    day_volume: Quantity | None = None
    quantity: Quantity | None = None
    high: Price | None = None
    low: Price | None = None
