"""Prometheus metrics of the WebSocket."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

CLIENTS = Gauge("mdengine_ws_clients", "Clients that are connected")
CHANNELS = Gauge("mdengine_ws_channels", "Channels that somebody hears")
PUSHES = Counter("mdengine_ws_pushes_total", "Pushes sent to clients; those of one position count once")
DROPS = Counter("mdengine_ws_drops_total", "Forming values and ticks that a newer one has overtaken")
BYTES = Counter("mdengine_ws_bytes_total", "Bytes of messages sent to clients, before they are compressed")
SLOW = Counter("mdengine_ws_slow_clients_total", "Clients that were closed because they read too slowly")
