"""The configuration in force, how far the pipeline is, and whether the market is open."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from topology import indicators
from topology.log.lag import TopicLag
from topology.market.calendar import Calendar, NotCovered, indian_day
from topology.market.times import IST
from topology.sinks.archive.rows import Counts
from topology.sinks.cursor import SinkError
from web.gateway import Gateway
from web.http.endpoint import get
from web.rest.queries import Exchange

LABELS = ((86_400, "D"), (3_600, "h"), (60, "m"), (1, "s"))
FARTHEST_DAYS = 30  # no market is closed for longer


class TimeframeInfo(msgspec.Struct):
    """A timeframe, and what it is called."""

    seconds: int
    label: str
    stored: bool


class IndicatorType(msgspec.Struct):
    """A type of indicators, and how a chart draws it; periods are in candles.

    ``id`` is the type as specs write it, ``SMA``; ``title`` is what people call it, ``about`` what it is. ``pane`` is
    ``price`` for values in paise, over the candles, or ``own`` for a pane of the type's own: with lines across it at
    ``levels``, and a scale from the first of ``bounds`` to the second; where that is null the scale follows the values.
    """

    id: str
    title: str
    about: str
    longest_period: int
    default_period: int
    pane: Literal["price", "own"]
    levels: list[float]
    bounds: list[float] | None


class Config(msgspec.Struct):
    """What the log computes, and could. The first three fields are those of the system that this one replaces."""

    tfs: list[int]
    tokens: list[str]
    indicators: list[str]
    log: str
    simulated: bool
    timeframes: dict[int, list[str]]
    calendar: str
    lateness_ms: int
    indicator_types: list[IndicatorType]


class MarketQuery(msgspec.Struct):
    """For which instruments: a class such as ``index`` or ``equity``."""

    instrument_class: Exchange = "equity"


class MarketStatus(msgspec.Struct):
    """Whether trading is continuous now, and when that changes, in milliseconds since the epoch.

    ``phase`` is ``open`` or ``closed``; ``reason`` says why it is closed, or names the session; ``holiday`` names it.
    """

    phase: str
    reason: str
    holiday: str | None
    next_change_ms: int | None
    opens_at_ms: int | None
    closes_at_ms: int | None
    now_ms: int


class TickCounts(msgspec.Struct):
    """What became of the ticks of this log, as the archive has counted them; and how many came in the last seconds.

    ``per_s`` is None until it is known. ``gaps`` are frames that could not be used.
    """

    per_s: float | None
    accepted: int
    late: int
    out_of_session: int
    gaps: int


class Pipeline(msgspec.Struct):
    """How far each role is in each topic: the newest position in every partition, and what it is behind by."""

    simulated: bool
    log: str
    clock_ms: int | None
    stages: list[TopicLag]
    ticks: TickCounts
    redis: str
    sqlite: str


@get("/api/tfs")
async def tfs(gateway: Gateway) -> list[TimeframeInfo]:
    """Return the timeframes that are stored, and usual ones that are resampled from them."""
    return [
        TimeframeInfo(seconds, label(seconds), seconds in gateway.log.configuration.timeframes)
        for seconds in offered(gateway)
    ]


@get("/api/config")
async def config(gateway: Gateway) -> Config:
    """Return the configuration in force."""
    configuration = gateway.log.configuration
    specs = {spec: None for of_one in configuration.timeframes.values() for spec in of_one}
    calendar = gateway.calendar
    return Config(
        tfs=sorted(configuration.timeframes),
        tokens=sorted(await gateway.instruments()),
        indicators=[indicators.name(spec) for spec in specs],
        log=gateway.log.id,
        simulated=gateway.simulated,
        timeframes={
            seconds: [indicators.name(spec) for spec in of_one] for seconds, of_one in configuration.timeframes.items()
        },
        calendar=f"{calendar.name}, version {calendar.version}",
        lateness_ms=configuration.lateness_ms,
        indicator_types=[_described(one) for one in indicators.TYPES.values()],
    )


def _described(indicator: type[indicators.Indicator]) -> IndicatorType:
    pane = indicator.PANE
    return IndicatorType(
        indicator.TYPE,
        indicator.TITLE,
        indicator.ABOUT,
        indicator.MAX_PERIOD,
        indicator.DEFAULT_PERIOD,
        "own" if pane else "price",
        list(pane.levels) if pane else [],
        list(pane.bounds) if pane and pane.bounds else None,
    )


@get("/api/market-status")
async def market_status(gateway: Gateway, query: MarketQuery) -> MarketStatus:
    """Say whether the market is open, why not, and when that changes."""
    return status_at(gateway.calendar, query.instrument_class, gateway.now_ms())


@get("/api/pipeline")
async def pipeline(gateway: Gateway) -> Pipeline:
    """Return position and lag of every role, topic and partition."""
    found = await gateway.log.standing()
    problems = {line.role: line.problem for line in found.stages if line.problem}
    return Pipeline(
        gateway.simulated,
        gateway.log.id,
        found.clock_ms,
        found.stages,
        await _ticks(gateway),
        redis=problems.get("mirror", "ok"),
        sqlite=problems.get("archive", "ok"),
    )


async def _ticks(gateway: Gateway) -> TickCounts:
    try:
        counts = await asyncio.to_thread(gateway.store.archive.counts)
    except SinkError:
        counts = Counts()  # the archive's problem is in the same answer
    accepted = counts.accepted
    return TickCounts(gateway.rate.of(accepted), accepted, counts.late, counts.out_of_session, counts.gaps)


def offered(gateway: Gateway) -> list[int]:
    """Return the timeframes, in seconds, that a client may choose from."""
    stored = gateway.log.configuration.timeframes
    usual = (60, 120, 180, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 86_400)
    return sorted({*stored, *(seconds for seconds in usual if any(seconds % one == 0 for one in stored))})


def label(seconds: int) -> str:
    """Return what a timeframe is called.

    >>> [label(seconds) for seconds in (1, 60, 90, 900, 3600, 86400)]
    ['1s', '1m', '90s', '15m', '1h', '1D']
    """
    size, letter = next((size, letter) for size, letter in LABELS if seconds % size == 0)
    return f"{seconds // size}{letter}"


def status_at(calendar: Calendar, instrument_class: str, now_ms: int) -> MarketStatus:
    """Say whether a class trades at a time. Raises NotCovered."""
    span = calendar.span(instrument_class, now_ms)
    day = indian_day(now_ms)
    holiday = calendar.holiday_name(day)
    if span.session is not None:
        return MarketStatus("open", span.session.name, holiday, span.until_ms, None, span.until_ms, now_ms)
    today = calendar.sessions(instrument_class, day)
    if today:
        reason = "before the open" if now_ms < today[0].open_ms else "after the close"
    else:
        reason = holiday or f"{datetime.fromtimestamp(now_ms / 1000, IST):%A}"
    opens_at_ms = _next_open(calendar, instrument_class, now_ms)
    return MarketStatus("closed", reason, holiday, opens_at_ms, opens_at_ms, None, now_ms)


def _next_open(calendar: Calendar, instrument_class: str, now_ms: int) -> int | None:
    """Return the next open; None where the calendar ends before it."""
    for days in range(FARTHEST_DAYS):
        try:
            sessions = calendar.sessions(instrument_class, indian_day(now_ms) + timedelta(days))
        except NotCovered:
            return None
        for session in sessions:
            if session.open_ms > now_ms:
                return session.open_ms
    return None
