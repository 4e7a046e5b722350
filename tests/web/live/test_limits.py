"""A client that doesn't read, asks too much or says too much harms nobody; a gateway that stops closes all."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.support.gateway_fixture import NIFTY
from tests.support.until import until
from tests.support.ws_market import CANDLES_60, SECONDS, TICK, Listening, Market, Served, confirmed, served
from web.live import client as client_module
from web.live import socket as socket_module
from web.live import subscriptions
from web.live.socket import BURST, PATIENCE


async def closed(client: Listening) -> tuple[int | None, str]:
    """Read on to the end, and return code and reason."""
    while True:
        message = await client.socket.receive(20)
        if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
            return client.socket.close_code, str(message.extra or "")


async def test_a_client_that_does_not_read_is_closed_and_the_others_get_all(
    gateway: Served, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MOST_WAITING", 400_000)
    await market.run(1)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    request = b'{"type":"SUBSCRIBE","channels":["%b"]}' % SECONDS.encode()
    writer.write(b"\x81" + bytes([0x80 | len(request)]) + bytes(4) + request)  # masked with zeros
    await until(lambda: SECONDS in gateway.channels and gateway.channels[SECONDS].listeners)
    writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a socket's
    async with gateway.client_of() as other:
        await other.subscribe(channels=[SECONDS])
        while len(gateway.hub.clients) == 2:
            assert sum(one._size for one in gateway.hub.clients) < 1_000_000
            await market.run(1, seconds=900)
            await other.confirmed(SECONDS, market.told(SECONDS)[-1])
        assert confirmed(other, SECONDS) == market.told(SECONDS)[1:]
    writer.close()


async def test_of_what_forms_only_the_newest_waits(client: Listening, gateway: Served, market: Market) -> None:
    await market.run(1)
    await client.subscribe(channels=[TICK, CANDLES_60])
    (one,) = gateway.hub.clients
    for number in range(1000):
        one.newest(TICK, b"", b'{"channel":"tick","number":%d}' % number)
    assert (await client.until(channel="tick"))["number"] == 999


async def test_a_message_that_is_too_large_closes_the_connection(client: Listening) -> None:
    await client.next()
    await client.socket.send_str('{"ping":1}'.ljust(4096))
    await client.until(type="pong")
    await client.socket.send_str('{"ping":1}'.ljust(4097))
    assert (await closed(client))[0] == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_a_client_is_asked_for_a_sign_of_life_and_closed_where_it_gives_none(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_module, "PING_S", 0.1)
    monkeypatch.setattr(socket_module, "SILENT_S", 1.0)
    async with gateway.client_of() as lively, gateway.client_of(autoping=False) as dead:
        reading = asyncio.create_task(closed(lively))
        pings = 0
        while (message := await dead.socket.receive(20)).type is not aiohttp.WSMsgType.CLOSE:
            pings += message.type is aiohttp.WSMsgType.PING
        assert pings >= 2
        assert (message.data, message.extra) == (aiohttp.WSCloseCode.GOING_AWAY, "no sign of life")
        assert not reading.done()
        assert len(gateway.hub.clients) == 1
        reading.cancel()


async def test_binary_messages_mean_nothing(client: Listening) -> None:
    await client.socket.send_bytes(b'{"ping":1}')
    assert (await client.until(type="ERROR"))["error"] == "invalid"
    await client.socket.ping()
    await client.send(ping=2)
    await client.until(type="pong")


async def test_a_storm_is_refused_and_ended_where_it_goes_on(client: Listening) -> None:
    for _ in range(int(BURST + PATIENCE / 2)):
        await client.send(ping=1)
    for _ in range(int(BURST)):
        await client.until(type="pong")
    assert (await client.until(type="ERROR"))["error"] == "too_many_requests"
    for _ in range(int(PATIENCE * 2)):
        await client.send(ping=1)
    code, reason = await closed(client)
    assert (code, reason) == (aiohttp.WSCloseCode.POLICY_VIOLATION, "too many requests")


async def test_a_client_has_so_many_channels(
    client: Listening, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MOST_CHANNELS", 2)
    await market.run(1)
    await client.subscribe(channels=[TICK, SECONDS])
    await client.send(type="SUBSCRIBE", channels=[CANDLES_60])
    assert (await client.until(type="ERROR"))["error"] == "too_many_channels"
    await client.send(type="UNSUBSCRIBE", channels=[TICK])
    await client.subscribe(channels=[CANDLES_60])


async def test_a_gateway_has_so_many_clients(gateway: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_module, "MOST_CLIENTS", 1)
    async with gateway.client_of():
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with gateway.client_of():
                pass


async def test_a_gateway_that_stops_closes_its_clients(market: Market) -> None:
    await market.run(1)
    async with served(market) as gateway, gateway.client_of() as client:
        await client.subscribe(symbol=NIFTY, tf=60)
        stopping = asyncio.create_task(gateway.stop())
        assert await closed(client) == (aiohttp.WSCloseCode.GOING_AWAY, "the gateway stops")
        await stopping
        assert not gateway.hub.clients


async def test_a_client_that_goes_leaves_nothing(gateway: Served, market: Market) -> None:
    await market.run(60)
    async with gateway.client_of() as client:
        await client.subscribe(symbol=NIFTY, tf=60)
        await client.subscribe(channels=[TICK])
    await until(lambda: not gateway.hub.clients)
    assert all(not channel.listeners for channel in gateway.channels.values())


async def test_large_messages_are_compressed_for_who_can_read_them_and_small_ones_are_not(
    gateway: Served, market: Market
) -> None:
    await market.run(60 * 40)
    for deflate in (0, 15):
        async with gateway.client_of(compress=deflate) as client:
            snapshot = await client.subscribe(symbol=NIFTY, tf=60)
            assert len(snapshot["candles"]) >= 40
            await market.run(60)
            await client.until(channel=CANDLES_60)


async def test_what_was_pushed_can_be_asked_for_again(client: Listening, gateway: Served, market: Market) -> None:
    await market.run(60)
    await client.subscribe(symbol=NIFTY, tf=60)
    for _ in range(3):
        await market.run(30, live=True)
        await market.run(30, live=True)
    pushed = list[dict[str, Any]]()
    while len(pushed) < 3:
        push = await client.until(channel=CANDLES_60)
        if not push["data"]["forming"]:
            pushed.append(push)
    found = gateway.hub.replay(CANDLES_60, first=1, last=pushed[-1]["channel_seq"], epoch=gateway.hub.epoch)
    assert [confirmed_of(text) for text in found.messages] == [confirmed_of(push) for push in pushed]
    assert found.complete
    assert not gateway.hub.replay(CANDLES_60, first=1, last=1 << 40, epoch="").complete
    assert not gateway.hub.replay(CANDLES_60, first=1, last=2, epoch="another").complete
    assert not gateway.hub.replay(SECONDS, first=1, last=2, epoch="").complete


def confirmed_of(push: object) -> object:
    return msgspec.json.decode(push)["data"] if isinstance(push, bytes) else push["data"]  # type: ignore[index]
