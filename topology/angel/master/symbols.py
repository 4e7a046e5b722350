"""Symbols wherever an instrument is meant: ``RELIANCE-EQ``, ``NSE:RELIANCE`` or ``nifty`` for exchange and token."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from topology.angel.master.listing import Listing
from topology.angel.master.listings import Listings
from topology.market.instruments import EXCHANGES_BY_TEXT, Instrument, InstrumentError

_SHOWN = 5


class UnknownSymbolError(InstrumentError):
    """The instrument master has no such symbol; the message is one line."""


def resolve(text: str, listings: Listings | None) -> Instrument:
    """Return the instrument that a text names: ``NSE:2885``, ``1:2885``, ``RELIANCE-EQ``, ``BSE:RELIANCE``, ``NIFTY``.

    A token is taken as it is, whether the master has it or not. A symbol may lack its series; case, spaces and dashes
    don't matter; an index goes by its name as well. Raises UnknownSymbolError for a symbol that has no match, with the
    nearest, and InstrumentError for one that has several, with them, and for any symbol where there is no master.
    """
    before, colon, rest = text.strip().partition(":")
    exchange = EXCHANGES_BY_TEXT.get(before.strip().upper()) if colon else None
    symbol = rest.strip() if exchange else text.strip()
    if colon and (exchange is None or not symbol):
        return Instrument.parse(text)  # it says which exchanges there are
    if exchange and symbol.isascii() and symbol.isdigit():
        return Instrument.parse(f"{exchange}:{symbol}")
    if listings is None:
        raise InstrumentError(
            f"instrument {text!r}: there is no instrument master here to look symbols up in: "
            "run `topology instruments update`, or write exchange and token, such as NSE:99926000"
        )
    found = listings.named(symbol, exchange)
    if not found:
        raise UnknownSymbolError(_unknown(text, listings.nearest(symbol, exchange)))
    if len(found) > 1:
        raise InstrumentError(_several(text, found))
    return found[0].instrument


def resolve_at(text: str, path: Path) -> Instrument:
    """Resolve with the master that is kept at a path. What is no symbol doesn't need it. Raises as `resolve` does."""
    try:
        return Instrument.parse(text)
    except InstrumentError:
        listings = Listings.opened(path)
    if listings is None:
        return resolve(text, None)
    with listings:
        return resolve(text, listings)


def _several(text: str, found: list[Listing]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"instrument {text!r}: several have this symbol, {_shown(found)}{more}: write one as exchange and token"


def _unknown(text: str, nearest: list[Listing]) -> str:
    hint = f"the nearest: {_shown(nearest)}" if nearest else "look for it with `topology instruments search`"
    return f"instrument {text!r}: the instrument master has no such symbol; {hint}"


def _shown(listings: Iterable[Listing]) -> str:
    return ", ".join(f"{listing.instrument} {listing.symbol}" for listing in list(listings)[:_SHOWN])
