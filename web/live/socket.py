"""The view `/ws`: a client is let in, its requests are read, and it is closed in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from web.http.problem import Problem, unavailable
from web.http.token_bucket import TokenBucket
from web.live import requests
from web.live.client import Client, End
from web.live.firehose import since
from web.live.requests import LONGEST, Request
from web.live.server import LiveServer
from web.live.subscriptions import refuse

MOST_CLIENTS = 5_000
BURST, RATE_PER_S = 50.0, 20.0
PATIENCE = 100.0
"""Requests beyond what is allowed, after which a client is closed."""

UNDECIDED_S = 0.5
"""A client that hasn't subscribed for so long gets all channels."""

PING_S, SILENT_S = 30.0, 60.0
"""How often a client is asked for a sign of life, and how long it is kept without one."""

LAST_WORDS_S = 2.0
"""How long a client that is closed may take to say that it has understood."""

STORM: End = WSCloseCode.POLICY_VIOLATION, "too many requests"
GONE: End = WSCloseCode.GOING_AWAY, "no sign of life"
_encode = msgspec.json.encode


class Sockets:
    """Serves `/ws`. ``live`` is asked for each client, since it is made when the app has started.

    ``monotonic`` gives seconds.
    """

    def __init__(self, live: Callable[[], LiveServer], monotonic: Callable[[], float]) -> None:
        self._live, self._monotonic = live, monotonic

    def serve(self, application: web.Application) -> None:
        """Add the view. When the application shuts down its clients are closed: it waits for them."""
        application.router.add_get("/ws", self.view)
        application.on_shutdown.append(self._shutdown)

    async def view(self, request: web.Request) -> web.StreamResponse:
        """Serve a client until it is gone."""
        live = self._live()
        hub = live.hub
        last = request.query.get("last_ts", "")
        since(last)
        if len(hub.clients) >= MOST_CLIENTS:
            raise unavailable("places", f"{MOST_CLIENTS} clients are connected already")
        socket = web.WebSocketResponse(
            compress=True, max_msg_size=LONGEST + 1, receive_timeout=SILENT_S, timeout=LAST_WORDS_S, autoping=False
        )
        await socket.prepare(request)
        client = Client(socket, deflate=_only_large(socket))
        hub.admit(client)
        try:
            why = await Conversation(live, client, socket, last, self._monotonic).hold()
        finally:
            hub.dismiss(client)
            await live.firehose.leave(client)
        await _close(request, socket, why)
        return socket

    async def _shutdown(self, _: web.Application) -> None:
        self._live().hub.close()


class Conversation:
    """What goes on between a client and the gateway."""

    def __init__(
        self, live: LiveServer, client: Client, socket: web.WebSocketResponse, last: str, monotonic: Callable[[], float]
    ) -> None:
        self._live, self._client, self._socket = live, client, socket
        self._now_ms = live.clock.now_ms
        self._bucket = TokenBucket(monotonic, burst=BURST, rate_per_s=RATE_PER_S, debt=PATIENCE)
        self._last = last
        self._joining: asyncio.Task[None] | None = None
        self._underway: dict[asyncio.Task[None], str] = {}  # what is being answered, and what it is about

    async def hold(self) -> End | None:
        """Return why it is to be closed; None where the client has gone."""
        sending, receiving = asyncio.create_task(self._client.send()), asyncio.create_task(self._receive())
        self._joining = asyncio.create_task(self._join_firehose())
        tasks = [sending, receiving, self._joining, asyncio.create_task(self._ping())]
        waited: list[asyncio.Future[Any]] = [sending, receiving, self._client.ended]
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in [*tasks, *self._underway]:
                task.cancel()
            await asyncio.gather(*tasks, *self._underway, return_exceptions=True)
        if not receiving.cancelled() and (error := receiving.exception()) is not None:
            if not isinstance(error, TimeoutError):
                raise error
            return GONE
        return self._client.ended.result() if self._client.ended.done() else None

    async def _receive(self) -> None:
        while True:
            message = await self._socket.receive()
            match message.type:
                case WSMsgType.TEXT:
                    self._read(message.data)
                case WSMsgType.PING:
                    await self._socket.pong(message.data)
                case WSMsgType.PONG:
                    pass
                case WSMsgType.BINARY:
                    refuse(self._client, "", Problem(400, "invalid", "send text: binary messages mean nothing here"))
                case _:
                    return

    async def _ping(self) -> None:
        with suppress(ConnectionError):  # who reads learns of it too
            while True:
                await self._live.clock.sleep(PING_S)
                await self._socket.ping()

    def _read(self, text: str) -> None:
        if not self._bucket.take():
            if self._bucket.overdrawn:
                self._client.end(STORM)
            return refuse(self._client, "", Problem(429, "too_many_requests", "at most 20 requests a second"))
        try:
            request = requests.read(text)
        except Problem as problem:
            return refuse(self._client, requests.id_of(text), problem)
        if request.ping is not None:
            pong = {"type": "pong", "ping": request.ping, "server_ts": self._now_ms()}
            return self._client.answer(_encode(pong))
        about = "" if request.channels is not None else f"{request.symbol} {request.tf}"
        earlier = [task for task, other in self._underway.items() if other == about]
        task = asyncio.create_task(self._answer(request, earlier))
        self._underway[task] = about
        task.add_done_callback(self._underway.pop)
        return None

    async def _join_firehose(self) -> None:
        """Give a client all channels that doesn't subscribe for a moment, or says since when it wants them."""
        if not self._last:
            await self._live.clock.sleep(UNDECIDED_S)
        await self._live.firehose.join(self._client, since(self._last))

    async def _answer(self, request: Request, earlier: list[asyncio.Task[None]]) -> None:
        """Answer a request after those before it that are about the same."""
        if request.type == "SUBSCRIBE" and self._joining is not None:
            self._joining.cancel()
            await asyncio.wait([self._joining])
            await self._live.firehose.leave(self._client)
        if earlier:
            await asyncio.wait(earlier)
        await self._live.subscriptions.answer(self._client, request)


def _only_large(socket: web.WebSocketResponse) -> int:
    """Have only those messages compressed that ask for it. Returns what to ask with, 0 where the client can't read it.

    aiohttp compresses all messages or none; its writer does what we need once it is told that none are.
    """
    writer = socket._writer
    assert writer is not None
    deflate, writer.compress = writer.compress, 0
    return deflate


async def _close(request: web.Request, socket: web.WebSocketResponse, why: End | None) -> None:
    """Close a socket; one that doesn't answer is cut off."""
    code, reason = why or (WSCloseCode.OK, "")
    with suppress(ConnectionError):
        await socket.close(code=code, message=reason.encode(), drain=False)
    if request.transport is not None and request.transport.get_write_buffer_size():
        request.transport.abort()  # it doesn't read: what waits would keep it for ever
