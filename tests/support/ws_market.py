"""A market that a test drives frame by frame, gateways before it, and clients that read all they are sent."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp.web import Application, AppRunner, TCPSite

from tests.reference.brute_force import indian_ms
from tests.support.gateway_fixture import DAYS, NIFTY, STOCK, FixedLog, SomeNames
from tests.support.stage_chain import LOG, RUN
from topology.clock import Clock
from topology.embedded.loopback import LOOPBACK, free_port
from topology.log.frames import (
    CANDLES,
    INDICATORS,
    TICKS,
    TIMEFRAMES,
    CandleFrame,
    Configure,
    IndicatorFrame,
    IndicatorValue,
    TickFrame,
    TimeframeFrame,
)
from topology.market.candle import BROKER, Candle
from topology.market.history import History
from topology.market.ticks import Tick
from topology.sinks.archive.archive import Archive
from topology.sinks.archive.reader import ArchiveReader
from topology.sinks.cursor import StoredFrame
from topology.sinks.mirror.breaker import Breaker
from topology.sinks.mirror.mirror import Mirror, connect
from topology.sinks.mirror.pubsub import connect_pubsub
from topology.sinks.mirror.reader import MirrorReader
from topology.sinks.mirror.streams import StreamCommands
from web.gateway import Gateway
from web.live.server import LiveServer
from web.live.socket import Sockets
from web.queries.store import Store

OPEN_MS = indian_ms(DAYS[0], "09:15:00")
_STARTED_S = time.monotonic()
DAYTIME = Clock(lambda: OPEN_MS + 3_600_000 + round((time.monotonic() - _STARTED_S) * 1000), asyncio.sleep)
"""A clock that goes on from an hour after the open, whatever day it is: the calendar ends."""
CANDLES_60 = f"pub:candle:60s:{NIFTY}"
SECONDS = f"pub:candle:1s:{NIFTY}"
SMA = f"pub:ind:SMA_3:60s:{NIFTY}"
TICK = f"pub:tick:{NIFTY}"
PATIENCE_S = 20

Frames = list[StoredFrame]


class Market:
    """Writes frames as the roles do. A step is a second of two instruments; every sixtieth closes a minute.

    What has been made is in ``frames``, so that it can be given to a mirror once more. ``said`` is what has been said
    for good on each channel, as JSON.
    """

    def __init__(self, port: int, path: Path) -> None:
        self.port, self.path = port, path
        self.position = -1
        self.frames: Frames = []
        self.archived = 0  # how many of the frames the archive has
        self.client = connect(LOOPBACK, port, db=0)
        self.mirror = self._mirror()
        self._archive = Archive(path, log=LOG, run=RUN)
        self._told: dict[str, list[tuple[int, int]]] = defaultdict(list)

    def _mirror(self) -> Mirror:
        streams = StreamCommands(partitions=1, budget_mb=2048)
        return Mirror(self.client, log=LOG, run=RUN, streams=streams, breaker=Breaker(lambda: 0.0, failures=1 << 30))

    def step(
        self, seconds: int = 1, *, live: bool = False, correct: int | None = None, of: Sequence[str] = (NIFTY, STOCK)
    ) -> Frames:
        """Make the frames of one position, with so many seconds in it; ``correct`` is the number of an older minute.

        Only instruments ``of`` these are traded.
        """
        self.position += 1
        first = self._seconds
        self._seconds += seconds
        clock_ms = OPEN_MS + self._seconds * 1000
        head = (1, LOG, RUN, self.position, clock_ms, list[Configure](), "")
        numbers = range(first, self._seconds)
        rows = [_candle(name, 1, number) for number in numbers for name in of]
        minutes = [number // 60 for number in numbers if number % 60 == 59]
        closed = [_candle(name, 60, minute) for minute in minutes for name in of]
        values = [
            IndicatorValue(name, "SMA_3", 60, OPEN_MS + minute * 60_000, minute / 3)
            for minute in minutes
            for name in of
        ]
        forming = [_candle(NIFTY, 60, self._seconds // 60)] if live else []
        peeks = [IndicatorValue(NIFTY, "SMA_3", 60, OPEN_MS + self._seconds // 60 * 60_000, 1.5)] if live else []
        history = []
        if correct is not None:
            candle = Candle(NIFTY, 60, OPEN_MS + correct * 60_000, 9, 9, 9, 9 + self.position, 0, 0, BROKER)
            history = [History(NIFTY, 60, [candle], 1)]
        tick = Tick(NIFTY, 100 + self.position, clock_ms)
        made: Frames = [
            StoredFrame(TICKS, 0, self.position, TickFrame(1, LOG, 1, self.position, clock_ms, 0, [], [tick])),
            StoredFrame(CANDLES, 0, self.position, CandleFrame(*head, rows, [])),
            StoredFrame(TIMEFRAMES, 0, self.position, TimeframeFrame(*head, closed, forming, history)),
            StoredFrame(INDICATORS, 0, self.position, IndicatorFrame(*head, values, peeks)),
        ]
        self.frames += made
        for stored in made[1:]:
            self._tell(stored.frame)  # type: ignore[arg-type] # no frame of ticks
        return made

    _seconds = 0

    @property
    def minutes(self) -> int:
        """How many minutes have closed."""
        return self._seconds // 60

    async def mirrored(self, frames: Iterable[StoredFrame]) -> None:
        """Give frames to the mirror."""
        for stored in frames:
            await self.mirror.apply([stored])

    async def catch_up(self) -> None:
        """Give the archive all that it lacks."""
        lacking, self.archived = self.frames[self.archived :], len(self.frames)
        if lacking:
            await asyncio.to_thread(self._archive.write, lacking)

    async def run(self, steps: int, **how: Any) -> None:
        """Make steps, for the mirror and the archive."""
        for _ in range(steps):
            await self.mirrored(self.step(**how))
        await self.catch_up()

    def renew(self) -> None:
        """Let the mirror forget what it knows, as a worker that starts anew."""
        self.mirror = self._mirror()

    async def refilled(self) -> None:
        """Empty Redis, and fill it again from the log."""
        await self.client.flushall()
        self.mirror = self._mirror()
        await self.mirrored(self.frames)

    def told(self, channel: str) -> list[tuple[int, int]]:
        """Return position and ``ts`` of what has been said for good on a channel, in its order."""
        return self._told[channel]

    def _tell(self, frame: CandleFrame | TimeframeFrame | IndicatorFrame) -> None:
        rows: list[Any] = list(frame.rows)
        if isinstance(frame, TimeframeFrame):
            rows += [candle for history in frame.history for candle in history.candles]
        for row in sorted(rows, key=lambda row: int(row.start_ms)):
            name = f"candle:{row.timeframe_s}s" if isinstance(row, Candle) else f"ind:{row.name}:{row.timeframe_s}s"
            self._told[f"pub:{name}:{row.instrument}"].append((frame.position, row.start_ms // 1000))

    async def close(self) -> None:
        await self.client.aclose()
        self._archive.close()


def _candle(instrument: str, timeframe_s: int, number: int) -> Candle:
    price = 100 + number % 50
    return Candle(
        instrument, timeframe_s, OPEN_MS + number * timeframe_s * 1000, price, price + 5, price - 5, price, 2, 1
    )


class Listening:
    """A client of `/ws` that reads."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []
        self._waiting: list[dict[str, Any]] = []

    async def send(self, **message: Any) -> None:
        await self.socket.send_str(msgspec.json.encode(message).decode())

    async def next(self) -> dict[str, Any]:
        """Return the next message; those of one WebSocket message one by one."""
        while not self._waiting:
            message = await self.socket.receive(PATIENCE_S)
            assert message.type is aiohttp.WSMsgType.TEXT, (message, self.socket.close_code)
            self._waiting = [msgspec.json.decode(line) for line in message.data.split("\n")]
        self.heard.append(self._waiting.pop(0))
        return self.heard[-1]

    async def piece(self) -> list[dict[str, Any]]:
        """Return what one WebSocket message holds."""
        assert not self._waiting
        first = await self.next()
        rest, self._waiting = self._waiting, []
        self.heard += rest
        return [first, *rest]

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """Read on to a message that has these fields."""
        while True:
            message = await self.next()
            if wanted.items() <= message.items():
                return message

    async def confirmed(self, channel: str, last: tuple[int, int]) -> list[tuple[int, int]]:
        """Read on until this has been said on a channel. Return position and ``ts`` of all confirmed ones there."""
        found: list[tuple[int, int]] = []
        while last not in found:
            message = await self.next()
            if message.get("channel") == channel and not message["data"].get("forming"):
                found.append((message["data"]["position"], message["data"]["ts"]))
        return found

    async def subscribe(self, **more: Any) -> dict[str, Any]:
        """Subscribe, and return the snapshot."""
        await self.send(type="SUBSCRIBE", **more)
        return await self.until(type="SNAPSHOT")


class Served:
    """A gateway with its WebSocket on a free port, as the role serves it."""

    def __init__(self, redis: int, path: Path, *, log: FixedLog | None = None, clock: Any = DAYTIME) -> None:
        self.client = connect(LOOPBACK, redis, db=0)
        store = Store(MirrorReader(self.client), ArchiveReader(path))
        self.log = log or FixedLog()
        self.gateway = Gateway(simulated=True, store=store, log=self.log, names=SomeNames(), now_ms=clock.now_ms)
        self.live = LiveServer(
            self.gateway, clock, lambda take: connect_pubsub(LOOPBACK, redis, password=None, take=take)
        )
        self.hub, self.channels = self.live.hub, self.live.registry.channels
        application = Application()
        Sockets(lambda: self.live, time.monotonic).serve(application)
        self._runner = AppRunner(application)
        self.port = free_port()

    async def start(self) -> None:
        await self._runner.setup()
        await TCPSite(self._runner, LOOPBACK, self.port).start()
        self._running = [asyncio.create_task(self.live.link.run())]

    def start_broadcasts(self) -> None:
        """Tell clients how things are."""
        self._running.append(asyncio.create_task(self.live.broadcaster.run()))

    async def stop(self) -> None:
        await self._runner.cleanup()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.client.aclose()

    @asynccontextmanager
    async def client_of(self, query: str = "", **options: Any) -> AsyncIterator[Listening]:
        """Connect."""
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://{LOOPBACK}:{self.port}/ws{query}", **options) as socket,
        ):
            yield Listening(socket)


@asynccontextmanager
async def served(market: Market, **options: Any) -> AsyncIterator[Served]:
    """Serve a gateway before a market, connected to Redis."""
    gateway = Served(market.port, market.path, **options)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


def positions(rows: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Return position and ``ts`` of rows."""
    return [(row["position"], row["ts"]) for row in rows]


def confirmed(client: Listening, channel: str) -> list[tuple[int, int]]:
    """Return position and ``ts`` of what a client has been told for good on a channel so far."""
    return [
        (message["data"]["position"], message["data"]["ts"])
        for message in client.heard
        if message.get("channel") == channel and not message["data"].get("forming") and not message["data"].get("live")
    ]
