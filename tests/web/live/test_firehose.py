"""Clients that subscribe nothing get all channels; all get broadcasts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.support.gateway_fixture import CONFIGURATION, NIFTY, STOCK
from tests.support.until import until
from tests.support.ws_market import CANDLES_60, OPEN_MS, SECONDS, TICK, Listening, Market, Served, confirmed
from topology.log.frames import FeedEvent
from web.rest.indicators import ACTIVE_KEY

ALL = {
    f"pub:{name}:{instrument}" for name in ("candle:60s", "candle:1s", "ind:SMA_3:60s") for instrument in (NIFTY, STOCK)
} | {TICK}


@pytest.fixture(autouse=True)
def undecided() -> None:
    """Clients get all channels soon."""


@pytest.fixture
async def client(gateway: Served, market: Market) -> AsyncIterator[Listening]:
    """One that comes after two minutes."""
    await market.run(120)
    async with gateway.client_of() as found:
        yield found


async def initial(client: Listening, count: int = len(ALL)) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while len(found) < count:
        message = await client.next()
        if message.get("initial"):
            found[message["channel"]] = message["data"]
    return found


async def test_who_subscribes_nothing_gets_the_newest_of_all_and_then_all(client: Listening, market: Market) -> None:
    newest = await initial(client)
    assert set(newest) == ALL
    for channel in ALL - {TICK}:
        assert (newest[channel]["position"], newest[channel]["ts"]) == market.told(channel)[-1]
    await market.run(60, live=True)
    assert await client.confirmed(CANDLES_60, market.told(CANDLES_60)[-1]) == market.told(CANDLES_60)[-1:]
    while confirmed(client, SECONDS)[-1:] != market.told(SECONDS)[-1:]:
        await client.next()
    assert confirmed(client, SECONDS) == market.told(SECONDS)[119:]
    assert any(message.get("data", {}).get("forming") for message in client.heard)


async def test_who_says_since_when_gets_what_is_newer(gateway: Served, market: Market) -> None:
    await market.run(121)
    since_s = OPEN_MS // 1000 + 100
    for text in (str(since_s), str(since_s * 1000), "2022-11-21T03:46:40Z", "2022-11-21T09:16:40+05:30"):
        async with gateway.client_of(f"?last_ts={text.replace('+', '%2B')}") as client:
            assert set(await initial(client, 3)) == {TICK, SECONDS, SECONDS.replace(NIFTY, STOCK)}
            await market.run(1)
            await client.until(channel=SECONDS)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect(f"http://127.0.0.1:{gateway.port}/ws?last_ts=yesterday")


async def test_who_subscribes_later_gets_only_that(client: Listening, gateway: Served, market: Market) -> None:
    await initial(client)
    await client.subscribe(channels=[TICK])
    assert not gateway.hub.firehose
    await market.run(60)
    messages = [await client.next() for _ in range(3)]
    assert {message["channel"] for message in messages if "channel" in message} == {TICK}
    assert gateway.live.link.connection is not None
    assert not gateway.live.link.connection.hears_all_channels


async def test_one_of_the_firehose_and_one_who_subscribes_both_get_all_once(
    client: Listening, gateway: Served, market: Market
) -> None:
    await initial(client)
    async with gateway.client_of() as other:
        await other.subscribe(channels=[SECONDS])
        await market.run(5)
        for one in (client, other):
            await one.confirmed(SECONDS, market.told(SECONDS)[-1])
        assert confirmed(other, SECONDS) == market.told(SECONDS)[120:]
        assert confirmed(client, SECONDS) == market.told(SECONDS)[119:]
    await market.run(1)
    await client.confirmed(SECONDS, market.told(SECONDS)[-1])


async def test_nobody_pays_for_the_firehose_when_nobody_listens(gateway: Served, market: Market) -> None:
    await market.run(60)
    async with gateway.client_of() as client:
        await initial(client)
        assert await market.client.pubsub_numpat() == 1
    await until(
        lambda: gateway.live.link.connection is not None and not gateway.live.link.connection.hears_all_channels
    )
    assert await market.client.pubsub_numpat() == 0
    assert not gateway.hub.clients


async def test_what_is_shown_is_broadcast(client: Listening, gateway: Served) -> None:
    await client.next()
    await gateway.gateway.store.mirror.keep(ACTIVE_KEY, b'{"entries":[{"name":"SMA_3","tf":60,"color":"#26a69a"}]}')
    update = await client.until(type="config_update")
    assert update["entries"] == [{"name": "SMA_3", "tf": 60, "color": "#26a69a"}]
    assert update["ts"]


async def test_events_of_the_feed_are_broadcast(client: Listening, gateway: Served) -> None:
    await client.next()
    gateway.live.broadcaster.broadcast_event(
        FeedEvent(1, "log", 5, "gap", from_ms=1, to_ms=4, instruments=2, detail="none")
    )
    assert await client.until(type="event") == {
        "type": "event", "kind": "gap", "at_ms": 5, "from_ms": 1, "to_ms": 4, "instruments": 2, "detail": "none",
    }  # fmt: skip


async def test_how_things_are_is_broadcast_every_two_seconds_and_a_new_configuration_once(
    client: Listening, gateway: Served, market: Market
) -> None:
    hello = await client.next()
    gateway.start_broadcasts()
    first = await client.until(type="metrics")
    assert {"cpu_load_1", "uptime_sec"} <= set(first["metrics"])
    assert first["marketOpen"] == (first["market"]["phase"] == "open")
    assert first["market"]["phase"] in first["marketStatus"]
    gateway.log.configuration = CONFIGURATION.__class__(9, {60: []}, {}, CONFIGURATION.calendar, 1000)
    told = await client.until(type="configuration")
    assert (told["config"]["tfs"], told["config"]["log"]) == ([60], hello["log"])
    await client.until(type="metrics")
    assert sum(message.get("type") == "configuration" for message in client.heard) == 1
