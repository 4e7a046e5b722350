"""Timeframes that are not stored come too, resampled: history, what forms, what closes, what is corrected."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway_fixture import NIFTY
from tests.support.ws_market import CANDLES_60, OPEN_MS, Listening, Market, Served, confirmed, served

RESAMPLED = f"pub:candle:180s:{NIFTY}"
OPEN_S = OPEN_MS // 1000


def three_minutes(minutes: range) -> dict[str, int]:
    """What three minutes of the market make: a minute's price is 100 more than its number."""
    prices = [100 + minute % 50 for minute in minutes]
    return {
        "ts": OPEN_S + minutes[0] * 60, "open": prices[0], "high": max(prices) + 5, "low": min(prices) - 5,
        "close": prices[-1], "volume": 2 * len(prices), "count": len(prices), "tf": 180,
    }  # fmt: skip


def assert_is(candle: dict[str, Any], minutes: range, position: int) -> None:
    wanted = three_minutes(minutes) | {"position": position, "partition": 0}
    assert {name: candle[name] for name in wanted} == wanted


async def test_history_then_what_closes(client: Listening, market: Market) -> None:
    await market.run(60 * 7)  # two candles, and a minute of the third
    snapshot = await client.subscribe(symbol=NIFTY, tf=180)
    assert snapshot["positions"] == {RESAMPLED: {"partition": 0, "position": 359}}
    for number, candle in enumerate(snapshot["candles"]):
        assert_is(candle, range(number * 3, number * 3 + 3), number * 180 + 179)
    await market.run(60 * 5)
    for number in (2, 3):
        candle = (await client.until(channel=RESAMPLED))["data"]
        assert_is(candle, range(number * 3, number * 3 + 3), number * 180 + 179)
    assert len(snapshot["candles"]) == 2


async def test_what_forms_is_made_of_all_parts(client: Listening, market: Market) -> None:
    await market.run(60 * 4)
    await client.subscribe(symbol=NIFTY, tf=180)
    await market.run(1, live=True)  # the fifth minute forms
    push = await client.until(channel=RESAMPLED)
    assert push["data"]["forming"] is True
    assert_is(push["data"], range(3, 5), 240)


async def test_a_candle_whose_last_part_was_quiet_is_told_when_a_later_one_comes(
    client: Listening, market: Market
) -> None:
    await market.run(60 * 4)
    await client.subscribe(symbol=NIFTY, tf=180)
    await market.mirrored(market.step(60, of=()))  # nothing is traded for two minutes
    await market.mirrored(market.step(60, of=()))
    await market.run(60)
    assert_is((await client.until(channel=RESAMPLED))["data"], range(3, 4), 239)


async def test_a_correction_of_a_part_is_one_of_the_whole(client: Listening, market: Market) -> None:
    await market.run(60 * 7)
    await client.subscribe(symbol=NIFTY, tf=180)
    await market.mirrored(market.step(correct=1))
    push = await client.until(channel=RESAMPLED)
    assert (push["data"]["ts"], push["data"]["position"]) == (OPEN_S, 420)
    assert (push["data"]["low"], push["data"]["source"], push["data"]["revision"]) == (9, "broker", 1)


@pytest.mark.parametrize("cut_at", [179, 359, 360, 400])
async def test_who_was_cut_off_goes_on_where_it_was_at_any_gateway(market: Market, cut_at: int) -> None:
    await market.run(60 * 6 + 1)
    async with served(market) as one, served(market) as other:
        async with one.client_of() as client:
            await client.subscribe(symbol=NIFTY, tf=180)
            await market.run(60 * 3)
            await client.confirmed(RESAMPLED, (539, OPEN_S + 360))
        async with other.client_of() as client:
            resume = {RESAMPLED: {"partition": 0, "position": cut_at}}
            snapshot = await client.subscribe(symbol=NIFTY, tf=180, resume=resume)
            assert snapshot["resumed"] == [RESAMPLED]
            await market.run(60 * 3)
            await client.confirmed(RESAMPLED, (719, OPEN_S + 540))
            wanted = [(position, OPEN_S + position // 180 * 180) for position in (179, 359, 539, 719)]
            assert confirmed(client, RESAMPLED) == [one for one in wanted if one[0] > cut_at]


async def test_it_is_resampled_once_for_all_and_by_channel_too(gateway: Served, market: Market) -> None:
    await market.run(60 * 4)
    async with gateway.client_of() as one, gateway.client_of() as other:
        await one.subscribe(symbol=NIFTY, tf=180)
        snapshot = await other.subscribe(channels=[RESAMPLED])
        assert_is(snapshot["latest"][RESAMPLED], range(3), 179)
        assert len(gateway.channels[CANDLES_60].listeners) == 1
        await market.run(60 * 2)
        told = [await client.until(channel=RESAMPLED) for client in (one, other)]
    assert told[0] == told[1]


async def test_indicators_are_not_resampled(client: Listening, market: Market) -> None:
    await market.run(60)
    await client.send(type="SUBSCRIBE", symbol=NIFTY, tf=180, indicators=[{"id": "sma", "params": {"length": 3}}])
    assert (await client.until(type="ERROR"))["error"] == "unknown_indicator"
