"""The binary packets of the broker's market data socket (SmartWebSocketV2): read, and written for the simulator. Pure.

Little-endian, one packet a message; a mode's packet starts with all that the mode below it has. Prices are integers in
the exchange's minor unit, times are milliseconds since the epoch where the name says so. Source: the SDK
smartapi-python 1.5.5, ``smartWebSocketV2.py``, to which a test holds this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any, NamedTuple

LTP, QUOTE, SNAP_QUOTE = 1, 2, 3
MODES = {"ltp": LTP, "quote": QUOTE, "snap": SNAP_QUOTE}
"""Subscription modes by the name that our settings give them."""

BUY, SELL = 1, 0  # the flag of a level; the SDK takes whatever is not 0 for a buy
TOKEN_SIZE = 25

_LTP = Struct("<BB25sqqq")
_QUOTE = Struct("<BB25sqqqqqqddqqqq")
_SNAP = Struct("<BB25sqqqqqqddqqqqqqq200sqqqq")
_DEPTH = Struct("<" + "HqqH" * 10)
_LEVEL = Struct("<HqqH")

SIZES = {LTP: _LTP.size, QUOTE: _QUOTE.size, SNAP_QUOTE: _SNAP.size}
"""Bytes of a packet by mode."""


class PacketError(ValueError):
    """Bytes that are no packet; the message is a short, stable reason to count by."""


class Level(NamedTuple):
    """One of the ten best prices: a ``flag`` that is 0 for a sell, quantity, price, and how many orders."""

    flag: int
    quantity: int
    price: int
    orders: int


class Ltp(NamedTuple):
    """A packet of mode 1: the last traded price. ``token`` is as on the wire, padded with zero bytes."""

    mode: int
    exchange: int
    token: bytes
    sequence: int
    exchange_ms: int
    price: int


class Quote(NamedTuple):
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


class SnapQuote(NamedTuple):
    """A packet of mode 3: with open interest, circuit limits and the ten best prices, which :func:`levels` reads."""

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
    depth: bytes
    upper_circuit: int
    lower_circuit: int
    year_high: int
    year_low: int


Packet = Ltp | Quote | SnapQuote

_READERS: dict[int, tuple[int, Callable[[bytes], tuple[Any, ...]], Callable[[Iterable[Any]], Packet]]] = {
    LTP: (_LTP.size, _LTP.unpack, Ltp._make),
    QUOTE: (_QUOTE.size, _QUOTE.unpack, Quote._make),
    SNAP_QUOTE: (_SNAP.size, _SNAP.unpack, SnapQuote._make),
}
_FORMS = {LTP: _LTP, QUOTE: _QUOTE, SNAP_QUOTE: _SNAP}


def parse(data: bytes) -> Packet:
    """Read a packet. Raises PacketError: ``empty``, ``unknown_mode``, ``truncated``, ``oversized``."""
    try:
        size, unpack, make = _READERS[data[0]]
    except KeyError:
        raise PacketError("unknown_mode") from None
    except IndexError:
        raise PacketError("empty") from None
    if len(data) != size:
        raise PacketError("truncated" if len(data) < size else "oversized")
    return make(unpack(data))


def pack(packet: Packet) -> bytes:
    """Write a packet: what :func:`parse` reads back."""
    return _FORMS[packet.mode].pack(*packet)


def token_text(token: bytes) -> str:
    """Return the token of a packet as text, up to its first zero byte.

    >>> token_text(b"99926000" + bytes(17))
    '99926000'
    """
    return token.partition(b"\0")[0].decode("latin-1")


def levels(packet: SnapQuote) -> tuple[list[Level], list[Level]]:
    """Return the buys and the sells among the ten best prices, in the order of the packet."""
    flat = _DEPTH.unpack(packet.depth)
    buys: list[Level] = []
    sells: list[Level] = []
    for start in range(0, 40, 4):
        level = Level._make(flat[start : start + 4])
        (buys if level.flag else sells).append(level)
    return buys, sells


def pack_levels(levels_: Iterable[Level]) -> bytes:
    """Write the ten best prices for the field ``depth``."""
    return b"".join(_LEVEL.pack(*level) for level in levels_)
