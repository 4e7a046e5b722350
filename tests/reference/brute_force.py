"""What has to come out, computed a second time: whole-day lists and textbook formulas, and nothing of the project.

Slow on purpose wherever a definition can be written down as it stands in a book: a candle is the list of its ticks, an
average is a slice of the list of closes. What the pipeline makes out of a recording is compared with this.
"""

from __future__ import annotations

import csv
import gzip
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from itertools import groupby, islice, pairwise
from pathlib import Path
from typing import NamedTuple

INDIAN_TIME = timezone(timedelta(hours=5, minutes=30))
HOLIDAYS = frozenset({date(2022, 10, 26), date(2022, 11, 8)})  # of the exchange, from October to November 2022

SessionTimes = tuple[int, int]  # open and close in milliseconds since the epoch, UTC: [open, close)
CandleKey = tuple[str, int, int]  # instrument, timeframe in seconds, start in milliseconds
ValueKey = tuple[str, str, int, int]  # instrument, name ("SMA_20"), timeframe in seconds, start in milliseconds


class Row(NamedTuple):
    """A tick as a recording has it: paise, milliseconds since the epoch, and the day's volume so far, if known."""

    instrument: str
    time_ms: int
    price: int
    day_volume: int | None = None


class Ohlc(NamedTuple):
    """A candle: prices in paise, the quantity traded and the number of ticks."""

    open: int
    high: int
    low: int
    close: int
    volume: int
    ticks: int


@dataclass
class Expected:
    """What has to come out of rows. The first three hold row numbers, in order, and each row is in one of them."""

    accepted: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    out_of_session: list[int] = field(default_factory=list)
    candles: dict[CandleKey, Ohlc] = field(default_factory=dict)
    values: dict[ValueKey, float] = field(default_factory=dict)


class _Traded(NamedTuple):
    time_ms: int
    price: int
    quantity: int
    session: SessionTimes


def trading_hours(
    first: date,
    last: date,
    *,
    hours: tuple[str, str] = ("09:15", "15:30"),
    weekdays: Collection[int] = range(5),
    holidays: Collection[date] = HOLIDAYS,
) -> list[SessionTimes]:
    """Open and close of each trading day from ``first`` to ``last``, both included; hours are Indian time."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    trading = [day for day in days if day.weekday() in weekdays and day not in holidays]
    return [(indian_ms(day, hours[0]), indian_ms(day, hours[1])) for day in trading]


def indian_ms(day: date, clock: str) -> int:
    """Milliseconds since the epoch of an Indian day and time, ``09:15`` or ``09:15:00.250``; ``24:00`` ends the day."""
    hours, minutes, *seconds = clock.split(":")
    midnight = datetime(day.year, day.month, day.day, tzinfo=INDIAN_TIME)
    since = timedelta(hours=int(hours), minutes=int(minutes), milliseconds=round(1000 * float((seconds or ["0"])[0])))
    return round((midnight + since).timestamp() * 1000)


def recorded(path: Path, instrument: str) -> list[Row]:
    """Read a recorded day, ``timestamp,price`` in Indian time and rupees, gzipped or not."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        return [
            Row(instrument, indian_ms(date.fromisoformat(at[:10]), at[11:]), round(float(price) * 100))
            for at, price in islice(csv.reader(lines), 1, None)
        ]


def expected(
    rows: Sequence[Row | tuple[str, int, int, int | None]],
    sessions: Sequence[SessionTimes],
    *,
    timeframes_s: Sequence[int] = (),
    specs: Sequence[str] = (),
    lateness_ms: int = 1000,
    clocks_ms: Sequence[int] | None = None,
) -> Expected:
    """Compute what the rows of whole days, in the order they were recorded, have to become.

    ``sessions`` are disjoint, in order, and hold for every instrument. Candles have the timeframes 1 and
    ``timeframes_s``; ``specs`` (``"SMA:20"``) are computed for each of ``timeframes_s``, with the history carried over
    the days; a value exists where the formula has enough closes.

    A row is late when its second ended at least ``lateness_ms`` before the newest accepted row of its instrument. The
    clock of a recording makes no row late; for another feed, ``clocks_ms[n]`` is the clock before row n.
    Values differ in rounding from any other way to compute them: compare them to about 1e-9, not bit by bit.
    """
    result = Expected()
    ticks = _accepted([Row(*row) for row in rows], sorted(sessions), lateness_ms, clocks_ms, result)
    for instrument, rows_of_it in ticks.items():
        by_time = sorted(_traded(rows_of_it), key=lambda tick: tick.time_ms)  # stable: then by arrival
        for timeframe_s in (1, *timeframes_s):
            candles = _candles(by_time, timeframe_s)
            result.candles |= {(instrument, timeframe_s, start_ms): candle for start_ms, candle in candles.items()}
            for spec in specs if timeframe_s != 1 else ():
                name = spec.replace(":", "_")
                for start_ms, value in zip(candles, indicator(spec, [c.close for c in candles.values()]), strict=True):
                    if value is not None:
                        result.values[instrument, name, timeframe_s, start_ms] = value
    return result


def _accepted(
    rows: Sequence[Row],
    sessions: Sequence[SessionTimes],
    lateness_ms: int,
    clocks_ms: Sequence[int] | None,
    result: Expected,
) -> dict[str, list[tuple[Row, SessionTimes]]]:
    """Sort the rows into accepted, late and out of session; return the accepted ones of each instrument."""
    opens = [open_ms for open_ms, _ in sessions]
    newest_ms: dict[str, int] = {}
    accepted: dict[str, list[tuple[Row, SessionTimes]]] = defaultdict(list)
    for number, row in enumerate(rows):
        found = bisect_right(opens, row.time_ms) - 1
        if found < 0 or row.time_ms >= sessions[found][1]:
            result.out_of_session.append(number)
            continue
        known_ms = newest_ms.get(row.instrument, row.time_ms)
        if clocks_ms is not None:
            known_ms = max(known_ms, clocks_ms[number])
        second_end_ms = row.time_ms // 1000 * 1000 + 1000
        if second_end_ms + lateness_ms <= known_ms:
            result.late.append(number)
            continue
        newest_ms[row.instrument] = max(newest_ms.get(row.instrument, row.time_ms), row.time_ms)
        result.accepted.append(number)
        accepted[row.instrument].append((row, sessions[found]))
    return accepted


def _traded(rows: Sequence[tuple[Row, SessionTimes]]) -> list[_Traded]:
    """Give each row of an instrument its quantity: how far it raises the highest day volume seen in its session.

    The first volume seen in a session is the baseline. Once the next session has begun, the old one counts no volume.
    """
    traded: list[_Traded] = []
    newest: SessionTimes = (0, 0)
    volumes: list[int] = []
    for row, session in rows:
        if session > newest:
            newest, volumes = session, []
        quantity = 0
        if session == newest and row.day_volume is not None:
            highest = max(volumes, default=row.day_volume)
            quantity = max(0, row.day_volume - highest)
            volumes = [max(highest, row.day_volume)]
        traded.append(_Traded(row.time_ms, row.price, quantity, session))
    return traded


def _candles(by_time: Sequence[_Traded], timeframe_s: int) -> dict[int, Ohlc]:
    """Cut ticks into candles, counted from the open of their session; by start, oldest first."""
    width_ms = timeframe_s * 1000

    def start_ms(tick: _Traded) -> int:
        open_ms = tick.session[0]
        return open_ms + (tick.time_ms - open_ms) // width_ms * width_ms

    candles = {}
    for start, group in groupby(by_time, key=start_ms):
        ticks = list(group)
        prices = [tick.price for tick in ticks]
        volume = sum(tick.quantity for tick in ticks)
        candles[start] = Ohlc(prices[0], max(prices), min(prices), prices[-1], volume, len(ticks))
    return candles


def indicator(spec: str, closes: Sequence[int]) -> list[float | None]:
    """Values of an indicator (``"SMA:20"``) at each close; None where it has too few closes."""
    kind, _, period = spec.partition(":")
    return {"SMA": sma, "EMA": ema, "SMMA": smma, "RSI": rsi}[kind](closes, int(period))


def sma(closes: Sequence[int], n: int) -> list[float | None]:
    """Compute the mean of the newest n closes."""
    return [sum(closes[end - n : end]) / n if end >= n else None for end in range(1, len(closes) + 1)]


def ema(closes: Sequence[int], n: int) -> list[float | None]:
    """Compute ``k * close + (1 - k) * previous`` with ``k = 2 / (n + 1)``, from the mean of the first n."""
    k = 2 / (n + 1)
    return _recursion(closes, n, k)


def smma(closes: Sequence[int], n: int) -> list[float | None]:
    """Compute Wilder's average: the new close weighs ``1 / n``, from the mean of the first n."""
    return _recursion(closes, n, 1 / n)


def rsi(closes: Sequence[int], n: int) -> list[float | None]:
    """Compute Wilder's index of the averages of gains and losses; 100 without losses, 50 without any change."""
    changes = [new - old for old, new in pairwise(closes)]
    gains = _recursion([max(change, 0) for change in changes], n, 1 / n)
    losses = _recursion([max(-change, 0) for change in changes], n, 1 / n)
    values = [
        None if gain is None or loss is None
        else 100 - 100 / (1 + gain / loss) if loss
        else 100.0 if gain
        else 50.0
        for gain, loss in zip(gains, losses, strict=True)
    ]  # fmt: skip
    return [None, *values] if closes else []


def _recursion(values: Sequence[int], n: int, weight: float) -> list[float | None]:
    if len(values) < n:
        return [None] * len(values)
    averages = [sum(values[:n]) / n]
    for value in values[n:]:
        averages.append(weight * value + (1 - weight) * averages[-1])
    return [None] * (n - 1) + averages
