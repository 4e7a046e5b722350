"""The endpoints of REST: this is their table of contents."""

from __future__ import annotations

from web.endpoint import Endpoint
from web.rest import candles, indicators, instruments, market, system

ENDPOINTS: tuple[Endpoint, ...] = (
    candles.candles,
    indicators.history,
    indicators.latest,
    indicators.active,
    indicators.activate,
    market.tfs,
    market.config,
    market.market_status,
    market.pipeline,
    system.metrics,
    instruments.tokens,
    instruments.candles,
    instruments.values,
)
