"""The role `mirror` against a real Valkey: what nobody listens to is not published, where it is told so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis.asyncio import Redis

from tests.support.until import until
from topology.embedded import Valkey, free_port
from topology.log.frames import TICKS, TickFrame
from topology.market import Tick
from topology.roles import build, mirror
from topology.roles.mirror import MirrorRole
from topology.settings import Settings
from topology.sinks.cursor import StoredFrame

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
async def running(valkey: Valkey, folder: Path, **env: str) -> AsyncIterator[MirrorRole]:
    """Run the role, without what it reads."""
    address = {"REDIS_ADDR": f"127.0.0.1:{valkey.port}", "TOPOLOGY_ROLE": "mirror", "DATA_DIR": str(folder)}
    role = build(Settings.from_env({**address, "SESSION_TIMEOUT_S": "300", **env})).role
    assert isinstance(role, MirrorRole)
    await role.start(SimpleNamespace(header=SimpleNamespace(log="log", partitions=1)))  # type: ignore[arg-type]
    yield role
    await role.stop()


def tick(position: int) -> StoredFrame:
    frame = TickFrame(1, "log", 1, position, 1000, 0, [], [Tick(NIFTY, 100 + position, 1000)])
    return StoredFrame(TICKS, 0, position, frame)


async def test_live_values_follow_who_listens_and_stop_with_redis(
    server: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "WATCH_S", 0.01)
    async with (
        running(server, tmp_path, MIRROR_LIVE="watched") as role,
        Redis(port=server.port) as client,
        client.pubsub(ignore_subscribe_messages=True) as listener,
    ):
        assert role._watched == {}
        await role.write([tick(0)])
        assert await client.get(f"tick:latest:{NIFTY}") is not None
        assert (await client.info("commandstats")).get("cmdstat_publish") is None

        await listener.subscribe(CHANNEL)
        positions = count(1)

        async def hears() -> bool:
            await role.write([tick(next(positions))])
            return await listener.get_message(timeout=0.01) is not None

        await until(hears)
        assert role._watched == {NIFTY: {"tick"}}
        server.stop()

        async def nobody_listens() -> bool:
            return role._watched == {}

        await until(nobody_listens)


async def test_all_is_published_unless_told_otherwise_and_nobody_asks_who_listens(
    server: Valkey, tmp_path: Path
) -> None:
    async with running(server, tmp_path) as role, Redis(port=server.port) as client:
        assert role._watched is None
        await role.write([tick(0)])
        done = await client.info("commandstats")
        assert done["cmdstat_publish"]["calls"] == 1
        assert not [name for name in done if name.startswith("cmdstat_pubsub")]
