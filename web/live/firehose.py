"""Clients that subscribe nothing get all channels: the newest value of each, then all pushes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC

from topology import indicators
from topology.sinks.channel_name import TICK, candle_name, channel, indicator_name
from topology.sinks.cursor import SinkError
from web.gateway import Gateway
from web.http.problem import Problem, invalid
from web.live.channel import PositionGroup
from web.live.channel_state import NOWHERE
from web.live.client import MOST_WAITING, TOO_SLOW, Client
from web.live.hub import Hub
from web.live.message_header import message_header
from web.live.redis_link import RedisLink
from web.rest.queries import aware

logger = logging.getLogger(__name__)

AT_A_TIME = 500
"""Values that Redis is asked for at a time."""

MILLISECONDS_FROM = 10**11
"""A number from here on is of milliseconds: as seconds it would be the year 5138."""


class HeldMessages:
    """Takes the place of a client until it has the newest values. Implements `Listener`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._groups: list[tuple[str, PositionGroup]] = []
        self._newest: dict[str, tuple[bytes, bytes]] = {}
        self._size = 0

    def confirmed(self, channel: str, group: PositionGroup) -> None:
        """Keep it."""
        self._newest.pop(channel, None)
        self._groups.append((channel, group))
        self._size += len(group.text)
        if self._size > MOST_WAITING:
            self._client.end(TOO_SLOW)

    def newest(self, channel: str, data: bytes, text: bytes) -> None:
        """Keep the newest."""
        self._newest[channel] = data, text

    def release(self, positions: Mapping[str, int]) -> None:
        """Give all to the client but what it has: up to the position of each channel."""
        for name, group in self._groups:
            if group.position > positions.get(name, NOWHERE):
                self._client.confirmed(name, group)
        for name, (data, text) in self._newest.items():
            self._client.newest(name, data, text)


class Firehose:
    """Gives clients all channels."""

    def __init__(self, gateway: Gateway, hub: Hub, link: RedisLink) -> None:
        self._gateway, self._hub, self._link = gateway, hub, link
        self._renewals: set[asyncio.Task[None]] = set()

    async def join(self, client: Client, since_ms: int | None = None) -> None:
        """Give a client the newest values, of those times only that are after ``since_ms``; then all that comes."""
        hub, held, positions = self._hub, HeldMessages(client), dict[str, int]()
        hub.join_firehose(held)
        try:
            await self._link.listen_to_firehose()
            await self._push_newest(client, since_ms, positions)
            if self._link.connection is not None:
                await self._link.connection.caught_up()
        except (SinkError, Problem) as error:
            logger.warning("a client of all channels has no newest values: %s", error)
        finally:
            hub.leave_firehose(held)
        if client in hub.clients:
            held.release(positions)
            hub.join_firehose(client)

    async def leave(self, client: Client) -> None:
        """Give a client all channels no longer: it has subscribed, or gone."""
        self._hub.leave_firehose(client)
        try:
            await self._link.listen_to_firehose()
        except SinkError as error:
            logger.warning("%s", error)

    def renew(self) -> None:
        """After Redis was away: the newest values again."""
        for client in [one for one in self._hub.firehose if isinstance(one, Client)]:
            self._hub.leave_firehose(client)
            task = asyncio.create_task(self.join(client))
            self._renewals.add(task)
            task.add_done_callback(self._renewals.discard)

    async def _push_newest(self, client: Client, since_ms: int | None, positions: dict[str, int]) -> None:
        stored = self._gateway.log.configuration.timeframes
        names = [TICK, candle_name(1), *map(candle_name, sorted(stored))]
        names += [indicator_name(indicators.name(spec), tf) for tf, specs in sorted(stored.items()) for spec in specs]
        keys = [(name, instrument) for instrument in sorted(await self._gateway.instruments()) for name in names]
        for start in range(0, len(keys), AT_A_TIME):
            latest = await self._gateway.store.mirror.latest_of(keys[start : start + AT_A_TIME])
            for (name, instrument), data in latest.items():
                key, header = channel(name, instrument), message_header(data)
                positions[key] = header.position
                if since_ms is None or max(header.ts * 1000, header.tick_ts) > since_ms:
                    client.push(self._hub.initial(key, data))
            await client.drained()


def since(text: str) -> int | None:
    """Read ``?last_ts=``: epoch seconds or milliseconds, or a time of RFC 3339; None for nothing. Raises Problem.

    >>> since("1669088700"), since("1669088700000"), since("2022-11-22T03:45:00Z")
    (1669088700000, 1669088700000, 1669088700000)
    """
    if not text:
        return None
    try:
        number = float(text)
        return int(number if number >= MILLISECONDS_FROM else number * 1000)
    except (ValueError, OverflowError):
        pass
    try:
        return int(aware(text.replace(" ", "+"), UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise invalid(f"last_ts={text[:40]!r}: write epoch seconds or milliseconds, or 2026-11-24T03:45:00Z") from None
