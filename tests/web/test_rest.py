"""What is there besides candles: indicators, instruments, the market, and the document that describes it all."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
from contextlib import closing
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from yarl import URL

from tests.reference.brute_force import indian_ms
from tests.support.gateway_fixture import (
    CONFIGURATION,
    DAYS,
    NIFTY,
    NOW_MS,
    STOCK,
    TOKEN,
    Client,
    FixedLog,
    Stores,
    asked,
    two_days,
)
from tests.support.stage_chain import NSE, values_of
from topology.indicators import TYPES
from topology.log.lag import TopicLag
from topology.market.calendar import Calendar
from web.ports import Standing
from web.rest import ENDPOINTS
from web.rest.market import label, status_at

AUTHORIZED: dict[str, Any] = {"Authorization": f"Bearer {TOKEN}"}


async def test_values_of_an_indicator_come_in_pages_too(client: Client) -> None:
    wanted = {
        ts: value
        for (name, spec, tf, ts), value in values_of(two_days()[1]).items()
        if (name, spec, tf) == (NIFTY, "RSI_14", 60)
    }
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"name": "RSI_14", "tf": 60, "token": NIFTY, "limit": 97}
    while True:
        found += await client.get("/api/indicators/history", **query)
        if "next" not in client.answer.links:
            break
        query["before"] = URL(client.answer.links["next"]["url"]).query["before"]
    assert [(row["ts"] * 1000, row["value"]) for row in found] == [
        (ts, pytest.approx(value, abs=5e-5)) for ts, value in sorted(wanted.items(), reverse=True)
    ]
    assert {(row["name"], row["ready"], row["live"]) for row in found} == {("RSI_14", True, False)}
    oldest_first = await client.get("/indicators", name="RSI_14", tf=60, token=NIFTY, limit=50)
    assert oldest_first == found[:50][::-1]


async def test_a_chart_has_values_where_none_were_published(filled: Stores) -> None:
    async with asked(filled) as client:
        published = await client.get("/api/indicators/history", name="EMA_9", tf=300, token=NIFTY, limit=5000)
        whole = await client.get(
            "/api/indicators/history", name="EMA_9", tf=300, token=NIFTY, limit=5000, fill="computed"
        )
        assert whole == published, "there is none before the first that is ready"
        folded = await client.get(
            "/api/indicators/history", name="SMA_3", tf=900, token=NIFTY, limit=5, fill="computed"
        )
        closes = [row["close"] for row in await client.get("/api/candles", tf=900, token=NIFTY, limit=7)]
    assert [row["value"] for row in folded] == [round(sum(closes[n : n + 3]) / 3, 4) for n in range(5)]
    assert all(row["computed"] for row in folded)
    log = FixedLog(configuration=msgspec.structs.replace(CONFIGURATION, timeframes={60: []}))
    await filled.client.flushall()
    with closing(sqlite3.connect(filled.path)) as archive, archive:
        archive.execute("DELETE FROM indicators WHERE ts < ?", [published[30]["ts"]])
    async with asked(filled, log) as client:
        query: dict[str, Any] = {"name": "EMA_9", "tf": 300, "token": NIFTY, "fill": "computed"}
        found = await client.get("/api/indicators/history", **query, limit=50)
        older = await client.get("/api/indicators/history", **query, limit=20, before=found[29]["ts"])
    assert found[:31] == published[:31]
    assert [row["ts"] for row in found] == [row["ts"] for row in published[:50]]
    assert all("computed" in row for row in found[31:])
    for mine, theirs in zip(found, published, strict=False):
        assert mine["value"] == pytest.approx(theirs["value"], rel=1e-6)
    assert [row["ts"] for row in older] == [row["ts"] for row in published[30:50]]


async def test_the_latest_values_are_those_of_every_indicator_by_channel(client: Client) -> None:
    latest = await client.get("/api/indicators/latest")
    (newest,) = await client.get("/api/indicators/history", name="SMA_3", tf=60, token=NIFTY, limit=1)
    assert latest[f"pub:ind:SMA_3:60s:{NIFTY}"] == newest
    assert set(latest) == {
        f"pub:ind:{name}:{tf}s:{instrument}"
        for instrument in (NIFTY, STOCK)
        for tf, name in ((60, "SMA_3"), (60, "RSI_14"), (120, "SMA_3"), (120, "RSI_14"), (300, "EMA_9"))
    }


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ({"name": "SMA_4", "tf": "60", "token": NIFTY}, 404, "unknown_indicator"),
        ({"name": "SMA_3", "tf": "77", "token": NIFTY}, 404, "unknown_indicator"),
        ({"name": "XYZ_3", "tf": "60", "token": NIFTY}, 400, "invalid"),
        ({"name": "SMA", "tf": "60", "token": NIFTY}, 400, "invalid"),
        ({"name": "SMA_3' OR 1=1 --", "tf": "60", "token": NIFTY}, 400, "invalid"),
        ({"tf": "60", "token": NIFTY}, 400, "invalid"),
    ],
)
async def test_an_indicator_that_is_not_computed_is_told(
    client: Client, query: dict[str, str], status: int, error: str
) -> None:
    for path in ("/api/indicators/history", "/indicators"):
        assert (await client.get(path, status=status, **query))["error"] == error


async def test_which_indicators_are_shown_is_known_to_all_gateways(filled: Stores) -> None:
    log = FixedLog()
    async with asked(filled, log) as one, asked(filled, log) as other:
        computed = await one.get("/api/indicators/active")
        assert computed["entries"][0] == {"name": "SMA_3", "tf": 60}
        assert len(computed["entries"]) == 5
        chosen = {"entries": [{"name": "EMA_9", "tf": 300, "color": "#26a69a"}]}
        assert await one.post("/api/indicators/active", msgspec.json.encode(chosen), **AUTHORIZED) == {"status": "ok"}
        assert await other.get("/api/indicators/active") == chosen
        for wrong in (
            b"{",
            b"[]",
            b'{"entries":[{"name":"SMA_99","tf":60}]}',
            b'{"entries":[{"name":"SMA_3","tf":60,"color":"red"}]}',
        ):
            problem = await one.post(
                "/api/indicators/active", wrong, status=404 if b"99" in wrong else 400, **AUTHORIZED
            )
            assert set(problem) == {"error", "detail"}
        assert await other.get("/api/indicators/active") == chosen


async def test_instruments_are_listed_with_names_and_last_prices(client: Client) -> None:
    found = await client.get("/tokens")
    assert [(one["exchange"], one["token"], one["symbol"]) for one in found] == [
        ("BSE", "500325", "RELIANCE"), ("NSE", "99926000", "NIFTY")
    ]  # fmt: skip
    (newest,) = await client.get("/api/candles", token=NIFTY, tf=1, limit=1)
    assert found[1]["price"] == newest["close"]
    assert found[1]["tick_ts"] // 1000 == newest["ts"]


async def test_a_stretch_of_candles_comes_oldest_first(client: Client) -> None:
    opens = indian_ms(DAYS[1], "09:15:00") // 1000
    found = await client.get("/candles", token="99926000", tf=60, **{"from": opens, "to": opens + 600})
    assert [row["ts"] for row in found] == list(range(opens, opens + 600, 60))
    assert (
        await client.get(
            "/candles", token=NIFTY, **dict[str, Any]({"from": "2022-11-22T09:15", "to": "2022-11-22T09:25:00+05:30"})
        )
        == found
    )
    assert await client.get("/candles", token=NIFTY, limit=3, **{"from": opens, "to": opens + 600}) == found[-3:]
    quarters = await client.get("/candles", token=NIFTY, tf=900, **{"from": opens + 1, "to": opens + 2700})
    assert [row["ts"] for row in quarters] == [opens + 900, opens + 1800], "one that begins before isn't cut in two"


async def test_timeframes_and_configuration_are_those_of_the_log(client: Client) -> None:
    found = await client.get("/api/tfs")
    assert [(one["seconds"], one["label"]) for one in found if one["stored"]] == [(60, "1m"), (120, "2m"), (300, "5m")]
    assert {"seconds": 86_400, "label": "1D", "stored": False} in found
    told = await client.get("/api/config")
    assert (told["tfs"], told["tokens"]) == ([60, 120, 300], [STOCK, NIFTY])
    assert told["indicators"] == ["SMA_3", "RSI_14", "EMA_9"]
    assert told["timeframes"]["300"] == ["EMA_9"]
    assert told["simulated"] is False


async def test_pages_learn_of_every_type_of_indicators_from_the_configuration(client: Client) -> None:
    types = {one.pop("id"): one for one in (await client.get("/api/config"))["indicator_types"]}
    assert list(types) == list(TYPES)
    assert types["RSI"] == {
        "title": "Relative strength index",
        "about": "The share of gains in all changes, from 0 to 100",
        "longest_period": 499,
        "default_period": 14,
        "pane": "own",
        "levels": [70, 30],
        "bounds": [10, 90],
    }
    assert {name for name, one in types.items() if one["pane"] == "own"} == {"RSI"}


async def test_how_far_roles_are_is_told(filled: Stores) -> None:
    log = FixedLog()
    log.standing_now = Standing(
        NOW_MS, [TopicLag("mirror", problem="Redis is away"), TopicLag("feed", "ticks", 0, 0.0, [])]
    )
    async with asked(filled, log) as client:
        found = await client.get("/api/pipeline")
    assert (found["redis"], found["sqlite"], found["clock_ms"]) == ("Redis is away", "ok", NOW_MS)
    assert found["stages"][1]["stage"] == "ticks"
    made = two_days()[1]
    assert found["ticks"]["accepted"] == sum(one.candles.accepted for one in made)
    assert found["ticks"]["late"] == sum(len(one.candles.late) for one in made)


async def test_metrics_have_the_load_and_memory_of_this_machine(client: Client) -> None:
    found = await client.get("/api/metrics")
    assert found["cpu_cores"] >= 1
    assert 0 < found["mem_used_mb"] < found["mem_total_mb"]
    assert 0 < found["process_mb"] < found["mem_total_mb"]


@pytest.mark.parametrize(
    ("day", "clock", "phase", "reason", "next_change"),
    [
        (DAYS[0], "09:14:59", "closed", "before the open", (DAYS[0], "09:15:00")),
        (DAYS[0], "09:15:00", "open", "regular", (DAYS[0], "15:30:00")),
        (DAYS[0], "15:30:00", "closed", "after the close", (DAYS[1], "09:15:00")),
    ],
)
async def test_whether_the_market_is_open_and_until_when(
    day: Any, clock: str, phase: str, reason: str, next_change: tuple[Any, str]
) -> None:
    found = status_at(Calendar.parse(NSE), "equity", indian_ms(day, clock))
    assert (found.phase, found.reason, found.next_change_ms) == (phase, reason, indian_ms(*next_change))


async def test_hot_reload_hands_on_what_is_asked_and_refuses_what_is_no_such_thing(filled: Stores) -> None:
    log = FixedLog()
    async with asked(filled, log) as client:
        body = b'[{"TF":60,"Indicators":[{"Type":"SMA","Period":34}]},{"TF":300}]'
        found = await client.post("/reload", body, **AUTHORIZED)
        assert found == {"status": "ok", "preserved": [], "created": [], "removed": [], "notes": []}
        assert log.asked == [[(60, ["SMA:34"]), (300, [])]]
        for wrong in (
            b"",
            b"{",
            b"[]",
            b"{}",
            b'[{"TF":"60"}]',
            b'[{"tf":60}]',
            b'[{"TF":60,"Indicators":[{"Type":1}]}]',
        ):
            problem = await client.post("/reload", wrong, status=400, **AUTHORIZED)
            assert problem["error"] == "invalid"


async def test_every_endpoint_is_described_with_an_example_that_works(client: Client) -> None:
    document = await client.get("/api/docs")
    described = {(method.upper(), path) for path, of in document["paths"].items() for method in of}
    assert described == {(one.method, one.path) for one in ENDPOINTS}
    for endpoint in ENDPOINTS:
        if endpoint.method == "GET":
            query: dict[str, Any] = dict(parse_qsl(endpoint.example))
            if "name" in query:
                query["name"] = "SMA_3"
            await client.get(endpoint.path, **query)
        else:
            status = 404 if "active" in endpoint.path else 200  # the example's indicator isn't computed here
            await client.post(endpoint.path, endpoint.example.encode(), status=status, **AUTHORIZED)
        assert inspect.getdoc(endpoint.call)
    named = msgspec.json.encode(document).split(b"#/components/schemas/")[1:]
    assert {name.partition(b'"')[0].decode() for name in named} <= set(document["components"]["schemas"])


async def test_many_who_ask_at_the_same_time_get_the_same(client: Client) -> None:
    answers = await asyncio.gather(*(client.get("/api/candles", token=NIFTY, tf=900, limit=20) for _ in range(40)))
    assert all(answer == answers[0] for answer in answers)


def test_labels() -> None:
    assert [label(seconds) for seconds in (1, 30, 60, 3600, 86_400)] == ["1s", "30s", "1m", "1h", "1D"]


async def test_an_instrument_that_has_just_got_its_first_price_is_known_within_a_moment(stores: Stores) -> None:
    now_ms = NOW_MS
    async with asked(stores, now_ms=lambda: now_ms) as client:
        await client.get("/api/candles", token=NIFTY, status=404)
        await stores.ticked(two_days()[0][:100])
        now_ms += 500
        assert await client.get("/api/candles", token=NIFTY) == []
