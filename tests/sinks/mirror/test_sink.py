"""The mirror as a sink, against a real Valkey: what nobody listens to is not published, where it is told so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.support.until import until
from topology.embedded import Valkey, free_port
from topology.log.frames import TICKS, LogHeader, TickFrame
from topology.market import Tick
from topology.settings import Settings
from topology.sinks.cursor import StoredFrame
from topology.sinks.mirror import sink as mirror
from topology.sinks.mirror.sink import MirrorSink

NIFTY = "NSE:99926000"
CHANNEL = f"pub:tick:{NIFTY}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey of one's own: other tests listen to patterns."""
    valkey = Valkey(tmp_path / "valkey", free_port())
    valkey.start()
    yield valkey
    valkey.kill()


@asynccontextmanager
async def opened(valkey: Valkey, **env: str) -> AsyncIterator[MirrorSink]:
    """Open the sink, and let run what runs beside it."""
    sink = MirrorSink(Settings.from_env({"REDIS_ADDR": f"127.0.0.1:{valkey.port}", **env}))
    await sink.open(LogHeader(1, "log", "live", 1))
    background = [asyncio.create_task(coroutine) for coroutine in sink.background()]
    yield sink
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await sink.close()


def tick(position: int) -> StoredFrame:
    frame = TickFrame(1, "log", 1, position, 1000, 0, [], [Tick(NIFTY, 100 + position, 1000)])
    return StoredFrame(TICKS, 0, position, frame)


async def test_live_values_follow_who_listens_and_stop_with_redis(
    server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "LISTENED_S", 0.01)
    async with (
        opened(server, MIRROR_LIVE="watched") as sink,
        Redis(port=server.port) as client,
        client.pubsub(ignore_subscribe_messages=True) as listener,
    ):
        assert sink._listened == {}
        await sink.write([tick(0)])
        assert await client.get(f"tick:latest:{NIFTY}") is not None
        assert (await client.info("commandstats")).get("cmdstat_publish") is None

        await listener.subscribe(CHANNEL)
        positions = count(1)

        async def hears() -> bool:
            await sink.write([tick(next(positions))])
            return await listener.get_message(timeout=0.01) is not None

        await until(hears)
        assert sink._listened == {NIFTY: {"tick"}}
        server.stop()

        async def nobody_listens() -> bool:
            return sink._listened == {}

        await until(nobody_listens)


async def test_all_is_published_unless_told_otherwise_and_nobody_asks_who_listens(server: Valkey) -> None:
    async with opened(server) as sink, Redis(port=server.port) as client:
        assert sink._listened is None
        await sink.write([tick(0)])
        done = await client.info("commandstats")
        assert done["cmdstat_publish"]["calls"] == 1
        assert not [name for name in done if name.startswith("cmdstat_pubsub")]
