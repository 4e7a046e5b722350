"""Pages of candles: Redis runs on into SQLite, timeframes are folded, quiet times filled."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from yarl import URL

from tests.reference.brute_force import indian_ms
from tests.support.gateway_fixture import DAYS, NIFTY, STOCK, Client, FixedLog, Stores, asked, stored, two_days
from tests.support.stage_chain import NSE
from topology.market import Candle, Gap
from topology.market.calendar import Calendar
from topology.market.timeframe_candles import TimeframeCandles


def candles(instrument: str, timeframe_s: int) -> list[Candle]:
    """What the stages have made, the newest first."""
    made = two_days()[1]
    rows = [row for one in made for row in (*one.candles.rows, *one.timeframes.rows)]
    return [row for row in rows if (row.instrument, row.timeframe_s) == (instrument, timeframe_s)][::-1]


def told(row: dict[str, Any]) -> tuple[int, ...]:
    """What a row of an answer says."""
    count = row["ticks_count"] if row["tf"] == 1 else row["count"]
    return (row["ts"] * 1000, row["open"], row["high"], row["low"], row["close"], row["volume"], count)


def made(candle: Candle) -> tuple[int, ...]:
    return (candle.start_ms, candle.open, candle.high, candle.low, candle.close, candle.volume, candle.count)


async def paged(client: Client, **query: Any) -> list[dict[str, Any]]:
    """Follow the cursor to the left edge."""
    found: list[dict[str, Any]] = []
    while True:
        page = await client.get("/api/candles", **query)
        found += page
        following = client.answer.links.get("next")
        if following is None:
            return found
        query["before"] = URL(following["url"]).query["before"]


@pytest.mark.parametrize("timeframe_s", [1, 60, 300])
@pytest.mark.parametrize("limit", [37, 5000])
async def test_pages_hold_every_candle_once_though_redis_has_only_the_newest(
    client: Client, filled: Stores, timeframe_s: int, limit: int
) -> None:
    wanted = [made(candle) for candle in candles(STOCK, timeframe_s)]
    found = await paged(client, token="500325", exchange="BSE", tf=timeframe_s, limit=limit)
    assert [told(row) for row in found] == wanted
    if timeframe_s == 60:
        in_redis = await filled.client.xlen(f"candle:60s:{STOCK}")
        assert 0 < in_redis < len(wanted)


@pytest.mark.parametrize("timeframe_s", [900, 1800, 3600, 86_400])
@pytest.mark.parametrize("instrument", [NIFTY, STOCK])
async def test_longer_timeframes_equal_those_of_the_stages(client: Client, instrument: str, timeframe_s: int) -> None:
    seconds = candles(instrument, 1)[::-1]
    wanted = TimeframeCandles(Calendar.parse(NSE), [timeframe_s]).apply(seconds, indian_ms(DAYS[1], "23:00:00"))
    found = await paged(client, token=instrument, tf=timeframe_s, limit=7)
    assert [told(row) for row in found] == [made(candle) for candle in reversed(wanted)]
    assert {row["tf"] for row in found} == {timeframe_s}
    positions = [row["position"] for row in found]
    assert positions == sorted(positions, reverse=True)


async def test_a_longer_candle_that_has_not_ended_is_not_told(stores: Stores) -> None:
    frames, whole = two_days()
    until = next(n for n, frame in enumerate(frames) if frame.clock_ms >= indian_ms(DAYS[0], "10:07:30"))
    await stores.mirrored(stored(whole[:until]))
    await stores.archived(stored(whole[:until]))
    async with asked(stores) as client:
        found = await client.get("/api/candles", token=NIFTY, tf=900)
        inside = await client.get("/api/candles", token=NIFTY, tf=900, before=indian_ms(DAYS[0], "09:31:00") // 1000)
    assert found[0]["ts"] * 1000 == indian_ms(DAYS[0], "09:45:00")
    assert [row["ts"] * 1000 for row in inside] == [indian_ms(DAYS[0], "09:30:00"), indian_ms(DAYS[0], "09:15:00")]
    assert inside[0] == found[1], "a candle that the cursor cuts is whole all the same"


async def test_candles_that_arrive_while_somebody_pages_change_nothing_for_him(stores: Stores) -> None:
    whole = two_days()[1]
    half = len(whole) // 2
    await stores.mirrored(stored(whole[:half]))
    await stores.archived(stored(whole[:half]))
    async with asked(stores) as client:
        page = await client.get("/api/candles", token=NIFTY, tf=60, limit=50)
        first = [told(row) for row in page]
        await stores.mirrored(stored(whole[half:]))
        await stores.archived(stored(whole[half:]))
        rest = await paged(client, token=NIFTY, tf=60, limit=50, before=page[-1]["ts"])
    wanted = [made(candle) for candle in candles(NIFTY, 60)]
    assert first + [told(row) for row in rest] == wanted[wanted.index(first[0]) :]


async def test_quiet_minutes_are_filled_flat_within_sessions(client: Client) -> None:
    found = await paged(client, token=STOCK, tf=60, limit=41, fill="flat")
    real = candles(STOCK, 60)
    assert [told(row) for row in found if not row.get("synthetic")] == [made(candle) for candle in real]
    minutes = [
        start_ms
        for day in DAYS
        for start_ms in range(indian_ms(day, "09:15:00"), indian_ms(day, "15:30:00"), 60_000)
        if real[-1].start_ms <= start_ms <= real[0].start_ms
    ]
    assert [row["ts"] * 1000 for row in found] == minutes[::-1]
    for before, row in itertools.pairwise(found[::-1]):
        if row.get("synthetic"):
            assert {row[name] for name in ("open", "high", "low", "close")} == {before["close"]}
            assert (row["volume"], row["count"]) == (0, 0)


async def test_what_one_store_lacks_the_other_one_has(stores: Stores) -> None:
    whole = stored(two_days()[1])
    await stores.archived(whole)
    async with asked(stores) as client:
        found = await client.get("/api/candles", token=NIFTY, tf=60, limit=100)
    await stores.mirrored(whole)
    async with asked(stores) as client:
        assert await client.get("/api/candles", token=NIFTY, tf=60, limit=100) == found
    await stores.ticked(two_days()[0][-100:])
    stores.path.unlink()
    async with asked(stores) as client:
        assert await client.get("/api/candles", token=NIFTY, tf=60, limit=100) == found


async def test_a_page_with_a_hole_is_refused(stores: Stores) -> None:
    whole = two_days()[1]
    await stores.archived(stored(whole[:100]))
    await stores.mirrored(stored(whole))
    async with asked(stores) as client:
        newest = await client.get("/api/candles", token=NIFTY, tf=60, limit=100)
        assert len(newest) == 100
        problem = await client.get("/api/candles", token=NIFTY, tf=60, limit=5000, status=503)
    assert problem["error"] == "archive_unavailable"


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ({"token": "1"}, 404, "unknown_token"),
        ({"token": "x'; drop table candles_tf"}, 400, "invalid"),
        ({"token": "../../etc/passwd"}, 400, "invalid"),
        ({"token": NIFTY, "exchange": "NSE", "tf": "61"}, 404, "unknown_timeframe"),
        ({"token": NIFTY, "tf": "-60"}, 400, "invalid"),
        ({"token": NIFTY, "tf": "abc"}, 400, "invalid"),
        ({"token": NIFTY, "limit": "0"}, 400, "invalid"),
        ({"token": NIFTY, "limit": "-1"}, 400, "invalid"),
        ({"token": NIFTY, "limit": "1e9"}, 400, "invalid"),
        ({"token": NIFTY, "limit": "1000000000"}, 400, "invalid"),
        ({"token": NIFTY, "limit": "abc"}, 400, "invalid"),
        ({"token": NIFTY, "before": "yesterday"}, 400, "invalid"),
        ({"token": NIFTY, "fill": "round"}, 400, "invalid"),
        ({}, 400, "invalid"),
    ],
)
async def test_what_cannot_be_is_told_with_its_name(
    client: Client, query: dict[str, str], status: int, error: str
) -> None:
    problem = await client.get("/api/candles", status=status, **query)
    assert problem["error"] == error
    assert set(problem) == {"error", "detail"}
    for name in ("limit", "tf", "before", "fill"):
        if name in query and error == "invalid":
            assert name in problem["detail"]


@pytest.mark.parametrize("before", ["99999999999", "9" * 30, "2099-01-01", "2026-11-24T09:15:00+05:30"])
async def test_a_time_in_the_future_means_the_newest_page(client: Client, before: str) -> None:
    for timeframe_s in (60, 900):
        newest = await client.get("/api/candles", token=NIFTY, tf=timeframe_s, limit=3)
        assert await client.get("/api/candles", token=NIFTY, tf=timeframe_s, limit=3, before=before) == newest


async def test_a_timeframe_that_goes_leaves_its_candles_readable_by_folding(filled: Stores) -> None:
    log = FixedLog()
    log.configuration = type(log.configuration)(2, {60: []}, {}, NSE, 1000)
    async with asked(filled, log) as client:
        found = await client.get("/api/candles", token=NIFTY, tf=300, limit=10)
    assert [told(row) for row in found] == [made(candle) for candle in candles(NIFTY, 300)[:10]]


async def test_gaps_of_the_feed_are_told_and_never_filled(stores: Stores) -> None:
    whole = two_days()[1]
    quiet = [c.start_ms for c in candles(STOCK, 60)]
    real = set(quiet)
    opens = indian_ms(DAYS[0], "09:15:00")
    first = next(ms for ms in range(quiet[-1], quiet[0], 60_000) if ms not in real and ms > opens + 3_600_000)
    gap = Gap([STOCK], first - 30_000, first + 30_000)
    doubt = Gap([STOCK], quiet[-1], quiet[0], broken=False)
    told_of = msgspec.structs.replace(whole[5].candles, gaps=[gap, doubt])
    made = [*whole[:5], whole[5]._replace(candles=told_of), *whole[6:]]
    await stores.archived(stored(made))
    async with asked(stores) as client:
        found = await client.get("/api/candles", token=STOCK, tf=60, limit=5000, fill="flat")
        gaps = await client.get("/api/gaps", token=STOCK, **{"from": first // 1000, "to": first // 1000 + 1})
        none = await client.get("/api/gaps", token=NIFTY)
        rest = await client.get("/api/gaps", token=STOCK, **{"from": first // 1000 + 30, "to": first // 1000 + 40})
    assert first not in {row["ts"] * 1000 for row in found}
    assert sum(row.get("synthetic", False) for row in found) > 10
    assert [(one["from_ms"], one["to_ms"], one["broken"]) for one in gaps] == [
        (doubt.from_ms, doubt.to_ms, False), (gap.from_ms, gap.to_ms, True)
    ]  # fmt: skip
    assert none == []
    assert len(rest) == 1
