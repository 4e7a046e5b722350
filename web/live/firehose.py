"""Clients that subscribe nothing get everything: the newest value of every channel, then all pushes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from topology import indicators
from topology.sinks.channel_name import TICK, candle_name, channel, indicator_name
from topology.sinks.cursor import SinkError
from web.http.problem import Problem, invalid
from web.live.channel import PositionGroup
from web.live.client import MOST_WAITING, TOO_SLOW, Client
from web.live.message_header import message_header
from web.live.redis_link import RedisLink

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

    def release(self, had: Mapping[str, int]) -> None:
        """Give all to the client but what it has had: the position of each channel."""
        for name, group in self._groups:
            if group.position > had.get(name, -1):
                self._client.confirmed(name, group)
        for name, (data, text) in self._newest.items():
            self._client.newest(name, data, text)


class Firehose:
    """Gives clients everything."""

    def __init__(self, link: RedisLink) -> None:
        self._link, self._hub = link, link.hub
        self._again: set[asyncio.Task[None]] = set()
        self._hub.on_return = self._repeat

    async def give(self, client: Client, since_ms: int | None = None) -> None:
        """Tell a client the newest values, of those times only that are after ``since_ms``; then all that is said."""
        hub, held, had = self._hub, HeldMessages(client), dict[str, int]()
        hub.everything[held] = None
        try:
            await self._link.hear_everything()
            await self._newest(client, since_ms, had)
            if hub.heard is not None:
                await hub.heard.caught_up()
        except (SinkError, Problem) as error:
            logger.warning("a client that hears everything has no newest values: %s", error)
        finally:
            hub.everything.pop(held)
        if client in hub.clients:
            held.release(had)
            hub.everything[client] = None

    async def take(self, client: Client) -> None:
        """Note that a client hears everything no longer: it has subscribed, or gone."""
        self._hub.everything.pop(client, None)
        try:
            await self._link.hear_everything()
        except SinkError as error:
            logger.warning("%s", error)

    def _repeat(self) -> None:
        """After Redis was away: the newest values again."""
        for client in [one for one in self._hub.everything if isinstance(one, Client)]:
            del self._hub.everything[client]
            task = asyncio.create_task(self.give(client))
            self._again.add(task)
            task.add_done_callback(self._again.discard)

    async def _newest(self, client: Client, since_ms: int | None, had: dict[str, int]) -> None:
        gateway = self._hub.gateway
        stored = gateway.log.configuration.timeframes
        kinds = [TICK, candle_name(1), *map(candle_name, sorted(stored))]
        kinds += [indicator_name(indicators.name(spec), tf) for tf, specs in sorted(stored.items()) for spec in specs]
        wanted = [(kind, instrument) for instrument in sorted(await gateway.instruments()) for kind in kinds]
        for start in range(0, len(wanted), AT_A_TIME):
            found = await gateway.reading.mirror.latest_of(wanted[start : start + AT_A_TIME])
            for (kind, instrument), data in found.items():
                name, mark = channel(kind, instrument), message_header(data)
                had[name] = mark.position
                if since_ms is None or max(mark.ts * 1000, mark.tick_ts) > since_ms:
                    client.push(self._hub.initial(name, data))
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
        found = datetime.fromisoformat(text.replace(" ", "+"))
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise invalid(f"last_ts={text[:40]!r}: write epoch seconds or milliseconds, or 2026-11-24T03:45:00Z") from None
