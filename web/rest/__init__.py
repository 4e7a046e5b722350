"""The endpoints of REST: this is their table of contents."""

from __future__ import annotations

from web.http.endpoint import Endpoint
from web.rest import candles, indicators, instruments, market, missed, reload, system
from web.rest.docs import docs
from web.udf import bars, symbols

_ENDPOINTS: tuple[Endpoint, ...] = (
    candles.candles,
    candles.gaps,
    indicators.history,
    indicators.latest,
    indicators.active,
    indicators.activate,
    market.tfs,
    market.config,
    market.market_status,
    market.pipeline,
    system.metrics,
    missed.missed,
    instruments.tokens,
    instruments.candles,
    instruments.values,
    symbols.config,
    symbols.symbols,
    symbols.search,
    bars.history,
    bars.time,
    bars.quotes,
    bars.marks,
    reload.reload,
)
ENDPOINTS = (*_ENDPOINTS, docs(_ENDPOINTS))
