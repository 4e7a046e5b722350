"""A gateway as clients see it: its REST over HTTP, before a real Valkey and a real archive that hold two days."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import faust
from aiohttp.web import AppRunner, TCPSite
from faust.web.base import BlueprintManager

from tests.reference.brute_force import Row, indian_ms
from tests.support.generated import Batch
from tests.support.stage_chain import LOG, NSE, RUN, Chain, Made, records
from topology.embedded.loopback import LOOPBACK, free_port
from topology.log.frames import CANDLES, INDICATORS, TIMEFRAMES, Configure, TickFrame, tick_frame
from topology.log.frames import TICKS as TICKS_STAGE
from topology.sinks.archive.archive import Archive
from topology.sinks.archive.reader import ArchiveReader
from topology.sinks.cursor import StoredFrame
from topology.sinks.mirror.breaker import Breaker
from topology.sinks.mirror.mirror import Mirror, connect
from topology.sinks.mirror.reader import MirrorReader
from topology.sinks.mirror.streams import StreamCommands
from web.gateway import Gateway
from web.http import pages, session, views
from web.http.guard import Access, Rates, guard
from web.http.problem import invalid
from web.ports import Info, Reloaded, Standing
from web.queries.store import Store
from web.rest import ENDPOINTS

NIFTY, STOCK = "NSE:99926000", "BSE:500325"
DAYS = (date(2022, 11, 21), date(2022, 11, 22))  # a Monday and a Tuesday
SPECS = ["SMA:3", "RSI:14"]
CONFIGURATION = Configure(1, {60: SPECS, 120: SPECS, 300: ["EMA:9"]}, {}, NSE, 1000)
TOKEN = "a-token"
NOW_MS = indian_ms(DAYS[1], "15:45:00")


@cache
def two_days() -> tuple[list[TickFrame], list[Made]]:
    """Return the tick frames of two days, one every 10 s, and what the stages make of them.

    Of the index there is a tick every 5 s; of the stock now and then, with quiet minutes.
    """
    chance = random.Random(7)
    batches = list[Batch]()
    for day in DAYS:
        opens, closes = indian_ms(day, "09:15:00"), indian_ms(day, "15:30:00")
        price, other, volume = 1_800_000, 250_000, 0
        for start_ms in range(opens, closes, 10_000):
            rows = []
            for time_ms in (start_ms, start_ms + 5_000):
                price += chance.randint(-150, 150)
                rows.append(Row(NIFTY, time_ms, price, None))
                if chance.random() < 0.05:
                    other, volume = other + chance.randint(-20, 20), volume + chance.randint(1, 50)
                    rows.append(Row(STOCK, time_ms + 1_000, other, volume))
            batches.append((rows, start_ms + 10_000))
        batches.append(([], closes + 60_000))
    raw = records(batches, {0: CONFIGURATION})
    found = [tick_frame(record) for record in raw]
    return [frame for frame in found if isinstance(frame, TickFrame)], Chain().run(raw)


def stored(made: Sequence[Made]) -> dict[str, list[StoredFrame]]:
    """Return what stages have made as it lies in the log, by stage."""
    return {
        CANDLES: [StoredFrame(CANDLES, 0, one.candles.position, one.candles) for one in made],
        TIMEFRAMES: [StoredFrame(TIMEFRAMES, 0, one.timeframes.position, one.timeframes) for one in made],
        INDICATORS: [StoredFrame(INDICATORS, 0, one.indicators.position, one.indicators) for one in made],
    }


@dataclass
class FixedLog:
    """A log that stands still, but for its configuration."""

    configuration: Configure = CONFIGURATION
    id: str = LOG
    standing_now: Standing = field(default_factory=lambda: Standing(NOW_MS, []))
    asked: list[Any] = field(default_factory=list)

    async def standing(self) -> Standing:
        return self.standing_now

    async def reload(self, timeframes: Sequence[tuple[int, Sequence[str]]]) -> Reloaded:
        self.asked.append(timeframes)
        if not timeframes:
            raise invalid("there must be a timeframe")
        return Reloaded("ok", [], [], [])


class SomeNames:
    """Two instruments that have names."""

    async def of(self, instruments: Collection[str]) -> dict[str, Info]:
        known = {NIFTY: Info("NIFTY", "NIFTY 50", "index"), STOCK: Info("RELIANCE", "RELIANCE", "equity")}
        return {name: known.get(name) or Info(name, name, "equity") for name in instruments}


class Stores:
    """A Redis database and an archive, written as the roles do."""

    def __init__(self, path: Path, port: int) -> None:
        self.path, self.port = path, port
        self.client = connect(LOOPBACK, port, db=0)
        streams = StreamCommands(partitions=1, budget_mb=2048)
        self.mirror = Mirror(self.client, log=LOG, run=RUN, streams=streams, breaker=Breaker(lambda: 0.0))

    async def mirrored(self, stages: dict[str, list[StoredFrame]]) -> None:
        for frames in stages.values():
            for some in _batches(frames, 200):
                await self.mirror.apply(some)

    async def ticked(self, frames: Sequence[TickFrame], first: int = 0) -> None:
        await self.mirror.apply([StoredFrame(TICKS_STAGE, 0, first + n, frame) for n, frame in enumerate(frames)])

    async def archived(self, stages: dict[str, list[StoredFrame]]) -> None:
        await asyncio.to_thread(write, self.path, stages)


def write(path: Path, stages: dict[str, list[StoredFrame]]) -> None:
    """Write into an archive; one that lacks is made."""
    archive = Archive(path, log=LOG, run=RUN)
    for frames in stages.values():
        for some in _batches(frames, 1_000):
            archive.write(some)
    archive.close()


def _batches(frames: list[StoredFrame], size: int) -> list[list[StoredFrame]]:
    return [frames[start : start + size] for start in range(0, len(frames), size)]


class Client:
    """Asks a gateway over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url
        self.headers: dict[str, str] = {}

    async def get(self, path: str, *, status: int = 200, **query: Any) -> Any:
        """Return the JSON of an answer, whose status must be as said."""
        async with self.session.get(f"{self.url}{path}", params=query, headers=self.headers) as answer:
            self.answer = answer
            told = await answer.json(content_type=None)
            assert answer.status == status, told
        return told

    async def post(self, path: str, body: bytes, *, status: int = 200, **headers: str) -> Any:
        """Post bytes, and return the JSON of the answer."""
        async with self.session.post(f"{self.url}{path}", data=BytesIO(body), headers=self.headers | headers) as answer:
            self.answer = answer
            told = await answer.json(content_type=None)
            assert answer.status == status, told
        return told


class Served:
    """A gateway that is served on a free port."""

    def __init__(self, gateway: Gateway, *, public: bool = False, clock: Any = None) -> None:
        app = faust.App("served", broker="kafka://127.0.0.1:1", store="memory://", autodiscover=False)
        views.serve(app, ENDPOINTS, lambda: gateway)
        access = Access(public=public, origins=frozenset({"http://friend.example"}), token=lambda: TOKEN)
        app.web.blueprints = BlueprintManager()
        app.web.init_server()
        web_app = app.web.web_app  # type: ignore[attr-defined] # of the driver that is used
        web_app.middlewares.extend(guard(access, Rates(clock or (lambda: 0.0))))
        session.serve(web_app, access)
        pages.serve(web_app, pages.assets())
        self._runner = AppRunner(web_app)
        self.port = free_port()

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await TCPSite(self._runner, LOOPBACK, self.port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()


@asynccontextmanager
async def asked(
    stores: Stores, log: FixedLog | None = None, *, now_ms: Callable[[], int] = lambda: NOW_MS, **options: Any
) -> AsyncIterator[Client]:
    """Serve a gateway before stores, and yield a client of it."""
    store = Store(MirrorReader(stores.client), ArchiveReader(stores.path))
    gateway = Gateway(simulated=False, store=store, log=log or FixedLog(), names=SomeNames(), now_ms=now_ms)
    async with Served(gateway, **options) as served, aiohttp.ClientSession() as session:
        yield Client(session, f"http://{LOOPBACK}:{served.port}")
