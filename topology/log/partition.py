"""Which partition of the log an instrument belongs to."""

from __future__ import annotations

from zlib import crc32


def partition_of(instrument: str, partitions: int) -> int:
    """Return the partition of an instrument (``"NSE:99926000"``): its CRC-32 modulo the number of partitions."""
    return crc32(instrument.encode()) % partitions
