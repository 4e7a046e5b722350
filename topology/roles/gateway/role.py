"""The role `gateway`: REST, WebSocket and pages in front of Redis and SQLite. It holds no state that matters."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from aiohttp.web import Application, AppRunner, TCPSite
from faust.types.web import Web
from faust.web.base import BlueprintManager
from redis.asyncio import Redis

from topology.angel.master.listings import FILE_NAME
from topology.clock import SYSTEM, now_ms
from topology.embedded.loopback import free_port
from topology.kafka import broker_log
from topology.roles.background import BackgroundTasks
from topology.roles.base import RoleApp
from topology.roles.gateway.feed_events import follow_events
from topology.roles.gateway.instrument_names import MasterNames
from topology.roles.gateway.log_view import FollowedLog
from topology.settings import SIM, Settings
from topology.sinks.archive.reader import ArchiveReader
from topology.sinks.mirror.mirror import MirrorAwayError, connect
from topology.sinks.mirror.pubsub import PubSubConnection, PubSubMessage, connect_pubsub
from topology.sinks.mirror.reader import MirrorReader
from web.gateway import Gateway
from web.http import health, pages, session, views
from web.http.guard import LOOPBACK, Access, Rates, guard
from web.http.token import token
from web.live.server import LiveServer
from web.live.socket import Sockets
from web.queries.store import Store
from web.rest import ENDPOINTS

logger = logging.getLogger(__name__)

POLL_S = 1.0


class GatewayRole:
    """Serves what the mirror and the archive hold, at two addresses."""

    def __init__(self, app: RoleApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._background = BackgroundTasks(settings)
        self._gateway: Gateway | None = None
        self._live: LiveServer | None = None
        self._client: Redis | None = None
        self._redis_answers = False
        self._started_ms = now_ms()
        app.producer_only = True  # it takes no part in a group: every gateway sees everything
        app.web.blueprints = BlueprintManager()  # Faust has pages of its own, one of them at `/`
        views.serve(app, ENDPOINTS, self._ready)
        health.add(app, self._health)

    def serve(self, web: Web) -> None:
        """Put the guard in front of the views; called when the web server is made."""
        settings = self._settings
        hosts = {settings.dashboard_addr.bound_to, settings.gateway_addr.bound_to}
        access = Access(
            public=not hosts <= LOOPBACK,
            origins=settings.allowed_origins,
            token=lambda: token(settings.token_path),
        )
        application: Application = web.web_app  # type: ignore[attr-defined] # of the driver that we use
        application.middlewares.extend(guard(access, Rates(time.monotonic)))
        Sockets(self._ready_live, time.monotonic).serve(application)
        session.serve(application, access)
        pages.serve(application, pages.assets())

    async def start(self, log: broker_log.Log) -> None:
        """Connect to what it reads; Redis and the archive may come later."""
        settings = self._settings
        host, port = settings.redis_addr
        self._client = connect(host, port, db=settings.redis_db, password=settings.redis_password or None)
        followed = FollowedLog(settings, log)
        self._gateway = Gateway(
            simulated=settings.namespace == SIM,
            store=Store(MirrorReader(self._client), ArchiveReader(settings.sqlite_path)),
            log=followed,
            names=MasterNames(settings.namespace_dir / FILE_NAME),
            now_ms=now_ms,
            pushes=lambda: self._ready_live().hub,
        )
        self._live = LiveServer(self._gateway, SYSTEM, self._connect_pubsub)
        if not settings.token_path.exists():
            token(settings.token_path)
            logger.info("a token was made: `topology gateway token` shows it")
        self._background.start(
            [
                followed.follow(),
                self._second_address(),
                self._ask_redis(),
                *self._live.coroutines(),
                follow_events(settings, log, self._live.broadcaster.broadcast_event),
            ]
        )

    async def close(self) -> None:
        """Nothing is kept."""

    async def stop(self) -> None:
        """Disconnect."""
        self._background.stop()
        if self._client is not None:
            await self._client.aclose()

    def _ready(self) -> Gateway:
        assert self._gateway is not None, "the web server starts after the role"
        return self._gateway

    def _ready_live(self) -> LiveServer:
        assert self._live is not None, "the web server starts after the role"
        return self._live

    async def _connect_pubsub(self, take: Callable[[list[PubSubMessage]], None]) -> PubSubConnection:
        host, port = self._settings.redis_addr
        return await connect_pubsub(host, port, password=self._settings.redis_password or None, take=take)

    async def _second_address(self) -> None:
        """Listen at GATEWAY_ADDR too, once the first address is served: one application, two doors."""
        runner: AppRunner = self._app.web._runner  # type: ignore[attr-defined] # Faust has no setting for it
        while runner.server is None:  # noqa: ASYNC110 - nor does it tell when it is
            await asyncio.sleep(0.05)
        host, port = self._settings.gateway_addr.bound_to, self._settings.gateway_addr.port
        if port != self._app.conf.web_port and free_port(port, host=host) == port:
            await TCPSite(runner, host, port).start()
        else:
            logger.warning("GATEWAY_ADDR %s:%d is in use: this gateway has one address only", host, port)

    async def _ask_redis(self) -> None:
        while True:
            try:
                await self._ready().store.mirror.ping()
                self._redis_answers = True
            except MirrorAwayError:
                self._redis_answers = False
            await asyncio.sleep(POLL_S)

    def _health(self) -> health.GatewayHealth:
        log = "" if self._gateway is None else self._gateway.log.id
        return health.GatewayHealth(
            "gateway",
            "running" if log else "recovering",
            log,
            [],
            status="ok",
            redis=self._redis_answers,
            ws_clients=0 if self._live is None else len(self._live.hub.clients),
            uptime_sec=(now_ms() - self._started_ms) // 1000,
            ts=now_ms(),
        )
