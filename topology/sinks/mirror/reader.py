"""Reading the mirror: streams, and the latest values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from topology.sinks.cursor import source_of
from topology.sinks.mirror.mirror import POSITIONS, MirrorAwayError

LATEST_TICK = "tick:latest:"
SCANNED = 5_000  # keys that one call looks at: a millisecond or two


class MirrorReader:
    """The Redis database behind ``client``. Every method raises MirrorAwayError where it can't be asked.

    ``name`` is that of a value without its instrument: ``candle:60s``, ``ind:SMA_20:60s``, ``tick``.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def entries(self, name: str, instrument: str, *, before_ms: int | None, limit: int) -> list[bytes]:
        """Return the JSON of the newest entries of a stream that start before a time, the newest first."""
        newest = "+" if before_ms is None else f"({max(before_ms, 0)}-0"
        async with reached():
            entries: Any = await self._client.xrevrange(f"{name}:{instrument}", newest, "-", limit)
        return [fields[b"data"] for _, fields in entries]

    async def latest(self, names: Sequence[str], instruments: Sequence[str]) -> dict[tuple[str, str], bytes]:
        """Return the JSON of the latest value of each name and instrument that has one."""
        return await self.latest_of([(name, instrument) for name in names for instrument in instruments])

    async def latest_of(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """Return the JSON of the latest value of these names and instruments, as far as they have one."""
        if not wanted:
            return {}
        async with reached():
            values: Any = await self._client.mget([f"{name}:latest:{instrument}" for name, instrument in wanted])
        return {which: data for which, data in zip(wanted, values, strict=True) if data is not None}

    async def positions(self) -> dict[str, dict[int, int]]:
        """Return how far the mirror is: the position of each partition, by stage."""
        async with reached():
            held: Any = await self._client.hgetall(POSITIONS)
        positions: dict[str, dict[int, int]] = {}
        for name, text in held.items():
            stage, partition = source_of(name.decode())
            positions.setdefault(stage, {})[partition] = int(text.split()[2])
        return positions

    async def instruments(self) -> list[str]:
        """Return the instruments that have a last price, in the order of their names."""
        async with reached():
            keys = [key async for key in self._client.scan_iter(f"{LATEST_TICK}*", count=SCANNED)]
        return sorted(key.decode().removeprefix(LATEST_TICK) for key in keys)

    async def kept(self, key: str) -> bytes | None:
        """Return what is kept under a key of the gateways' own."""
        async with reached():
            data: Any = await self._client.get(key)
        return None if data is None else bytes(data)

    async def keep(self, key: str, data: bytes) -> None:
        """Keep it there, and tell all gateways on the channel of the same name."""
        async with reached():
            await self._client.set(key, data)
            await self._client.publish(f"pub:{key}", data)

    async def ping(self) -> None:
        """Ask whether it answers."""
        async with reached():
            await self._client.ping()


@asynccontextmanager
async def reached() -> AsyncIterator[None]:
    """One call to Redis, whose failure is one kind of error."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise MirrorAwayError(f"Redis is away: {error}", retry_after_s=1.0) from error
