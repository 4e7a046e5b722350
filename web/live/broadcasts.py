"""What all clients are told beside pushes: how the machine and the market are, and what has changed."""

from __future__ import annotations

import logging
from typing import NoReturn

import msgspec

from topology.log.frames import FeedEvent
from topology.market import CalendarError
from web.gateway import Gateway
from web.http.problem import Problem
from web.live.hub import Hub
from web.rest.indicators import Active
from web.rest.market import MarketStatus, config, status_at
from web.rest.system import measured

logger = logging.getLogger(__name__)

EVERY_S = 2.0
_encode = msgspec.json.Encoder().encode


class Broadcaster:
    """Tells all clients of a hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub, self._gateway = hub, hub.gateway
        hub.on_active = self._active

    async def run(self) -> NoReturn:
        """Tell every two seconds how things are, and of a new configuration."""
        known = self._gateway.log.configuration
        while True:
            await self._hub.clock.sleep(EVERY_S)
            if self._hub.clients:
                self._hub.tell_all(regular(self._gateway))
            if known is not self._gateway.log.configuration:
                try:
                    self._hub.tell_all(_encode({"type": "configuration", "config": await config.call(self._gateway)}))
                    known = self._gateway.log.configuration
                except Problem as problem:
                    logger.warning("the new configuration can't be told yet: %s", problem)

    def happened(self, event: FeedEvent) -> None:
        """Tell of an event of the feed."""
        self._hub.tell_all(happened(event))

    def _active(self, data: bytes) -> None:
        try:
            entries = msgspec.json.decode(data, type=Active).entries
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning("what another gateway says is shown can't be read: %s", error)
            return
        self._hub.tell_all(_encode({"type": "config_update", "entries": entries, "ts": self._hub.now().decode()}))


def regular(gateway: Gateway) -> bytes:
    """Return the message that clients get every two seconds."""
    market: MarketStatus | None = None
    try:
        market = status_at(gateway.calendar, "equity", gateway.now_ms())
    except CalendarError as error:
        told = str(error)
    else:
        told = f"{market.phase}: {market.reason}"
    return _encode(
        {
            "type": "metrics",
            "metrics": measured(gateway.now_ms()),
            "marketOpen": market is not None and market.phase == "open",
            "marketStatus": told,
            "market": market,
        }
    )


def happened(event: FeedEvent) -> bytes:
    """Return the message that tells of an event of the feed."""
    return _encode(
        {
            "type": "event",
            "kind": event.kind,
            "at_ms": event.at_ms,
            "from_ms": event.from_ms,
            "to_ms": event.to_ms,
            "instruments": event.instruments,
            "detail": event.detail,
        }
    )
