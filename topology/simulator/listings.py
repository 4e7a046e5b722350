"""The instruments of the simulated exchange, all made up but for their names and tokens. Pure.

Some stocks have futures and options, so that a program can tell them from those that have none.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from topology.market.instruments import Instrument, default_class

NIFTY = "NSE:99926000"
CATALOGUE_SIZE = 3_000

_TUESDAY = 1  # monthly contracts of the NSE expire on the last Tuesday
_PRICE_STEP = 5
_INDICES = (("99926009", "BANKNIFTY", 55_000_00), ("99926037", "FINNIFTY", 26_000_00))
_STOCKS = (
    ("2885", "RELIANCE", 1_400_00), ("11536", "TCS", 3_200_00), ("1333", "HDFCBANK", 1_750_00),
    ("1594", "INFY", 1_500_00), ("4963", "ICICIBANK", 1_300_00), ("3045", "SBIN", 820_00),
    ("1660", "ITC", 420_00), ("10604", "BHARTIARTL", 1_900_00), ("11483", "LT", 3_600_00),
    ("5900", "AXISBANK", 1_150_00), ("1922", "KOTAKBANK", 2_100_00), ("1394", "HINDUNILVR", 2_450_00),
)  # fmt: skip
_WITHOUT_DERIVATIVES = 2  # of the stocks above, the last ones
_FIRST_DERIVATIVE, _FIRST_NUMBERED = 35_001, 500_001


@dataclass(frozen=True, kw_only=True)
class SimulatedListing:
    """An instrument as the broker's master lists it. ``start_price`` and ``strike`` are paise; ``kind`` is its type.

    Types: ``AMXIDX`` an index, empty a stock, ``FUTIDX FUTSTK OPTSTK`` derivatives, which have an ``expiry``.
    """

    instrument: str
    symbol: str
    name: str
    start_price: int
    kind: str = ""
    expiry: date | None = None
    strike: int = 0
    lot: int = 1

    @property
    def exchange(self) -> str:
        """Its exchange segment, such as ``NSE``."""
        return self.instrument.partition(":")[0]

    @property
    def token(self) -> str:
        """Its token there."""
        return self.instrument.partition(":")[2]

    @property
    def traded(self) -> bool:
        """Whether it has volume and depth: an index has none."""
        return self.kind != "AMXIDX"


def catalogue(day: date) -> list[SimulatedListing]:
    """List the instruments of the simulated exchange, NIFTY 50 first; contracts are those of the month of ``day``."""
    indices = [_index(NIFTY.partition(":")[2], "NIFTY", 24_500_00)]
    stocks = [_stock(token, name, price) for token, name, price in _STOCKS]
    listed = indices + stocks + [_index(*row) for row in _INDICES]
    listed += _derivatives(stocks[:-_WITHOUT_DERIVATIVES], _expiry(day))
    numbered = range(CATALOGUE_SIZE - len(listed))
    return listed + [made_up(f"NSE:{_FIRST_NUMBERED + number}") for number in numbered]


def chosen(wanted: Iterable[str], day: date) -> list[SimulatedListing]:
    """List these instruments, NIFTY 50 first; what the catalogue doesn't know is made up. Raises InstrumentError."""
    listings = {listing.instrument: listing for listing in catalogue(day)}
    names = dict.fromkeys([NIFTY, *(str(Instrument.parse(text.strip())) for text in wanted)])
    return [listings.get(name) or made_up(name) for name in names]


def made_up(instrument: str) -> SimulatedListing:
    """Give an instrument without a name of its own; its price follows from its token."""
    exchange, _, token = instrument.partition(":")
    price = 100_00 + int(token) * 7_919 % 3_900_00 // _PRICE_STEP * _PRICE_STEP
    name = f"SIM{token}"
    if default_class(instrument) == "index":
        return SimulatedListing(instrument=instrument, symbol=name, name=name, start_price=price, kind="AMXIDX")
    symbol = f"{name}-EQ" if exchange == "NSE" else name
    return SimulatedListing(instrument=instrument, symbol=symbol, name=name, start_price=price)


def _index(token: str, name: str, price: int) -> SimulatedListing:
    symbol = "Nifty 50" if name == "NIFTY" else name.title()
    return SimulatedListing(instrument=f"NSE:{token}", symbol=symbol, name=name, start_price=price, kind="AMXIDX")


def _stock(token: str, name: str, price: int) -> SimulatedListing:
    return SimulatedListing(instrument=f"NSE:{token}", symbol=f"{name}-EQ", name=name, start_price=price)


def _derivatives(stocks: list[SimulatedListing], expiry: date) -> list[SimulatedListing]:
    written = f"{expiry:%d%b%y}".upper()
    rows = [("NIFTY", f"NIFTY{written}FUT", 24_560_00, "FUTIDX", 0, 75)]
    for stock in stocks:
        strike = stock.start_price // 20_00 * 20_00
        rows.append((stock.name, f"{stock.name}{written}FUT", stock.start_price + 5_00, "FUTSTK", 0, 250))
        for right in ("CE", "PE"):
            symbol = f"{stock.name}{written}{strike // 100}{right}"
            rows.append((stock.name, symbol, max(stock.start_price // 4_000 * 100, 5_00), "OPTSTK", strike, 250))
    return [
        SimulatedListing(
            instrument=f"NFO:{token}", symbol=symbol, name=name, start_price=price, kind=kind, expiry=expiry,
            strike=strike, lot=lot,
        )
        for token, (name, symbol, price, kind, strike, lot) in enumerate(rows, _FIRST_DERIVATIVE)
    ]  # fmt: skip


def _expiry(day: date) -> date:
    """Give the last Tuesday of the month of a day, of the next month when it has passed."""
    last = day.replace(day=monthrange(day.year, day.month)[1])
    tuesday = last - timedelta(days=(last.weekday() - _TUESDAY) % 7)
    return tuesday if day <= tuesday else _expiry(last + timedelta(days=1))
