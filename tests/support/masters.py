"""Instrument masters as the broker serves them: a small one with one of everything, and one of the real one's size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice, product
from pathlib import Path

from topology.angel.master.listing import read_row
from topology.angel.master.listings import write

Row = dict[str, str]
EXPIRIES = ("24NOV2026", "01DEC2026", "08DEC2026", "29DEC2026", "25JAN2027", "30MAR2027")


def row(segment: str, token: str, symbol: str, name: str, **rest: str) -> Row:
    made = {"token": token, "symbol": symbol, "name": name, "expiry": "", "strike": "-1.000000", "lotsize": "1"}
    return made | {"instrumenttype": "", "exch_seg": segment, "tick_size": "5.000000"} | rest


def index(segment: str, token: str, symbol: str, name: str) -> Row:
    return row(segment, token, symbol, name, instrumenttype="AMXIDX", strike="0.000000", tick_size="0.000000")


def future(segment: str, token: str, name: str, expiry: str, *, kind: str = "FUTSTK", lot: str = "500") -> Row:
    symbol = f"{name}{expiry[:5]}{expiry[-2:]}FUT"
    return row(segment, token, symbol, name, expiry=expiry, instrumenttype=kind, lotsize=lot)


def option(
    segment: str, token: str, name: str, expiry: str, contract: str, *, kind: str = "OPTSTK", lot: str = "500"
) -> Row:
    symbol = f"{name}{expiry[:5]}{expiry[-2:]}{contract}"
    rest = {"expiry": expiry, "strike": f"{contract[:-2]}00.000000", "instrumenttype": kind, "lotsize": lot}
    return row(segment, token, symbol, name, **rest)


NIFTY = index("NSE", "99926000", "Nifty 50", "NIFTY")
RELIANCE = row("NSE", "2885", "RELIANCE-EQ", "RELIANCE", tick_size="10.000000")

SMALL: list[Row] = [
    # In no good order, as the real one.
    option("NFO", "60001", "NIFTY", "29DEC2026", "25000CE", kind="OPTIDX", lot="65"),
    option("NFO", "60002", "NIFTY", "24NOV2026", "25000CE", kind="OPTIDX", lot="65"),
    option("NFO", "60003", "NIFTY", "24NOV2026", "25000PE", kind="OPTIDX", lot="65"),
    option("NFO", "60004", "BANKNIFTY", "24NOV2026", "55000CE", kind="OPTIDX", lot="30"),
    option("NFO", "60005", "RELIANCE", "24NOV2026", "1400CE"),
    option("NFO", "60006", "NIFTY", "24NOV2026", "26000CE", kind="OPTIDX", lot="65"),
    option("NFO", "60007", "FINNIFTY", "24NOV2026", "25000CE", kind="OPTIDX", lot="60"),
    future("NFO", "50002", "RELIANCE", "29DEC2026"),
    future("NFO", "50001", "RELIANCE", "24NOV2026"),
    future("NFO", "50003", "NIFTY", "24NOV2026", kind="FUTIDX", lot="65"),
    future("NFO", "50004", "BANKNIFTY", "24NOV2026", kind="FUTIDX", lot="30"),
    future("NFO", "50005", "M&M", "24NOV2026"),
    future("NFO", "50006", "BAJAJ-AUTO", "24NOV2026"),
    future("NFO", "50007", "SUNPHARMA", "24NOV2026"),
    future("BFO", "800001", "SENSEX", "26NOV2026", kind="FUTIDX", lot="20"),
    row("NSE", "10866", "RELIANCEPP-BE", "RELIANCEPP"),
    row("BSE", "500325", "RELIANCE", "RELIANCE"),
    row("NSE", "15259", "RELINFRA-EQ", "RELINFRA"),
    row("NSE", "90001", "RELIANCE-N1", "RELIANCE"),
    RELIANCE,
    row("NSE", "3045", "SBIN-EQ", "SBIN"),
    row("NSE", "3351", "SUNPHARMA-EQ", "SUNPHARMA"),
    row("NSE", "1333", "HDFCBANK-EQ", "HDFCBANK"),
    row("NSE", "2031", "M&M-EQ", "M&M"),
    row("NSE", "16669", "BAJAJ-AUTO-EQ", "BAJAJ-AUTO"),
    row("NSE", "10576", "NIFTYBEES-EQ", "NIFTYBEES"),
    row("NSE", "26000", "NIFTY", "NIFTY", tick_size="0.000000"),
    row("NSE", "26009", "BANKNIFTY", "BANKNIFTY", tick_size="0.000000"),
    index("CDS", "2", "NIFTY", "NIFTY"),
    index("NSE", "99926004", "Nifty 500", "NIFTY 500"),
    index("NSE", "99926009", "Nifty Bank", "BANKNIFTY"),
    index("NSE", "99926037", "Nifty Fin Service", "FINNIFTY"),
    index("NSE", "99926017", "India VIX", "INDIA VIX"),
    index("BSE", "99919000", "SENSEX", "SENSEX"),
    NIFTY,
    row("MCX", "234230", "GOLD04DEC26FUT", "GOLD", expiry="04DEC2026", instrumenttype="FUTCOM", tick_size="100.000000"),
    row("MCX", "100", "GOLD", "GOLD", instrumenttype="COMDTY"),
    row(
        "CDS", "1284", "USDINR26NOV8325CE", "USDINR", expiry="26NOV2026", strike="832500000.000000",
        instrumenttype="OPTCUR", lotsize="1000", tick_size="0.250000",
    ),
    row("NCDEX", "DHANIYA20NOV26", "DHANIYA20NOV26", "DHANIYA", expiry="20NOV2026", instrumenttype="FUTCOM"),
    row("NCDEX", "700", "GUARSEED20NOV26", "GUARSEED10", expiry="20NOV2026", instrumenttype="FUTCOM"),
    row("NCO", "249862", "CRUDEOIL26NOV6000CE", "CRUDEOIL", expiry="18NOV2026", instrumenttype="OPTFUT"),
]  # fmt: skip


LISTED = [row for row in SMALL if row["exch_seg"] != "NCO" and row["token"].isdigit()]


def keep(path: Path, rows: Iterable[Row]) -> Path:
    """Write a copy of a master, as an update leaves it."""
    write(path, map(read_row, rows), left_out={}, fetched_at_ms=0, source="a test", accept=lambda copy: None)
    return path


def large(size: int = 150_000) -> Iterator[Row]:
    """A master of the real one's size and make-up: some indices and stocks, mostly options of a few underlyings."""
    return islice(_endless(), size)


def _endless() -> Iterator[Row]:
    tokens = map(str, count(1_000_000))
    yield from SMALL
    for number in range(20_000):
        name = _name(number)
        yield row("NSE", next(tokens), f"{name}-EQ", name) if number % 2 else row("BSE", next(tokens), name, name)
    majors = ("NIFTY", "BANKNIFTY", "FINNIFTY", "RELIANCE", "SBIN")
    for name, strikes in [
        *((name, range(10_000, 60_000, 50)) for name in majors),
        *((_name(number), range(100, 4_100, 20)) for number in range(1, 20_000, 2)),
    ]:
        for expiry, strike, right in product(EXPIRIES, strikes, ("CE", "PE")):
            yield option("NFO", next(tokens), name, expiry, f"{strike}{right}")


def _name(number: int) -> str:
    """Some letters that read like the symbol of a company."""
    syllables = ("TA", "RE", "IN", "SU", "BA", "KO", "MI", "LA", "DHA", "VE", "PO", "JI", "NA", "GO", "SHR", "AM")
    digits = [(number >> shift) % 16 for shift in (0, 4, 8, 12)]
    return "".join(syllables[digit] for digit in digits) + ("BANK" if number % 40 == 0 else "")
