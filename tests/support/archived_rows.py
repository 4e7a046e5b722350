"""What an archive holds, against what has to be in it."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from tests.reference.brute_force import CandleKey, Expected, Ohlc, ValueKey


class Archived(NamedTuple):
    """The rows of an archive, by what they are about."""

    candles: dict[CandleKey, Ohlc]
    values: dict[ValueKey, float]
    causes: dict[tuple[Any, ...], tuple[int, int]]  # partition and position, by the key of the row


def read_archive(path: Path) -> Archived:
    """Read every row of an archive."""
    found = Archived({}, {}, {})
    with closing(sqlite3.connect(path)) as connection:
        for exchange, token, tf, ts, *ohlc, partition, position in connection.execute(
            "SELECT exchange, token, 1, ts, open, high, low, close, volume, ticks_count, partition, position "
            "FROM candles_1s UNION ALL "
            "SELECT exchange, token, tf, ts, open, high, low, close, volume, count, partition, position FROM candles_tf"
        ):
            key = f"{exchange}:{token}", tf, ts * 1000
            found.candles[key] = Ohlc(*ohlc)
            found.causes[key] = partition, position
        for exchange, token, name, tf, ts, value, partition, position in connection.execute(
            "SELECT exchange, token, name, tf, ts, value, partition, position FROM indicators"
        ):
            value_key = f"{exchange}:{token}", name, tf, ts * 1000
            found.values[value_key] = value
            found.causes[value_key] = partition, position
    return found


def differences(found: Archived, wanted: Expected) -> list[str]:
    """Say what is missing, extra or wrong, with an example of each: nothing for equal ones.

    Candles are equal exactly, values to 1e-9 of themselves.
    """
    return [
        *_differences("candles", found.candles, wanted.candles, equal=lambda one, other: one == other),
        *_differences("values", found.values, wanted.values, equal=lambda a, b: math.isclose(a, b, rel_tol=1e-9)),
    ]


def _differences(
    what: str, found: Mapping[Any, Any], wanted: Mapping[Any, Any], *, equal: Callable[[Any, Any], bool]
) -> list[str]:
    missing = sorted(wanted.keys() - found.keys())
    extra = sorted(found.keys() - wanted.keys())
    wrong = [
        (key, found[key], wanted[key]) for key in wanted.keys() & found.keys() if not equal(found[key], wanted[key])
    ]
    kinds = (("missing", missing), ("extra", extra), ("wrong", sorted(wrong)))
    return [f"{len(some)} {what} {kind}, such as {some[0]}" for kind, some in kinds if some]
