"""What a client that subscribes is sent, over a real WebSocket before a real Valkey and a real archive."""

from __future__ import annotations

import pytest

from tests.support.gateway_fixture import NIFTY
from tests.support.ws_market import CANDLES_60, SECONDS, SMA, TICK, Listening, Market, Served, positions

INDICATOR = {"id": "sma", "source": "close", "params": {"length": 3}, "tf": 60}


async def test_a_client_is_greeted(client: Listening, gateway: Served) -> None:
    hello = await client.next()
    assert hello["type"] == "hello"
    assert (hello["epoch"], hello["log"], hello["simulated"]) == (gateway.hub.epoch, "sim-4f2a", True)


async def test_a_subscription_brings_history_and_then_what_comes_after(client: Listening, market: Market) -> None:
    await market.run(300)
    snapshot = await client.subscribe(reqId="r1", symbol=NIFTY, tf=60, history={"candles": 3}, indicators=[INDICATOR])
    assert {name: snapshot[name] for name in ("reqId", "symbol", "tf", "resumed")} == {
        "reqId": "r1", "symbol": NIFTY, "tf": 60, "resumed": [],
    }  # fmt: skip
    told = market.told(CANDLES_60)
    assert positions(snapshot["candles"]) == told[-3:]
    assert positions(snapshot["indicators"]["SMA_3:60"]) == market.told(SMA)[-3:]
    assert snapshot["positions"] == {name: {"partition": 0, "position": 299} for name in (CANDLES_60, SMA)}

    await market.run(60)
    push = await client.until(channel=CANDLES_60)
    assert (push["data"]["position"], push["data"]["ts"]) == market.told(CANDLES_60)[-1]
    assert push["data"]["forming"] is False
    assert push["channel_seq"] == 1
    value = await client.until(channel=SMA)
    assert value["data"]["live"] is False
    assert value["seq"] > push["seq"]
    assert value["epoch"] == client.heard[0]["epoch"]


async def test_what_forms_is_passed_on_and_says_so(client: Listening, market: Market) -> None:
    await market.run(60)
    await client.subscribe(symbol=NIFTY, tf=60, indicators=[INDICATOR])
    await market.run(1, live=True)
    assert (await client.until(channel=CANDLES_60))["data"]["forming"] is True
    assert (await client.until(channel=SMA))["data"]["live"] is True


async def test_channels_by_name_bring_the_latest_values(client: Listening, market: Market) -> None:
    await market.run(120)
    channels = [TICK, CANDLES_60, SECONDS, SMA]
    snapshot = await client.subscribe(reqId="r2", channels=channels)
    assert snapshot["channels"] == channels
    assert snapshot["latest"][TICK]["price"] == 219
    assert {name: (told["position"], told["ts"]) for name, told in snapshot["latest"].items() if name != TICK} == {
        name: market.told(name)[-1] for name in channels if name != TICK
    }
    await market.run(1)
    pushed: dict[str, int] = {}
    while {TICK, SECONDS} - pushed.keys():  # what is not confirmed may be overtaken
        message = await client.next()
        pushed[message["channel"]] = message["data"]["position"]
    assert set(pushed.values()) == {120}


async def test_a_client_that_unsubscribes_hears_no_more(client: Listening, gateway: Served, market: Market) -> None:
    await market.run(60)
    await client.subscribe(symbol=NIFTY, tf=60)
    await client.subscribe(channels=[TICK])
    await client.send(type="UNSUBSCRIBE", reqId="u", symbol=NIFTY, tf=60)
    assert (await client.until(type="UNSUBSCRIBED"))["reqId"] == "u"
    await market.run(60)
    assert {message["channel"] for message in [await client.next() for _ in range(3)]} == {TICK}
    assert not gateway.channels[CANDLES_60].listeners


async def test_a_ping_is_answered(client: Listening) -> None:
    await client.send(ping=1700000000000)
    assert (await client.until(type="pong"))["ping"] == 1700000000000


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("{", "invalid"),
        ("[]", "invalid"),
        ("[" * 3000, "invalid"),
        ('{"type":"SHOUT"}', "invalid"),
        ("{}", "invalid"),
        ('{"type":"SUBSCRIBE","reqId":7}', "invalid"),
        ('{"type":"SUBSCRIBE","reqId":"r"}', "invalid"),
        ('{"type":"SUBSCRIBE","reqId":"r","symbol":"NSE:99926000","tf":0}', "invalid"),
        ('{"type":"SUBSCRIBE","reqId":"r","symbol":"NSE:99926000","history":{"candles":-1}}', "invalid"),
        ('{"type":"SUBSCRIBE","reqId":"r","symbol":"NSE:1","tf":60}', "unknown_symbol"),
        ('{"type":"SUBSCRIBE","reqId":"r","symbol":"what","tf":60}', "unknown_symbol"),
        ('{"type":"SUBSCRIBE","reqId":"r","symbol":"NSE:99926000","tf":7}', "unknown_timeframe"),
        (
            '{"type":"SUBSCRIBE","reqId":"r","symbol":"NSE:99926000","indicators":[{"id":"x","params":{"length":3}}]}',
            "unknown_indicator",
        ),
        (
            '{"type":"SUBSCRIBE","reqId":"r","symbol":"NSE:99926000","indicators":[{"id":"sma","params":{"length":9}}]}',
            "unknown_indicator",
        ),
        ('{"type":"SUBSCRIBE","reqId":"r","channels":["pub:candle:61s:NSE:99926000"]}', "unknown_timeframe"),
        ('{"type":"SUBSCRIBE","reqId":"r","channels":["pub:\\"tick"]}', "unknown_channel"),
        ('{"type":"SUBSCRIBE","reqId":"r","channels":["pub:tick:NSE:1"]}', "unknown_symbol"),
    ],
)
async def test_what_is_wrong_is_told_and_the_connection_stays(
    client: Listening, market: Market, message: str, word: str
) -> None:
    await market.run(1)
    await client.socket.send_str(message)
    error = await client.until(type="ERROR")
    assert (error["error"], error["reqId"] in ("", "r")) == (word, True)
    assert error["detail"]
    await client.send(ping=1)
    assert await client.until(type="pong")
