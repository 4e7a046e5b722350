"""What is published on Redis' channels comes in whole runs of a script, once, and never a half."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from topology.embedded import Valkey, free_port
from topology.embedded.loopback import LOOPBACK
from topology.sinks.mirror import pubsub
from topology.sinks.mirror.mirror import MirrorAwayError, connect
from topology.sinks.mirror.pubsub import PubSubConnection, PubSubMessage, connect_pubsub

SCRIPT = "for i = 1, tonumber(ARGV[1]) do redis.call('PUBLISH', 'pub:' .. (i % 2), i .. string.rep('x', 400)) end"


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    client = connect(LOOPBACK, valkey.port, db=0)
    yield client
    await client.aclose()


async def test_what_a_script_says_is_passed_on_in_one_piece(valkey: Valkey, redis: Redis) -> None:
    pieces: list[list[PubSubMessage]] = []
    connection = await connect_pubsub(LOOPBACK, valkey.port, password=None, take=pieces.append)
    await connection.subscribe(["pub:0", "pub:1"])
    sizes = [1, 2, 3000, 7, 1000]  # the third is more than a socket gives at once
    await asyncio.gather(*(redis.eval(SCRIPT, 0, size) for size in sizes))
    await connection.caught_up()
    numbers = [[int(message.data.rstrip(b"x")) for message in piece] for piece in pieces]
    assert sum(map(len, numbers)) == sum(sizes)
    assert all(piece[0] == 1 for piece in numbers)
    ends = [piece[n] for piece in numbers for n in range(len(piece)) if n + 1 == len(piece) or piece[n + 1] == 1]
    assert sorted(ends) == sorted(sizes)
    connection.close()


async def test_a_pattern_beside_channels_tells_nothing_twice_and_leaves_nothing_out(
    valkey: Valkey, redis: Redis
) -> None:
    said: list[PubSubMessage] = []
    connection = await connect_pubsub(LOOPBACK, valkey.port, password=None, take=said.extend)
    await connection.subscribe(["pub:0"])

    async def talk() -> None:
        for number in range(300):
            await redis.publish("pub:0", number)

    talking = asyncio.create_task(talk())
    while not talking.done():
        await connection.listen_to_everything(True)
        await connection.listen_to_everything(False)
    await connection.caught_up()
    assert [int(one.data) for one in said] == list(range(300))
    connection.close()


async def test_a_server_that_dies_is_noticed_and_one_that_refuses_is_an_error(tmp_path: Path) -> None:
    server = Valkey(tmp_path / "valkey", free_port(), password="right")
    server.start()
    for password in (None, "wrong"):
        with pytest.raises(MirrorAwayError):
            await connect_pubsub(LOOPBACK, server.port, password=password, take=print)
    connection = await connect_pubsub(LOOPBACK, server.port, password="right", take=print)
    await connection.subscribe(["pub:0"])
    server.kill()
    await asyncio.wait_for(connection.ended, 10)
    with pytest.raises(MirrorAwayError):
        await connection.caught_up()
    with pytest.raises(MirrorAwayError):
        await connect_pubsub(LOOPBACK, server.port, password=None, take=print)


async def test_a_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub, "ANSWERS_WITHIN_S", 0.05)
    writers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(lambda _, writer: writers.append(writer), LOOPBACK, 0) as server:
        with pytest.raises(MirrorAwayError, match="silent"):
            await connect_pubsub(LOOPBACK, server.sockets[0].getsockname()[1], password=None, take=print)
        for writer in writers:
            writer.close()
            await writer.wait_closed()


async def test_half_a_run_is_dropped_when_the_connection_ends() -> None:
    said: list[PubSubMessage] = []
    connection = PubSubConnection(said.extend)
    connection.data_received(b"*3\r\n$7\r\nmessage\r\n$5\r\npub:0\r\n$1\r\n1\r\n")
    connection.connection_lost(None)
    assert said == []


@given(st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=4), max_size=6), st.data())
def test_messages_come_in_whole_pieces_however_the_bytes_are_cut(runs: list[list[bytes]], data: st.DataObject) -> None:
    asyncio.run(_cut(runs, data))


async def _cut(runs: list[list[bytes]], data: st.DataObject) -> None:
    pieces: list[list[bytes]] = []
    connection = PubSubConnection(lambda piece: pieces.append([message.data for message in piece]))
    text = b""
    for run in runs:
        connection._ping(None)  # its answer comes behind the run
        text += b"".join(b"*3\r\n$7\r\nmessage\r\n$5\r\npub:0\r\n$%d\r\n%b\r\n" % (len(part), part) for part in run)
        text += b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        connection.data_received(text[start:end])
    assert pieces == runs


@pytest.mark.parametrize("text", [b"-ERR no\r\n", b"HTTP/1.1 400\r\n", b"$x\r\n"])
async def test_what_is_no_reply_ends_the_connection(text: bytes) -> None:
    ended = asyncio.Event()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(text)

        def connection_lost(self, exc: Exception | None) -> None:
            ended.set()

    async with await asyncio.get_running_loop().create_server(Server, LOOPBACK, 0) as server:
        with pytest.raises(MirrorAwayError):
            await connect_pubsub(LOOPBACK, server.sockets[0].getsockname()[1], password=None, take=print)
        await asyncio.wait_for(ended.wait(), 10)
