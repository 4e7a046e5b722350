"""The days that acceptance tests run: real ones as recorded, and 200 instruments made out of them.

The reader here shares nothing with the feed: what a file holds is known twice.
"""

from __future__ import annotations

import csv
import gzip
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import pytest

from tests.reference.brute_force import INDIAN_TIME, Expected, Row, expected, indian_ms, trading_hours

NIFTY_50 = "NSE:99926000"
INSTRUMENTS = tuple(f"NSE:{99926100 + k}" if k % 2 else f"{('NSE', 'BSE')[k // 2 % 2]}:{1000 + k}" for k in range(200))
STRETCHES = ((date(2022, 11, 21), "15:05", "15:31"), (date(2022, 11, 22), "09:13", "09:33"))
"""Into the close of one day and out of the opening of the next."""

INDIAN_MS, DAY_MS = 19_800_000, 86_400_000

TIMEFRAMES_S = (30, 60, 120, 300)
SPECS = ("SMA:20", "EMA:9", "RSI:14", "SMMA:14")

DayOf = Callable[[int], dict[int, int]]
"""Gives the prices in paise by the second of the day, of the day with this number."""


class Recorded(NamedTuple):
    """A recording: its rows, the file that holds them, what has to come of it, and the variables that ask for that."""

    rows: list[Row]
    path: Path
    wanted: Expected
    variables: dict[str, str]


def record_two_hundred(folder: Path) -> Recorded:
    """Make the recording of 200 instruments."""
    return _recorded(folder / "two-hundred.csv", derived(_days()))


def record_few(folder: Path) -> Recorded:
    """Make a recording of the index on the whole second day, and of some of the others."""
    day, some = STRETCHES[-1][0], set(INSTRUMENTS[:20])
    index = [Row(NIFTY_50, indian_ms(day, "00:00") + second * 1000, price) for second, price in _days()(0).items()]
    rows = index + [row for row in derived(_days()) if row.instrument in some]
    return _recorded(folder / "few.csv", sorted(rows, key=lambda row: row.time_ms))


def _days() -> DayOf:
    """Give the real days, or generated ones where those are absent."""
    default = Path(__file__).parents[3] / "shared/data"
    days = Path(os.environ.get("MARKET_DATA_DIR") or default) / "nifty50"
    files = [path for path in sorted(days.glob("*.csv*")) if path.name != "2022-11-08.csv.gz"]
    if not files:
        missing = f"no recorded days in {days}: the instruments are made out of generated ones"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        warnings.warn(missing, stacklevel=1)
    return real_days(files) if files else generated_days()


def _recorded(path: Path, rows: list[Row]) -> Recorded:
    hours = trading_hours(STRETCHES[0][0], STRETCHES[-1][0])
    wanted = expected(rows, hours, timeframes_s=TIMEFRAMES_S, specs=SPECS)
    variables = {"ENABLED_TFS": ",".join(map(str, TIMEFRAMES_S)), "INDICATOR_CONFIGS": ",".join(SPECS)}
    return Recorded(rows, write_csv(path, rows), wanted, variables)


def read_rows(path: Path, instrument: str = NIFTY_50) -> list[Row]:
    """Read the rows of a file with the columns timestamp and price."""
    packed = path.read_bytes()
    text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode()
    return [
        Row(instrument, _time_ms(row["timestamp"]), int(Decimal(row["price"]) * 100))
        for row in csv.DictReader(text.splitlines())
    ]


@cache
def _day_start_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=INDIAN_TIME).timestamp() * 1000)


def _time_ms(text: str) -> int:
    day, clock = text.split(" ")
    hours, minutes, seconds = clock.split(":")
    return _day_start_ms(day) + (int(hours) * 60 + int(minutes)) * 60_000 + round(float(seconds) * 1000)


def real_days(files: Sequence[Path]) -> DayOf:
    """Take the days from recorded files."""

    @cache
    def prices(path: Path) -> dict[int, int]:
        return {(row.time_ms + INDIAN_MS) % DAY_MS // 1000: row.price for row in read_rows(path)}

    return lambda number: prices(files[number % len(files)])


def generated_days() -> DayOf:
    """Make the days up: a walk that is the same each time."""

    @cache
    def walk(number: int) -> dict[int, int]:
        price, prices = 1_800_000, {}
        for second in range(9 * 3600, 16 * 3600):
            price += crc32(f"{number} {second}".encode()) % 501 - 250
            prices[second] = price
        return prices

    return lambda number: walk(number % 12)


def derived(day_of: DayOf) -> list[Row]:
    """Make a recording of all `INSTRUMENTS`, in the order in which the ticks arrived.

    Each has the prices of some day at a scale of its own, fewer ticks than the index and at other milliseconds. Every
    other one has a volume, which is missing here and there. Some ticks arrive seconds after they happened.
    """
    arrivals = [arrival for number in range(len(INSTRUMENTS)) for arrival in _arrivals(number, day_of(number))]
    return [row for _, row in sorted(arrivals, key=lambda arrival: arrival[0])]


def _arrivals(number: int, prices: dict[int, int]) -> Iterator[tuple[int, Row]]:
    instrument = INSTRUMENTS[number]
    for day, start, end in STRETCHES:
        volume = 1000 * number
        for at_ms in range(indian_ms(day, start), indian_ms(day, end), 1000):
            price = prices.get((at_ms + INDIAN_MS) % DAY_MS // 1000)
            chance = crc32(f"{instrument} {at_ms}".encode())
            if price is None or chance % 100 > 12 + number % 20:
                continue
            volume += chance % 97
            arrived_ms = at_ms + chance // 100 % 1000
            happened_ms = arrived_ms - (chance // 1000 % 7000 if chance % 61 == 0 else 0)
            known = number % 2 == 0 and chance % 13 > 0
            yield arrived_ms, Row(instrument, happened_ms, price * (20 + number) // 100 + 1, volume if known else None)


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    """Write a file with all four columns, Indian time to the millisecond."""
    with path.open("w") as file:
        file.write("timestamp,instrument,price,volume\n")
        for row in rows:
            at = datetime.fromtimestamp(row.time_ms // 1000, INDIAN_TIME).strftime("%Y-%m-%d %H:%M:%S")
            volume = "" if row.day_volume is None else row.day_volume
            rupees = f"{row.price // 100}.{row.price % 100:02d}"
            file.write(f"{at}.{row.time_ms % 1000:03d},{row.instrument},{rupees},{volume}\n")
    return path
