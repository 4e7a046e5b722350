"""What a chart of TradingView asks of a data feed, one after the other, against a real day and generated ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.reference.brute_force import Row, indian_ms
from tests.support.days import NIFTY_50, read_rows
from tests.support.gateway_fixture import CONFIGURATION, DAYS, NIFTY, Client, Stores, asked, stored
from tests.support.generated import Batch
from tests.support.stage_chain import NSE, Chain, records
from tests.web.test_candles import candles
from topology.market.calendar import Calendar
from web.udf.symbols import hours

REAL_DAY = date(2022, 11, 22)


@pytest.fixture
async def real(stores: Stores, market_data: Path) -> AsyncIterator[tuple[Client, list[Row]]]:
    """A gateway that knows nothing but a recorded day of the index, and its rows."""
    rows = read_rows(market_data / f"{REAL_DAY}.csv")
    cut: list[Batch] = [
        (rows[start : start + 100], rows[start : start + 100][-1].time_ms) for start in range(0, len(rows), 100)
    ]
    cut.append(([], indian_ms(REAL_DAY, "15:35:00")))
    made = Chain().run(records(cut, {0: CONFIGURATION}))
    await stores.archived(stored(made))
    async with asked(stores) as client:
        yield client, rows


async def test_a_chart_loads_a_real_day_in_steps_to_the_left_edge(real: tuple[Client, list[Row]]) -> None:
    client, rows = real
    config = await client.get("/udf/config")
    assert {"1S", "1", "5", "15", "60", "1D"} <= set(config["supported_resolutions"])
    (found,) = await client.get("/udf/search", query="nifty", type="", exchange="", limit=30)
    symbol = await client.get("/udf/symbols", symbol=found["ticker"])
    assert (symbol["ticker"], symbol["timezone"], symbol["session"]) == (NIFTY_50, "Asia/Kolkata", "0915-1530")
    assert (symbol["pricescale"], symbol["minmov"], symbol["has_seconds"]) == (100, 1, True)
    bars: list[tuple[Any, ...]] = []
    step_s = 97 * 60
    until = indian_ms(REAL_DAY, "16:00:00") // 1000
    while True:
        page = await client.get(
            "/udf/history", symbol=symbol["ticker"], resolution="1", **{"from": until - step_s, "to": until}
        )
        if page["s"] == "no_data" and "nextTime" not in page:
            break
        if page["s"] == "no_data":
            assert page["nextTime"] < until - step_s
            until = page["nextTime"] + 60
            continue
        assert all(until - step_s <= at < until for at in page["t"])
        assert page["t"] == sorted(page["t"])
        bars = list(zip(*(page[name] for name in "tohlcv"), strict=True)) + bars
        until -= step_s
    traded = [row for row in rows if indian_ms(REAL_DAY, "09:15:00") <= row.time_ms < indian_ms(REAL_DAY, "15:30:00")]
    minutes: dict[int, list[float]] = {}
    for row in traded:
        minutes.setdefault(row.time_ms // 60_000 * 60, []).append(row.price / 100)
    assert bars == [(at, of[0], max(of), min(of), of[-1], 0) for at, of in sorted(minutes.items())]


async def test_the_longest_candles_are_those_of_the_day(real: tuple[Client, list[Row]]) -> None:
    client, rows = real
    midnight = int(datetime(REAL_DAY.year, REAL_DAY.month, REAL_DAY.day, tzinfo=UTC).timestamp())
    asked_for = {"from": midnight, "to": midnight + 86_400}
    day = await client.get("/udf/history", symbol=NIFTY_50, resolution="1D", **asked_for)
    traded = [
        row.price / 100
        for row in rows
        if indian_ms(REAL_DAY, "09:15:00") <= row.time_ms < indian_ms(REAL_DAY, "15:30:00")
    ]
    assert day["t"] == [midnight]
    assert (day["o"], day["h"], day["l"], day["c"]) == ([traded[0]], [max(traded)], [min(traded)], [traded[-1]])
    before = await client.get("/udf/history", symbol=NIFTY_50, resolution="D", **{"from": 0, "to": midnight})
    assert before == {"s": "no_data"}


@pytest.mark.parametrize("resolution", ["1S", "1", "5", "15", "60", "D"])
async def test_a_chart_that_counts_back_gets_that_many(client: Client, resolution: str) -> None:
    seconds = {"1S": 1, "1": 60, "5": 300}.get(resolution)
    page = await client.get("/udf/history", symbol="NSE:NIFTY", resolution=resolution, to=4_000_000_000, countback=2)
    assert len(page["t"]) == 2
    if seconds is not None:
        newest = candles(NIFTY, seconds)[:2][::-1]
        assert page["c"] == [candle.close / 100 for candle in newest]
        assert page["t"] == [candle.start_ms // 1000 for candle in newest]


async def test_quotes_are_in_rupees_and_an_unknown_one_spoils_none(client: Client) -> None:
    found = await client.get("/udf/quotes", symbols="NSE:99926000,NSE:NOBODY,BSE:RELIANCE")
    assert [(one["n"], one["s"]) for one in found["d"]] == [
        ("NSE:99926000", "ok"), ("NSE:NOBODY", "error"), ("BSE:RELIANCE", "ok")
    ]  # fmt: skip
    assert found["d"][0]["v"]["lp"] == candles(NIFTY, 1)[0].close / 100


async def test_candles_without_anything_special_have_no_marks(client: Client) -> None:
    found = await client.get("/udf/marks", symbol=NIFTY, resolution="5", **{"from": 0, "to": 4_000_000_000})
    assert {name: len(column) for name, column in found.items()} == dict.fromkeys(found, 0)


@pytest.mark.parametrize(
    ("path", "query", "status", "error"),
    [
        ("/udf/symbols", {"symbol": "NSE:NOBODY"}, 404, "unknown_symbol"),
        ("/udf/symbols", {}, 400, "invalid"),
        ("/udf/history", {"symbol": NIFTY, "resolution": "7"}, 404, "unknown_resolution"),
        ("/udf/history", {"symbol": NIFTY, "resolution": "1", "from": "x"}, 400, "invalid"),
        ("/udf/history", {"symbol": NIFTY, "resolution": "1", "countback": "0"}, 400, "invalid"),
        ("/udf/search", {"limit": "0"}, 400, "invalid"),
    ],
)
async def test_what_cannot_be_is_told(
    client: Client, path: str, query: dict[str, str], status: int, error: str
) -> None:
    assert (await client.get(path, status=status, **query))["error"] == error


async def test_times_before_the_epoch_and_far_ahead_are_taken(client: Client) -> None:
    page = await client.get("/udf/history", symbol=NIFTY, resolution="60", **{"from": -10_000, "to": 10**15})
    assert page["s"] == "ok"
    assert await client.get("/udf/time") > 1_600_000_000


def test_sessions_are_told_with_holidays_and_special_days() -> None:
    regular, holidays, others = hours(Calendar.parse(NSE), "index", indian_ms(DAYS[0], "12:00:00"))
    assert regular == "0915-1530"
    assert "20221108" in holidays.split(",")
    assert "1815-1915:20221024" in others.split(";")
