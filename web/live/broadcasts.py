"""What all clients get beside pushes: how the machine and the market are, and what has changed."""

from __future__ import annotations

import logging
from typing import NoReturn

import msgspec

from topology.clock import Clock
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
    """Sends every client of a hub what is no push."""

    def __init__(self, gateway: Gateway, clock: Clock, hub: Hub) -> None:
        self._gateway, self._clock, self._hub = gateway, clock, hub

    async def run(self) -> NoReturn:
        """Send every two seconds how things are, and each new configuration."""
        sent = self._gateway.log.configuration
        while True:
            await self._clock.sleep(EVERY_S)
            if self._hub.clients:
                self._hub.broadcast(metrics_message(self._gateway))
            if sent is not self._gateway.log.configuration:
                try:
                    self._hub.broadcast(_encode({"type": "configuration", "config": await config.call(self._gateway)}))
                    sent = self._gateway.log.configuration
                except Problem as problem:
                    logger.warning("the new configuration can't be told yet: %s", problem)

    def broadcast_event(self, event: FeedEvent) -> None:
        """Send an event of the feed."""
        self._hub.broadcast(event_message(event))

    def broadcast_active(self, data: bytes) -> None:
        """Send which indicators are shown, as a gateway has written it down."""
        try:
            entries = msgspec.json.decode(data, type=Active).entries
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning("what another gateway says is shown can't be read: %s", error)
            return
        self._hub.broadcast(_encode({"type": "config_update", "entries": entries, "ts": self._hub.now().decode()}))


def metrics_message(gateway: Gateway) -> bytes:
    """Return the message that clients get every two seconds."""
    market: MarketStatus | None = None
    try:
        market = status_at(gateway.calendar, "equity", gateway.now_ms())
    except CalendarError as error:
        status = str(error)
    else:
        status = f"{market.phase}: {market.reason}"
    return _encode(
        {
            "type": "metrics",
            "metrics": measured(gateway.now_ms()),
            "marketOpen": market is not None and market.phase == "open",
            "marketStatus": status,
            "market": market,
        }
    )


def event_message(event: FeedEvent) -> bytes:
    """Return the message of an event of the feed."""
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
