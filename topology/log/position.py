"""The law of positions: each frame is applied once, in order, and never past one that is missing."""

from __future__ import annotations

import enum
from zlib import crc32


class Order(enum.Enum):
    """What a frame is to a reader that has applied a position."""

    DUPLICATE = "duplicate"
    NEXT = "next"
    AHEAD = "ahead"


def order(applied: int | None, position: int) -> Order:
    """Say whether the frame at ``position`` is a duplicate, the next one, or ahead of one that is missing.

    ``applied`` is None where nothing has been applied: then any frame is the first.
    """
    if applied is None or position == applied + 1:
        return Order.NEXT
    return Order.DUPLICATE if position <= applied else Order.AHEAD


def partition_of(instrument: str, partitions: int) -> int:
    """Return the partition of an instrument (``"NSE:99926000"``): its CRC-32 modulo the number of partitions."""
    return crc32(instrument.encode()) % partitions
