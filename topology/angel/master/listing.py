"""A row of the broker's instrument master, read as a listing. Pure.

All fields of a row are strings. Strikes are given in the exchange's minor unit: paise, in the currency segment
1/10,000,000 rupee, as the prices of its feed. ``-1.000000`` and ``0.000000`` stand for none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from topology.market.instruments import Instrument, InstrumentError, default_class, price_divisor

SEGMENTS = {
    "NSE": "NSE",
    "NFO": "NFO",
    "BSE": "BSE",
    "BFO": "BFO",
    "MCX": "MCX",
    "NCDEX": "NCX",
    "CDS": "CDE",
}
"""Our exchange segments by the names of the master. Its NCO, NSE's commodities, has no number in the feed."""

CASH = ("NSE", "BSE")
STOCK_SERIES = ("EQ", "BE", "BZ", "SM", "ST")
"""NSE's series of shares: rolling settlement, trade to trade (two), small and medium enterprises (two)."""

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

LARGEST = 2**53
"""Of strikes and the like; what is above is no number of this field."""

_INDEX_TYPES = ("AMXIDX", "INDEX")
_EXPIRY = re.compile(r"([0-9]{2})([A-Z]{3})([0-9]{4})")
_SERIES = re.compile(r"(.+)-([A-Z0-9]{2})")


class ListingError(ValueError):
    """A row that makes no listing; the message is a short, stable reason to count by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the master says of an instrument.

    A price, ``strike`` and ``tick_size`` are whole numbers of 1/``price_divisor`` rupee; None where there is none.
    ``instrument_type`` is the broker's (``OPTIDX``; empty for the cash segment), ``instrument_class`` ours: that of
    `default_class`, ``index`` by type too, and ``equity_cas`` for stocks that have derivatives, which takes the whole
    master to know.
    """

    instrument: Instrument
    symbol: str
    name: str
    expiry: date | None
    strike: int | None
    lot_size: int
    tick_size: int | None
    instrument_type: str
    price_divisor: int
    instrument_class: str

    @property
    def stock(self) -> str:
        """The symbol of a share without its series; empty for what is no share.

        The BSE has no series: there it is whatever has the same symbol and name.
        """
        if self.instrument_class == "index" or self.instrument.exchange not in CASH:
            return ""
        if self.instrument.exchange == "BSE":
            return self.symbol if self.symbol == self.name else ""
        parts = _SERIES.fullmatch(self.symbol)
        return parts[1] if parts and parts[2] in STOCK_SERIES else ""


def rupees(price: int, divisor: int) -> str:
    """Return a price in rupees, with no more decimals than it has.

    >>> rupees(2_500_000, 100), rupees(832_500_000, 10_000_000)
    ('25000', '83.25')
    """
    return f"{price / divisor:.7f}".rstrip("0").rstrip(".")


def read_row(row: Mapping[str, object]) -> Listing:
    """Read a row. Raises ListingError: ``segment NCO``, ``token that is no number``, ``broken row``."""
    segment = _text(row, "exch_seg")
    exchange = SEGMENTS.get(segment)
    if exchange is None:
        raise ListingError(f"segment {segment[:10]}" if segment else "broken row")
    divisor = price_divisor(exchange)
    kind, symbol = _text(row, "instrumenttype"), _text(row, "symbol")
    try:
        instrument = Instrument.parse(f"{exchange}:{_text(row, 'token')}")
    except InstrumentError:
        raise ListingError("token that is no number") from None
    try:
        return Listing(
            instrument=instrument,
            symbol=symbol or _missing(),
            name=_text(row, "name") or symbol,
            expiry=_expiry(_text(row, "expiry")),
            strike=_whole(_text(row, "strike")),
            lot_size=_whole(_text(row, "lotsize")) or 1,
            tick_size=_tick_size(_text(row, "tick_size"), divisor),
            instrument_type=kind,
            price_divisor=divisor,
            instrument_class="index" if kind in _INDEX_TYPES and exchange in CASH else default_class(str(instrument)),
        )
    except (ValueError, OverflowError):
        raise ListingError("broken row") from None


def _text(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    return "" if value is None else " ".join(str(value).split())


def _missing() -> str:
    raise ValueError


def _expiry(text: str) -> date | None:
    if not text:
        return None
    parts = _EXPIRY.fullmatch(text.upper())
    if parts is None:
        raise ValueError
    return date(int(parts[3]), MONTHS.index(parts[2]) + 1, int(parts[1]))


def _whole(text: str) -> int | None:
    """Return a number, of which the master writes six decimals; None for nothing, zero and below."""
    number = round(float(text)) if text else 0
    if number > LARGEST:
        raise ValueError
    return number if number > 0 else None


def _tick_size(text: str, divisor: int) -> int | None:
    """Return the tick in the unit of the prices: a part of a paisa is one in the currency segment only."""
    paise = float(text) if text else 0.0
    return _whole(str(paise * divisor / 100)) if paise % 1 else _whole(text)
