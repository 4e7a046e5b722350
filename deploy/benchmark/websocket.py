"""What the gateway's pushes cost: CPU and memory, by clients and by how much is said."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
from aiohttp.web import Application, AppRunner, TCPSite
from redis.asyncio import Redis

from topology.clock import SYSTEM, now_ms
from topology.configuration.environment import from_settings
from topology.embedded import Valkey, free_port
from topology.embedded.loopback import LOOPBACK
from topology.log.frames import Configure
from topology.settings import Settings
from topology.sinks.archive.reader import ArchiveReader
from topology.sinks.mirror.mirror import connect
from topology.sinks.mirror.pubsub import connect_pubsub
from topology.sinks.mirror.reader import MirrorReader
from topology.sinks.values import CandleJson
from web.gateway import Gateway
from web.live.metrics import BYTES, DROPS, PUSHES
from web.live.server import LiveServer
from web.live.socket import Sockets
from web.ports import Reloaded, Standing
from web.queries.store import Store

TOKENS = [str(number) for number in range(1, 6)]
CHANNELS = [f"pub:candle:60s:NSE:{token}" for token in TOKENS]
CLIENTS = (1, 100, 1000)
RATES = (100, 2000)
SECONDS = 8
BATCHES_PER_S = 100
CONFIRMED = 10  # every tenth message is confirmed, the others form
COUNTS = "pub:bench:counts"
MODULE = "benchmark.websocket"
TICK_S = os.sysconf("SC_CLK_TCK")


class Pushing(msgspec.Struct, frozen=True):
    """What was said and pushed in a second, and what it took: of the gateway's CPU in percent of a core.

    ``push_us`` is CPU per push that was sent, in microseconds; ``client_kb`` what a client takes of memory.
    """

    clients: int
    said: int
    compressed: bool
    pushed: float
    dropped: float
    bytes: float
    cpu_percent: float
    push_us: float
    client_kb: float


class _Log:
    """The log of a gateway that has none."""

    def __init__(self, configuration: Configure) -> None:
        self.configuration, self.id = configuration, "bench"

    async def standing(self) -> Standing:
        return Standing(None, [])

    async def reload(self, timeframes: object) -> Reloaded:
        raise NotImplementedError


async def pushing() -> list[Pushing]:
    """Measure, each in a gateway of its own."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        valkey = Valkey(Path(folder) / "valkey", free_port())
        valkey.start()
        try:
            for clients in CLIENTS:
                for rate in RATES:
                    found.append(await _measured(valkey.port, clients, rate, compressed=False))
            found.append(await _measured(valkey.port, 100, 100, compressed=True))
        finally:
            valkey.stop()
    return found


async def _measured(redis_port: int, clients: int, rate: int, *, compressed: bool) -> Pushing:
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COMPRESS_ALL": "1" if compressed else ""}
    gateway = await _started(environment, "gateway", redis_port, port)
    redis = connect(LOOPBACK, redis_port, db=0)
    try:
        await redis.flushall()
        await redis.mset({f"tick:latest:NSE:{token}": b"{}" for token in TOKENS})
        before_kb = _memory_kb(gateway.pid)
        listening = await _started(environment, "clients", port, clients, "deflate" if compressed else "")
        client_kb = (_memory_kb(gateway.pid) - before_kb) / clients
        counted, cpu_s = await _counts(redis, gateway.pid)
        await _say(redis, rate)
        after, cpu_end_s = await _counts(redis, gateway.pid)
        listening.kill()
        await listening.wait()
    finally:
        gateway.kill()
        await gateway.wait()
        await redis.aclose()
    pushed, dropped, size = (float(new - old) for new, old in zip(after, counted, strict=True))
    used_s = cpu_end_s - cpu_s
    return Pushing(
        clients, rate, compressed, pushed / SECONDS, dropped / SECONDS, size / SECONDS,
        100 * used_s / SECONDS, 1e6 * used_s / max(pushed, 1), client_kb,
    )  # fmt: skip


async def _started(environment: dict[str, str], *words: object) -> Process:
    """Start a process of this module, and wait until it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", MODULE, *map(str, words), stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process


async def _counts(redis: Redis, pid: int) -> tuple[list[float], float]:
    """Ask the gateway for its counts: it writes them to Redis when it is told to."""
    await redis.delete("bench:counts")
    await redis.publish(COUNTS, b"")
    while (found := await redis.get("bench:counts")) is None:  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.01)
    return msgspec.json.decode(found), _cpu_s(pid)


async def _say(redis: Redis, rate: int) -> None:
    started_s, said = asyncio.get_running_loop().time(), 0
    for batch in range(1, SECONDS * BATCHES_PER_S + 1):
        async with redis.pipeline(transaction=True) as pipeline:
            while said < rate * batch // BATCHES_PER_S:
                token = TOKENS[said % len(TOKENS)]
                pipeline.publish(f"pub:candle:60s:NSE:{token}", _candle(token, said))
                said += 1
            await pipeline.execute()
        await asyncio.sleep(max(0.0, started_s + batch / BATCHES_PER_S - asyncio.get_running_loop().time()))


def _candle(token: str, position: int) -> bytes:
    forming = position // len(TOKENS) % CONFIRMED != 0
    return msgspec.json.encode(
        CandleJson(token, "NSE", 60, 1_669_088_700 + position * 60, 181700, 181800, 181600, 181750, 900, 40, forming,
                   position, 0)
    )  # fmt: skip


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK_S


def _memory_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def _gateway(redis_port: int, port: int) -> None:
    """Serve a gateway, as the role does."""
    client = connect(LOOPBACK, redis_port, db=0)
    store = Store(MirrorReader(client), ArchiveReader(Path("/nonexistent/candles.db")))
    log = _Log(from_settings(Settings.from_env({})))
    gateway = Gateway(simulated=True, store=store, log=log, names=None, now_ms=now_ms)  # type: ignore[arg-type]
    live = LiveServer(gateway, SYSTEM, lambda take: connect_pubsub(LOOPBACK, redis_port, password=None, take=take))
    counted = set()

    def count(_: object) -> None:
        numbers = [one._value.get() for one in (PUSHES, DROPS, BYTES)]
        counted.add(asyncio.ensure_future(client.set("bench:counts", msgspec.json.encode(numbers))))

    asked = await connect_pubsub(LOOPBACK, redis_port, password=None, take=count)
    await asked.subscribe([COUNTS])
    if os.environ["COMPRESS_ALL"]:
        from web.live import socket  # noqa: PLC0415 - to measure what isn't done

        socket._only_large = lambda _: 0  # type: ignore[assignment] # only the name of the parameter differs
    application = Application()
    Sockets(lambda: live, time.monotonic).serve(application)
    runner = AppRunner(application)
    await runner.setup()
    await TCPSite(runner, LOOPBACK, port).start()
    running = asyncio.create_task(live.link.run())
    while live.link.connection is None:  # noqa: ASYNC110 - it doesn't tell
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await running


class _Client(asyncio.Protocol):
    """Subscribes, and throws away what comes."""

    def __init__(self, answered: asyncio.Future[None], extension: str) -> None:
        self._answered, self._extension, self._greeted = answered, extension, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(  # type: ignore[attr-defined]
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"%b\r\n" % self._extension.encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self._greeted:
            self._greeted = True
            text = msgspec.json.encode({"type": "SUBSCRIBE", "channels": CHANNELS})
            size = b"\xfe" + len(text).to_bytes(2, "big")
            self._transport.write(b"\x81" + size + bytes(4) + text)  # type: ignore[attr-defined]
        elif not self._answered.done() and (b"SNAPSHOT" in data or self._extension):
            self._answered.set_result(None)


async def _clients(port: int, count: int, deflate: str) -> None:
    loop = asyncio.get_running_loop()
    extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else ""
    for _ in range(count):
        answered = loop.create_future()
        await loop.create_connection(partial(_Client, answered, extension), LOOPBACK, port)
        await answered
    print("ready", flush=True)
    await asyncio.Event().wait()


def _child(arguments: Sequence[str]) -> None:
    match arguments:
        case ["gateway", redis_port, port]:
            asyncio.run(_gateway(int(redis_port), int(port)))
        case ["clients", port, count, deflate]:
            asyncio.run(_clients(int(port), int(count), deflate))


if __name__ == "__main__":
    _child(sys.argv[1:])
