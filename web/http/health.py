"""`/health` and `/metrics` on every role's web port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import faust
import msgspec
from faust.web import Request, Response, View
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


class RoleHealth(msgspec.Struct, frozen=True):
    """What a role says of itself. It is well when it runs and no reader with lag stands still."""

    role: str
    state: str
    log: str
    readers: Sequence[Any]

    @property
    def well(self) -> bool:
        """Whether the role does its work."""
        return self.state == "running"


class GatewayHealth(RoleHealth, frozen=True, kw_only=True):
    """What a gateway says beside that, to the clients of the system that it replaces. ``ts`` is in milliseconds."""

    status: str
    redis: bool
    ws_clients: int
    uptime_sec: int
    ts: int


def add(app: faust.App, health: Callable[[], RoleHealth]) -> None:
    """Serve both pages. ``health`` is asked for each request: it also sets the gauges that `/metrics` shows."""

    @app.page("/health")
    async def show_health(view: View, _: Request) -> Response:
        answer = health()
        return view.json(msgspec.to_builtins(answer), status=200 if answer.well else 503)

    @app.page("/metrics")
    async def show_metrics(view: View, _: Request) -> Response:
        health()
        return view.bytes(generate_latest(), content_type=CONTENT_TYPE_LATEST.split(";")[0])
