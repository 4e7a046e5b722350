"""Redis dies, comes back with what it had or with nothing, or isn't there yet: clients miss nothing of what counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateway_fixture import NIFTY
from tests.support.until import until
from tests.support.ws_market import CANDLES_60, SECONDS, SMA, TICK, Listening, Market, Served, confirmed, served
from topology.embedded import Valkey, free_port
from topology.sinks.mirror.mirror import MirrorAwayError, MirrorEmptiedError
from web.live import channel_history
from web.live.channel_state import ChannelState

PATIENCE_S = 20


@pytest.fixture
def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:  # type: ignore[misc] # it takes the place of the shared one
    """One of our own, to be killed."""
    server = Valkey(tmp_path / "valkey", free_port())
    server.start()
    yield server
    server.kill()


async def all_of(client: Listening, market: Market, channel: str) -> list[tuple[int, int]]:
    return await client.confirmed(channel, market.told(channel)[-1])


async def resumes(market: Market) -> None:
    """Let the mirror go on with what Redis lacks, as the role does: it starts anew where Redis was emptied."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            market.renew()
            try:
                return await market.mirrored(market.frames)
            except MirrorAwayError:  # a connection from before
                continue


async def test_what_is_said_around_a_crash_of_redis_comes_once_and_in_order(
    client: Listening, gateway: Served, market: Market, valkey: Valkey
) -> None:
    await market.run(100)
    await client.subscribe(symbol=NIFTY, tf=60)
    await client.subscribe(channels=[SECONDS])
    await market.run(30)
    valkey.kill()
    assert (await client.until(type="source"))["redis"] is False
    market.step(90)
    with pytest.raises(MirrorAwayError):
        await market.mirrored(market.frames[-4:])
    await market.catch_up()
    market.step(2)
    valkey.start()
    await resumes(market)  # Redis is empty, so all is said again
    assert (await client.until(type="source"))["redis"] is True
    await market.run(70)
    for channel in (SECONDS, CANDLES_60):
        while confirmed(client, channel)[-1:] != market.told(channel)[-1:]:
            await client.next()
    assert confirmed(client, SECONDS) == market.told(SECONDS)[100:]
    assert confirmed(client, CANDLES_60) == market.told(CANDLES_60)[1:]
    assert {message["epoch"] for message in client.heard if "epoch" in message} == {gateway.hub.epoch}


async def test_a_redis_that_is_emptied_and_filled_again_tells_clients_nothing_twice(
    client: Listening, market: Market
) -> None:
    await market.run(130)
    await client.subscribe(channels=[SECONDS, CANDLES_60, SMA])
    await market.run(10)
    await market.refilled()
    await market.run(60)
    while confirmed(client, CANDLES_60)[-1:] != market.told(CANDLES_60)[-1:]:
        await client.next()
    while confirmed(client, SECONDS)[-1:] != market.told(SECONDS)[-1:]:
        await client.next()
    assert confirmed(client, SECONDS) == market.told(SECONDS)[130:]
    assert confirmed(client, CANDLES_60) == market.told(CANDLES_60)[2:]


async def test_a_client_that_comes_while_redis_fills_again_gets_all_once(client: Listening, market: Market) -> None:
    await market.run(300)
    await market.client.flushall()
    market.renew()
    await market.mirrored(market.frames[:400])
    snapshot = await client.subscribe(symbol=NIFTY, tf=60)
    assert len(snapshot["candles"]) == 5
    await market.mirrored(market.frames[400:])
    await market.run(60)
    assert await all_of(client, market, CANDLES_60) == market.told(CANDLES_60)[-1:]


async def test_without_redis_there_is_history_and_live_values_when_it_comes(market: Market, valkey: Valkey) -> None:
    await market.run(130)
    valkey.kill()
    async with served(market) as gateway, gateway.client_of() as client:
        assert (await client.until(type="source"))["redis"] is False
        snapshot = await client.subscribe(symbol=NIFTY, tf=60)
        assert len(snapshot["candles"]) == 2
        snapshot = await client.subscribe(channels=[TICK, CANDLES_60])
        assert set(snapshot["latest"]) == {CANDLES_60}
        market.step(120)
        await market.catch_up()
        valkey.start()
        await resumes(market)
        assert (await client.until(type="source"))["redis"] is True
        assert await all_of(client, market, CANDLES_60) == market.told(CANDLES_60)[2:]
        await until(lambda: gateway.channels[CANDLES_60].state is ChannelState.LIVE)
        await market.run(1)
        await client.until(channel=TICK)


async def test_where_too_much_was_said_meanwhile_a_new_epoch_begins(
    client: Listening, gateway: Served, market: Market, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_history, "MOST_MISSED", 20)
    await market.run(100)
    await client.subscribe(reqId="chart", symbol=NIFTY, tf=60)
    await client.subscribe(reqId="names", channels=[SECONDS, TICK])
    epoch = gateway.hub.epoch
    valkey.kill()
    await client.until(type="source", redis=False)
    for _ in range(30):
        market.step()
    await market.catch_up()
    valkey.start()
    await resumes(market)
    hello = await client.until(type="hello")
    assert hello["epoch"] != epoch
    snapshots = {message["reqId"]: message for message in [await client.until(type="SNAPSHOT") for _ in range(2)]}
    assert len(snapshots["chart"]["candles"]) == 2
    assert snapshots["names"]["channels"] == [SECONDS, TICK]
    assert snapshots["names"]["positions"][SECONDS]["position"] == 129
    await market.run(1)
    message = await client.until(channel=SECONDS)
    assert (message["data"]["position"], message["epoch"]) == (130, hello["epoch"])


async def test_many_crashes_lose_and_repeat_nothing(market: Market, valkey: Valkey) -> None:
    await market.run(2)
    async with served(market) as gateway, gateway.client_of() as client:
        await client.subscribe(channels=[SECONDS, CANDLES_60])
        for _ in range(6):
            await market.run(20)
            valkey.kill()
            market.step(70)
            await market.catch_up()
            valkey.start()
            await resumes(market)
            await market.run(3)
            for channel in (SECONDS, CANDLES_60):  # the one is said after the other
                while confirmed(client, channel)[-1:] != market.told(channel)[-1:]:
                    await client.next()
        assert confirmed(client, SECONDS) == market.told(SECONDS)[2:]
        assert confirmed(client, CANDLES_60) == market.told(CANDLES_60)


async def test_the_mirror_that_notices_starts_anew(market: Market) -> None:
    await market.run(3)
    await market.client.flushall()
    with pytest.raises(MirrorEmptiedError):
        await market.mirrored(market.step())
