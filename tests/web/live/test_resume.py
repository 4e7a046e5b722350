"""A client that was cut off goes on where it was: nothing is missing, nothing comes twice.

Only what was corrected before the client came back is told once, as it is now.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.support.gateway_fixture import NIFTY
from tests.support.ws_market import CANDLES_60, SECONDS, SMA, TICK, Listening, Market, Served, served
from web.live import channel_history

INDICATOR = {"id": "sma", "params": {"length": 3}}
CUTS = 200


class Taker:
    """Takes what a client is sent, and knows where it is in each channel."""

    def __init__(self, *channels: str) -> None:
        self.had: dict[str, list[tuple[int, int]]] = {channel: [] for channel in channels}
        self.resume: dict[str, dict[str, int]] = {}

    def take(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            channel, data = message.get("channel"), message.get("data", {})
            if channel in self.had and not data.get("forming") and not data.get("live"):
                self.had[channel].append((data["position"], data["ts"]))
                self.resume[channel] = {"partition": data["partition"], "position": data["position"]}

    def start(self, snapshot: dict[str, Any]) -> None:
        assert set(snapshot["resumed"]) == set(self.resume)
        self.resume |= snapshot["positions"]

    def has_repeated(self) -> bool:
        return any(len(set(had)) < len(had) for had in self.had.values())

    def at_end(self, market: Market) -> bool:
        return all(told and self.had[channel][-1:] == told[-1:] for channel, told in self.wanted(market).items())

    def wanted(self, market: Market) -> dict[str, list[tuple[int, int]]]:
        return {channel: market.told(channel) for channel in self.had}


async def test_two_hundred_cuts_at_any_message_lose_and_repeat_nothing(market: Market) -> None:
    chance = random.Random(11)
    taker = Taker(CANDLES_60, SECONDS, SMA)
    await market.run(1)
    async with served(market) as one, served(market) as other:
        async with one.client_of() as client:  # from the first message on
            snapshot = await client.subscribe(symbol=NIFTY, tf=60, indicators=[INDICATOR], history={"candles": 0})
            assert snapshot["candles"] == []
            await client.subscribe(channels=[SECONDS])
            taker.had[SECONDS] = market.told(SECONDS)[:1]
            await market.run(70)
            while not taker.at_end(market):
                taker.take(await client.piece())
        for cut in range(CUTS):
            driven = asyncio.create_task(drive(market, chance))
            async with chance.choice([one, other]).client_of() as client:
                await resumed(client, taker)
                for _ in range(chance.randrange(12)):
                    if not taker.at_end(market):
                        taker.take(await client.piece())
            await driven
            assert not taker.has_repeated(), f"at cut {cut}"
        async with other.client_of() as client:
            await resumed(client, taker)
            while not taker.at_end(market):
                taker.take(await client.piece())
    for channel, had in taker.had.items():
        told = market.told(channel)
        known = set(had)
        assert known <= set(told)
        last = dict(zip((ts for _, ts in told), (position for position, _ in told), strict=True))
        missing = [(position, ts) for position, ts in told if (position, ts) not in known]
        assert all(last[ts] > position for position, ts in missing), missing  # a correction has taken its place
        assert had == sorted(had)
    assert len(taker.had[CANDLES_60]) > CUTS


async def drive(market: Market, chance: random.Random) -> None:
    """Let some seconds pass, often many at once; the archive is behind."""
    for _ in range(chance.randint(1, 6)):
        corrected = chance.randrange(market.minutes) if chance.random() < 0.1 else None
        step = market.step(chance.choice([1, 1, 3, 60, 130]), live=chance.random() < 0.5, correct=corrected)
        await market.mirrored(step)
        if chance.random() < 0.5:
            await market.catch_up()
    await market.catch_up()


async def resumed(client: Listening, taker: Taker) -> None:
    for request in (
        {"symbol": NIFTY, "tf": 60, "indicators": [INDICATOR], "resume": taker.resume},
        {"channels": [SECONDS, TICK], "resume": taker.resume},
    ):
        await client.send(type="SUBSCRIBE", **request)
    while sum(message["type"] == "SNAPSHOT" for message in client.heard if "type" in message) < 2:
        messages = await client.piece()
        for message in messages:
            if message.get("type") == "SNAPSHOT":
                assert set(message["resumed"]) == set(taker.resume) & set(message.get("channels", [CANDLES_60, SMA]))
                assert not set(message["positions"]) & set(message["resumed"])
        taker.take(messages)


@pytest.mark.parametrize(
    ("partition", "position", "why"),
    [(0, 4711, "beyond the newest"), (1, 5, "another partition"), (0, -2, "none"), (0, 1 << 60, "far beyond")],
)
async def test_a_position_that_there_is_not_brings_history(
    client: Listening, market: Market, partition: int, position: int, why: str
) -> None:
    await market.run(200)
    snapshot = await client.subscribe(
        symbol=NIFTY, tf=60, resume={CANDLES_60: {"partition": partition, "position": position}}
    )
    assert snapshot["resumed"] == []
    assert len(snapshot["candles"]) == 3


async def test_too_much_that_was_missed_brings_history(
    client: Listening, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_history, "MOST_MISSED", 10)
    await market.run(30)
    for position, resumed in ((19, [SECONDS]), (18, [])):
        snapshot = await client.subscribe(channels=[SECONDS], resume={SECONDS: {"partition": 0, "position": position}})
        assert snapshot["resumed"] == resumed, position
        await client.send(type="UNSUBSCRIBE", channels=[SECONDS])


async def test_candles_of_one_position_come_in_one_piece(client: Listening, market: Market) -> None:
    await market.run(1)
    await client.subscribe(channels=[SECONDS])
    await market.run(1, seconds=30)
    piece = await client.piece()
    assert [message["data"]["position"] for message in piece] == [1] * 30
    assert [message["channel_seq"] for message in piece] == list(range(1, 31))


async def test_a_client_that_is_there_is_not_told_again_what_it_has(client: Listening, market: Market) -> None:
    await market.run(130)
    await client.subscribe(symbol=NIFTY, tf=60)
    snapshot = await client.subscribe(symbol=NIFTY, tf=60, resume={CANDLES_60: {"partition": 0, "position": 59}})
    assert snapshot["resumed"] == []
    assert len(snapshot["candles"]) == 2


async def test_an_archive_that_is_ahead_of_the_mirror_repeats_nothing(client: Listening, market: Market) -> None:
    await market.run(60)
    ahead = [market.step() for _ in range(60)]
    await market.catch_up()
    snapshot = await client.subscribe(symbol=NIFTY, tf=60)
    assert len(snapshot["candles"]) == 2
    for frames in ahead:
        await market.mirrored(frames)
    await market.run(60)
    assert (await client.until(channel=CANDLES_60))["data"]["position"] == 179


async def test_gateways_agree(market: Market) -> None:
    await market.run(300)
    async with served(market) as one, served(market) as other:
        told = [await said(gateway) for gateway in (one, other)]
    assert told[0] == told[1]


async def said(gateway: Served) -> Any:
    async with gateway.client_of() as client:
        return (await client.subscribe(symbol=NIFTY, tf=60, indicators=[INDICATOR]))["candles"]
