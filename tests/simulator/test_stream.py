from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import WSMsgType

from tests.simulator.conftest import Open
from tests.support.simulator_client import OPEN_MS, at, heard, subscribed, subscription
from topology.feeds.angel.packets import SIZES, SnapQuotePacket, parse


@pytest.mark.parametrize("mode", [1, 2, 3])
async def test_packets_are_of_the_mode_that_was_asked_for(running: Open, mode: int) -> None:
    async with running() as client, client.socket() as socket:
        await subscribed(socket, "2885", "99926000", mode=mode)
        await client.step(5_000)
        found = await heard(socket)
        assert {len(payload) for payload in found} == {SIZES[mode]}
        assert {parse(payload).token.rstrip(b"\0") for payload in found} == {b"2885", b"99926000"}


async def test_the_snapshot_is_as_old_as_what_it_shows(running: Open) -> None:
    async with running(now_ms=at("2022-11-22 08:00")) as client, client.socket() as socket:
        (snapshot,) = await subscribed(socket, "2885", mode=3)
        assert isinstance(snapshot, SnapQuotePacket)
        assert at("2022-11-21 15:30") < snapshot.exchange_ms < at("2022-11-21 15:40")
        assert snapshot.close == snapshot.price
        assert (snapshot.open, snapshot.day_volume) == (0, 0)


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "x-client-code", "x-feed-token"])
async def test_a_wrong_header_is_refused(running: Open, header: str) -> None:
    async with running() as client:
        assert await client.refused(**{header: "other"}) == 401


async def test_the_token_may_have_its_scheme(running: Open) -> None:
    async with running() as client, client.socket(Authorization="Bearer " + client.tokens["jwtToken"]) as socket:
        assert await heard(socket) == []


async def test_a_fourth_socket_is_refused_until_one_is_closed(running: Open) -> None:
    async with running() as client:
        sockets = [await client.socket() for _ in range(3)]
        assert await client.refused() == 429
        await sockets[1].close()
        async with client.socket() as socket:
            await subscribed(socket, "2885")
        health = await client.get("/health")
        assert health["simulated"] is True


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"action": 1}', '{"action": 1, "params": {"mode": 4, "tokenList": []}}'],
)
async def test_a_request_that_is_none_is_answered_with_an_error(running: Open, text: str) -> None:
    async with running() as client, client.socket() as socket:
        await socket.send_str(text)
        answer = await socket.receive_json()
        assert answer["errorCode"] == "E1001"
        await subscribed(socket, "2885")


async def test_too_many_tokens_are_answered_with_an_error_that_names_the_request(running: Open) -> None:
    async with running() as client, client.socket() as socket:
        await socket.send_json(subscription(*map(str, range(1_001))))
        assert await socket.receive_json() == {
            "correlationID": "abcde12345",
            "errorCode": "E1002",
            "errorMessage": "Invalid Request. Subscription Limit Exceeded",
        }


async def test_pings_of_both_kinds_are_answered(running: Open) -> None:
    async with (
        running() as client,
        client.http.ws_connect(client.simulator.feed_url, headers=client.socket_headers(), autoping=False) as socket,
    ):
        await socket.send_str("ping")
        assert await socket.receive_str() == "pong"
        await socket.ping(b"here")
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.PONG, b"here")


async def test_what_is_no_longer_wanted_is_no_longer_sent(running: Open) -> None:
    async with running() as client, client.socket() as socket:
        await subscribed(socket, "2885", "11536")
        await socket.send_json(subscription("2885", action=0))
        await heard(socket)
        await client.step(5_000)
        assert {parse(payload).token.rstrip(b"\0") for payload in await heard(socket)} == {b"11536"}


async def test_a_drop_closes_with_1011_and_refuses_while_it_lasts(running: Open) -> None:
    async with running() as client, client.socket() as socket:
        await subscribed(socket, "2885")
        client.simulator.fault("drop:for=10s@+1s")
        await client.step(5_000)
        while (message := await socket.receive()).type is WSMsgType.BINARY:
            assert parse(message.data).exchange_ms < OPEN_MS + 1_000
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1011)
        assert await client.refused() == 503
        await client.step(6_000)
        async with client.socket() as again:
            await subscribed(again, "2885")
        hidden = client.simulator.ledger.seconds("NSE:2885")
        assert hidden == set(range(OPEN_MS // 1_000 + 1, OPEN_MS // 1_000 + 11))


async def test_an_abort_is_no_close(running: Open) -> None:
    async with running() as client, client.socket() as one, client.socket() as other:
        await subscribed(one, "2885")
        client.simulator.fault("abort:socket=1")
        message = await one.receive()
        assert message.type in (WSMsgType.CLOSED, WSMsgType.ERROR)
        assert one.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE
        assert await heard(other) == []


async def test_a_silent_socket_answers_pings(running: Open) -> None:
    async with running() as client, client.socket() as socket:
        await subscribed(socket, "2885")
        client.simulator.fault("silent:for=5s")
        await client.step(4_900)
        assert await heard(socket) == []
        await client.step(5_000)
        assert parse((await heard(socket))[0]).exchange_ms >= OPEN_MS + 5_000


async def test_a_half_open_socket_answers_nothing_and_frees_its_place(running: Open) -> None:
    async with running() as client:
        sockets = [await client.socket() for _ in range(3)]
        await subscribed(sockets[1], "2885")
        client.simulator.fault("half-open:socket=2")
        await client.step(5_000)
        await sockets[1].send_str("ping")
        async with client.socket() as socket:
            assert await heard(socket) == []
            await subscribed(socket, "2885")
            await client.step(1_000)
            assert await heard(socket)
        with pytest.raises(TimeoutError):  # the others have been served since: it will not answer any more
            await sockets[1].receive(timeout=0.01)
        assert len(client.simulator.ledger.seconds("NSE:2885")) == 5


async def test_sockets_outlive_their_token(running: Open) -> None:
    async with running() as client, client.socket() as socket:
        await subscribed(socket, "2885")
        client.simulator.fault("expire-token")
        await client.step(3_000)
        assert await heard(socket)
        assert await client.refused() == 401


async def test_a_day_on_a_holiday_has_a_connection_and_no_data(running: Open) -> None:
    async with running(now_ms=at("2022-11-22 09:00")) as client, client.socket() as socket:
        client.simulator.fault("holiday")
        await socket.send_json(subscription("2885"))
        await client.step(7 * 3_600_000)
        assert await heard(socket) == []


async def test_a_client_that_has_to_be_waited_for_gets_everything(running: Open) -> None:
    async with running() as client, client.socket() as socket:
        await subscribed(socket, "2885", "11536", "1333", "1594", "4963", "3045")
        reading = asyncio.create_task(_until(socket, OPEN_MS + 3_600_000))
        await client.step(3_600_000 + 10_000)
        printed = client.simulator._source.prints
        wanted = sum(len(list(printed(place, OPEN_MS + 1, OPEN_MS + 3_600_000))) for place in range(1, 7))
        assert await reading == wanted


async def _until(socket: aiohttp.ClientWebSocketResponse, time_ms: int) -> int:
    count = 0
    while parse(await socket.receive_bytes()).exchange_ms < time_ms:
        count += 1
    return count
