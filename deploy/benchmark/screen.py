"""From a packet of the broker to a message at a client of the gateway, with all roles on this machine.

The simulated broker sends; feed, pipeline, mirror, archive and gateway run as processes. Some clients are read message
by message; the others only take bytes off their sockets, so that what is measured isn't this program.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
from aiohttp import ClientSession, WSMsgType
from aiokafka import TopicPartition

from benchmark.pipeline import Quantiles, quantiles
from benchmark.rest import until_there
from benchmark.rig import FAUST, BenchError, Process, Rig
from topology.clock import now_ms
from topology.embedded import Valkey, free_port
from topology.embedded.loopback import LOOPBACK
from topology.kafka import clients
from topology.log.frames import TICK_FRAME, TICKS, Configure
from topology.market.calendar import indian_day
from topology.settings import SIM, Settings
from topology.simulator import DEMONSTRATION, MASTER_PATH, STREAM_PATH, catalogue

INSTRUMENTS, TIMEFRAME_S = 50, 5
SPECS = ("SMA:3", "EMA:3", "RSI:3")
CHANNELS = ("tick", f"candle:{TIMEFRAME_S}s", *(f"ind:{spec.replace(':', '_')}:{TIMEFRAME_S}s" for spec in SPECS))
KINDS = ("tick", "candle", "ind")
READ_CLIENTS = 20  # of the others only the bytes are taken
READY_S = 30  # until there are indicators
KEPT_FRAMES = 20_000  # whose ticks are remembered, per partition


class Showing(msgspec.Struct, frozen=True):
    """Messages to clients with ``len(CHANNELS)`` channels each, at ``ticks_per_s`` of all instruments together.

    ``took`` is from the exchange time of a packet, which the simulator has just given it, to the message at the client:
    of last prices, forming candles and indicators' peeks. ``cores`` is what each role used.
    """

    ticks_per_s: int
    frame_ms: int
    clients: int
    messages_per_s: float
    took: dict[str, Quantiles]
    cores: dict[str, float]
    client_kb: float
    load: float


async def showing(rates: Sequence[int], clients: Sequence[int], *, frame_ms: int, seconds: int) -> list[Showing]:
    """Measure every rate with every number of clients, for so long each."""
    settings = Settings.from_env({"TOPOLOGY_NAMESPACE": SIM})
    configuration = Configure(0, {TIMEFRAME_S: list(SPECS)}, {}, settings.calendar_text(), settings.allowed_lateness_ms)
    found = []
    for rate in rates:
        async with Rig(settings, configuration) as rig, _System.started(rig, rate, frame_ms) as system:
            watching = asyncio.create_task(system.causes.watch(rig))
            await asyncio.sleep(READY_S)
            for number in clients:
                found.append(await _measured(system, number, rate=rate, frame_ms=frame_ms, seconds=seconds))
            watching.cancel()
    return found


class _Causes:
    """When the newest tick of each instrument in a frame was printed: what a message's position leads to."""

    def __init__(self) -> None:
        self._frames: defaultdict[int, dict[int, dict[str, int]]] = defaultdict(dict)

    def printed_ms(self, partition: int, position: int, instrument: str) -> int | None:
        """Return the time of an instrument's tick in a frame, None where it has none there."""
        return self._frames[partition].get(position, {}).get(instrument)

    async def watch(self, rig: Rig) -> None:
        """Read the tick log from now on."""
        async with clients.consumer(rig.bootstrap) as reader:
            places = [TopicPartition(rig.log.topic(TICKS), partition) for partition in range(rig.partitions)]
            reader.assign(places)
            await reader.seek_to_end(*places)
            while True:
                for place, records in (await reader.getmany(timeout_ms=1000)).items():
                    frames = self._frames[place.partition]
                    for record in records:
                        ticks = TICK_FRAME.decode(record.value).ticks
                        frames[record.offset] = {tick.instrument: tick.time_ms for tick in ticks}
                    for old in list(frames)[:-KEPT_FRAMES]:
                        del frames[old]


class _System:
    """The processes, and where the gateway is."""

    def __init__(self, port: int, names: Sequence[str]) -> None:
        self.port, self.names = port, names
        self.roles: dict[str, Process] = {}
        self.causes = _Causes()

    @classmethod
    @asynccontextmanager
    async def started(cls, rig: Rig, rate: int, frame_ms: int) -> AsyncIterator[_System]:
        """Start everything, and wait until the gateway knows the instruments."""
        valkey = Valkey(rig.folder / "valkey", free_port())
        valkey.start()
        system = cls(free_port(), [one.instrument for one in catalogue(indian_day(now_ms()))[:INSTRUMENTS]])
        place = f"{LOOPBACK}:{free_port()}"
        env = {"REDIS_ADDR": f"{LOOPBACK}:{valkey.port}", "FRAME_MS": str(frame_ms)}
        try:
            async with ClientSession() as session:
                options = ["--addr", place, "--instruments", str(INSTRUMENTS), "--rate", str(rate)]
                simulator = rig.run("simulator", ["topology.cli.main", "simulate", *options], {})
                await until_there(session, simulator, f"http://{place}/health")
                for role in ("feed", "pipeline", "mirror", "archive", "gateway"):
                    own = _account(place, system.names) if role == "feed" else {}
                    web = {"DASHBOARD_ADDR": f":{system.port}", "GATEWAY_ADDR": f":{free_port()}"}
                    command = FAUST if role == "gateway" else (*FAUST, "--without-web")
                    system.roles[role] = rig.run(role, command, {**rig.env(role), **env, **own, **web})
                await until_there(session, system.roles["gateway"], f"http://{LOOPBACK}:{system.port}/health")
                await _all_known(session, system)
            yield system
        finally:
            valkey.kill()


async def _all_known(session: ClientSession, system: _System) -> None:
    async with asyncio.timeout(60):
        while True:
            for process in system.roles.values():
                process.cpu_s()
            async with session.get(f"http://{LOOPBACK}:{system.port}/tokens") as answer:
                if len(await answer.json()) == INSTRUMENTS:
                    return
            await asyncio.sleep(1.0)


def _account(place: str, names: Sequence[str]) -> dict[str, str]:
    return {f"ANGEL_{name.upper()}": value for name, value in DEMONSTRATION.items()} | {
        "ANGEL_API_URL": f"http://{place}", "ANGEL_FEED_URL": f"ws://{place}{STREAM_PATH}",
        "ANGEL_MASTER_URL": f"http://{place}{MASTER_PATH}", "SUBSCRIBE_TOKENS": ",".join(names),
    }  # fmt: skip


async def _measured(system: _System, clients: int, *, rate: int, frame_ms: int, seconds: int) -> Showing:
    gateway = system.roles["gateway"]
    before_kb = gateway.memory_kb()
    taken_ms: dict[str, list[float]] = {kind: [] for kind in KINDS}
    messages = [0]
    async with ClientSession() as session:
        readers = [
            asyncio.create_task(_reader(session, system, number, taken_ms, messages))
            for number in range(min(clients, READ_CLIENTS))
        ]
        takers = [asyncio.create_task(_taker(system, number)) for number in range(READ_CLIENTS, clients)]
        await asyncio.sleep(5 + clients / 200)  # until all are connected and have had their snapshots
        client_kb = (gateway.memory_kb() - before_kb) / clients
        for times in taken_ms.values():
            times.clear()
        messages[0] = 0
        cpu_s = {role: process.cpu_s() for role, process in system.roles.items()}
        await asyncio.sleep(seconds)
        cores = {role: (process.cpu_s() - cpu_s[role]) / seconds for role, process in system.roles.items()}
        took = {kind: quantiles(times) for kind, times in taken_ms.items() if times}
        ended = [task.exception() for task in (*readers, *takers) if task.done()]
        for task in (*readers, *takers):
            task.cancel()
        await asyncio.gather(*readers, *takers, return_exceptions=True)
        if ended:
            raise BenchError(f"{len(ended)} clients ended: {ended[0]}")
    per_client = messages[0] / seconds / min(clients, READ_CLIENTS)
    return Showing(rate, frame_ms, clients, per_client * clients, took, cores, client_kb, os.getloadavg()[0])


def _subscribe(system: _System, number: int) -> str:
    name = system.names[number % len(system.names)]
    channels = [f"pub:{channel}:{name}" for channel in CHANNELS]
    return msgspec.json.encode({"type": "SUBSCRIBE", "reqId": "1", "channels": channels}).decode()


async def _reader(
    session: ClientSession, system: _System, number: int, taken_ms: dict[str, list[float]], messages: list[int]
) -> None:
    """Read every message, and note how long it took since the packet that caused it."""
    async with session.ws_connect(f"ws://{LOOPBACK}:{system.port}/ws", max_msg_size=0) as socket:
        await socket.send_str(_subscribe(system, number))
        async for message in socket:
            came_ms = now_ms()
            if message.type is not WSMsgType.TEXT:
                break
            for line in message.data.split("\n"):
                told = msgspec.json.decode(line)
                if "channel" not in told:
                    continue
                messages[0] += 1
                _note(system, told, came_ms, taken_ms)
    raise BenchError("the gateway has closed a client")


def _note(system: _System, told: dict[str, object], came_ms: int, taken_ms: dict[str, list[float]]) -> None:
    data = told["data"]
    assert isinstance(data, dict)
    kind = str(told["channel"]).split(":")[1]
    if kind == "tick":
        printed_ms = data["tick_ts"]
    elif data.get("forming") or data.get("live"):
        name = f"{data['exchange']}:{data['token']}"
        printed_ms = system.causes.printed_ms(data["partition"], data["position"], name)
    else:
        return  # what is confirmed waits for the clock
    if printed_ms is not None:
        taken_ms[kind].append(came_ms - printed_ms)


async def _taker(system: _System, number: int) -> None:
    """Take bytes off a socket, as fast as they come."""
    reader, writer = await asyncio.open_connection(LOOPBACK, system.port)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: {LOOPBACK}:{system.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    text = _subscribe(system, number).encode()
    mask = bytes(4)
    writer.write(bytes([0x81, 0x80 | 126, *len(text).to_bytes(2, "big"), *mask]) + text)
    while await reader.read(1 << 16):
        pass
    raise BenchError("the gateway has closed a client")
