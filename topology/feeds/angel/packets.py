"""The binary packets of the broker's market data socket (SmartWebSocketV2): read, and written for the simulator. Pure.

Little-endian, one packet a message; a mode's packet starts with all that the mode below it has. Prices are integers in
the exchange's minor unit, times are milliseconds since the epoch where the name says so. Source: the SDK
smartapi-python 1.5.5, ``smartWebSocketV2.py``, to which a test holds this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby
from operator import add
from struct import Struct
from typing import Any, NamedTuple

LTP, QUOTE, SNAP_QUOTE = 1, 2, 3
MODES = {"ltp": LTP, "quote": QUOTE, "snap": SNAP_QUOTE}
"""Subscription modes by the name that our settings give them."""

BUY, SELL = 1, 0  # the flag of a level; the SDK takes whatever is not 0 for a buy
TOKEN_SIZE = 25

_QUOTE_FIELDS, _SNAP_FIELDS, _LEVELS, _LIMITS = "<BB25sqqqqqqddqqqq", "qqq", "HqqH" * 10, "qqqq"
_LTP, _QUOTE = Struct("<BB25sqqq"), Struct(_QUOTE_FIELDS)
_SNAP = Struct(_QUOTE_FIELDS + _SNAP_FIELDS + _LEVELS + _LIMITS)
_ALL_BUT_DEPTH = Struct(_QUOTE_FIELDS + _SNAP_FIELDS + "200x" + _LIMITS)
_DEPTH = Struct("<147x" + _LEVELS + "32x")  # a packet of which only the levels are read


class PacketError(ValueError):
    """Bytes that are no packet; the message is a short, stable reason to count by."""


class DepthLevel(NamedTuple):
    """One of the ten best prices: a ``flag`` that is 0 for a sell, quantity, price, and how many orders."""

    flag: int
    quantity: int
    price: int
    orders: int


class LtpPacket(NamedTuple):
    """A packet of mode 1: the last traded price. ``token`` is as on the wire, padded with zero bytes."""

    mode: int
    exchange: int
    token: bytes
    sequence: int
    exchange_ms: int
    price: int


class QuotePacket(NamedTuple):
    """A packet of mode 2: with quantities and the prices of the day. ``close`` is that of the previous day."""

    mode: int
    exchange: int
    token: bytes
    sequence: int
    exchange_ms: int
    price: int
    quantity: int
    average_price: int
    day_volume: int
    buy_quantity: float
    sell_quantity: float
    open: int
    high: int
    low: int
    close: int


class SnapQuotePacket(NamedTuple):
    """A packet of mode 3: with open interest, circuit limits and the ten best prices.

    ``depth`` has the fields of ten levels, one level after the other. On the wire it stands before the circuit limits.
    """

    mode: int
    exchange: int
    token: bytes
    sequence: int
    exchange_ms: int
    price: int
    quantity: int
    average_price: int
    day_volume: int
    buy_quantity: float
    sell_quantity: float
    open: int
    high: int
    low: int
    close: int
    last_traded_s: int
    open_interest: int
    open_interest_change: int
    upper_circuit: int
    lower_circuit: int
    year_high: int
    year_low: int
    depth: tuple[int, ...]


Packet = LtpPacket | QuotePacket | SnapQuotePacket

Fields = tuple[Any, ...]
"""A packet whose fields have their places only: those of Ltp, Quote or SnapQuote, as the mode, the first one, says."""

HEAD = slice(0, len(LtpPacket._fields))
DAY = slice(len(LtpPacket._fields), len(QuotePacket._fields))
REST = slice(len(QuotePacket._fields), None)
"""The fields that all packets have, those of a quote that an LTP lacks, and those that only a snap quote has."""


def _snaps(joined: bytes) -> Iterator[Fields]:
    return map(add, _ALL_BUT_DEPTH.iter_unpack(joined), zip(_DEPTH.iter_unpack(joined)))


class _Form(NamedTuple):
    size: int
    read: Callable[[bytes], Iterator[Fields]]  # packets of this mode, without anything between them
    named: Callable[[Fields], Packet]


_FORMS = {
    LTP: _Form(_LTP.size, _LTP.iter_unpack, LtpPacket._make),
    QUOTE: _Form(_QUOTE.size, _QUOTE.iter_unpack, QuotePacket._make),
    SNAP_QUOTE: _Form(_SNAP.size, _snaps, SnapQuotePacket._make),
}

SIZES = {mode: form.size for mode, form in _FORMS.items()}
"""Bytes of a packet by mode."""

_MODES_BY_SIZE = {size: mode for mode, size in SIZES.items()}


def parse(data: bytes) -> Packet:
    """Read a packet. Raises PacketError: ``empty``, ``unknown_mode``, ``truncated``, ``oversized``."""
    if not data:
        raise PacketError("empty")
    form = _FORMS.get(data[0])
    if form is None:
        raise PacketError("unknown_mode")
    if len(data) != form.size:
        raise PacketError("truncated" if len(data) < form.size else "oversized")
    return form.named(next(form.read(data)))


def parse_all(messages: Iterable[bytes]) -> list[Fields | PacketError]:
    """Read packets as :func:`parse` does, in their order, but many at once; an error takes the place of what is none.

    Packets of one mode that follow each other are read in one go, and their fields get no names: a name for each costs
    as much as all the rest.
    """
    found: list[Fields | PacketError] = []
    for size, following in groupby(messages, len):
        run = list(following)
        joined = b"".join(run)
        mode = _MODES_BY_SIZE.get(size)
        if mode is not None and joined[::size].count(mode) == len(run):
            found += _FORMS[mode].read(joined)
        else:
            found += map(_parsed, run)
    return found


def _parsed(data: bytes) -> Packet | PacketError:
    try:
        return parse(data)
    except PacketError as error:
        return error


def pack(packet: Packet) -> bytes:
    """Write a packet: what :func:`parse` reads back."""
    if isinstance(packet, SnapQuotePacket):
        *before, upper, lower, high, low, depth = packet
        return _SNAP.pack(*before, *depth, upper, lower, high, low)
    return (_LTP if isinstance(packet, LtpPacket) else _QUOTE).pack(*packet)


def depth_of(levels: Iterable[DepthLevel]) -> tuple[int, ...]:
    """Give the ten best prices as a packet has them."""
    return tuple(chain.from_iterable(levels))


def token_text(token: bytes) -> str:
    """Return the token of a packet as text, up to its first zero byte.

    >>> token_text(b"99926000" + bytes(17))
    '99926000'
    """
    return token.partition(b"\0")[0].decode("latin-1")
