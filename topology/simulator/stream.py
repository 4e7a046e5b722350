"""The broker's market data socket: a WebSocket that takes subscriptions as JSON and sends binary packets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec
from aiohttp import WSMsgType, web

from topology.simulator.distribution import Distribution, Key
from topology.simulator.faults import SHUT, Fault, Faults
from topology.simulator.ledger import Ledger
from topology.simulator.session import Sessions
from topology.simulator.socket_faults import SocketFaults

MOST_SOCKETS = 3  # of a client code
_CLOSE_S = 1.0  # how long a client may take to answer a close
_MOST_UNSENT = 32 * 1024 * 1024  # bytes; a client that falls further behind is cut off
_GOING_WRONG = 1011

INVALID_PAYLOAD = ("E1001", "Invalid Request Payload.")
TOO_MANY = ("E1002", "Invalid Request. Subscription Limit Exceeded")


class _Tokens(msgspec.Struct):
    exchange: int = msgspec.field(name="exchangeType")
    tokens: list[str]


class _Wanted(msgspec.Struct):
    mode: Literal[1, 2, 3]
    lists: list[_Tokens] = msgspec.field(name="tokenList")

    def keys(self) -> list[Key]:
        return [(self.mode, some.exchange, token) for some in self.lists for token in some.tokens]


class _Request(msgspec.Struct):
    action: Literal[0, 1]
    params: _Wanted
    correlation: str = msgspec.field(name="correlationID", default="")


class _Correlated(msgspec.Struct):
    correlation: object = msgspec.field(name="correlationID", default="")


class _Socket:
    """One connection: the faults on it, and the way to write to it past the WebSocket, many messages at once."""

    def __init__(self, request: web.Request, response: web.WebSocketResponse, faults: SocketFaults) -> None:
        assert request.transport is not None
        self.faults, self.response = faults, response
        self.transport: asyncio.Transport = request.transport
        self.drain = request.writer.drain

    def flush(self) -> None:
        waiting = self.faults.waiting
        if waiting and not self.transport.is_closing():
            self.transport.write(b"".join(waiting))
            if self.transport.get_write_buffer_size() > _MOST_UNSENT:
                self.transport.abort()
        waiting.clear()


class MarketStreams:
    """The route ``/smart-stream`` and all sockets that are open on it."""

    def __init__(
        self,
        distribution: Distribution,
        sessions: Sessions,
        *,
        faults: Faults,
        ledger: Ledger,
        now_ms: Callable[[], int],
    ) -> None:
        self._distribution, self._sessions = distribution, sessions
        self._faults, self._ledger, self._now_ms = faults, ledger, now_ms
        self._sockets: dict[int, _Socket] = {}
        self._cut_off: list[_Socket] = []  # half-open: they hear and say nothing until the end
        self._closing: set[asyncio.Task[bool]] = set()

    def described(self) -> list[dict[str, int]]:
        """Say which sockets are open, and how much each has asked for."""
        return [
            {"socket": number, "subscriptions": self._distribution.subscriptions(socket.faults)}
            for number, socket in sorted(self._sockets.items())
        ]

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Serve a socket for as long as it is open; 401, 429 and 503 are what a client is refused with."""
        if (refused := self._refused(request)) is not None:
            return refused
        number = next(n for n in range(1, MOST_SOCKETS + 1) if n not in self._sockets)
        response = web.WebSocketResponse(compress=False, timeout=_CLOSE_S)
        socket_faults = SocketFaults(number, self._faults, self._ledger)
        socket = _Socket(request, response, socket_faults)
        self._sockets[number] = socket  # before the first await: nobody else takes the number
        try:
            await response.prepare(request)
            self._distribution.join(socket_faults)
            for fault in self._faults.named("half-open"):
                self.begin(fault)
            async for message in response:
                if message.type is WSMsgType.TEXT:
                    await self._hear(socket, message.data)
        finally:
            self._remove(socket, None)
        return response

    def begin(self, fault: Fault) -> None:
        """Do what a fault does to open sockets when it begins."""
        for socket in list(self._sockets.values()):
            if fault.socket not in (None, socket.faults.number) or fault.name not in (*SHUT, "half-open"):
                continue
            socket.flush()
            self._remove(socket, fault)
            if fault.name == "abort":
                socket.transport.close()  # no close frame, but what was written before arrives
            elif fault.name == "half-open":
                socket.transport.pause_reading()  # so that not even its end is noticed
                self._cut_off.append(socket)
            else:
                task = asyncio.ensure_future(socket.response.close(code=_GOING_WRONG, message=b"SIMULATED fault"))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    def flush(self) -> None:
        """Write what waits; a client that has fallen too far behind is cut off."""
        for socket in list(self._sockets.values()):
            socket.flush()

    async def drain(self) -> None:
        """Wait until every client has taken most of what was written."""
        for socket in list(self._sockets.values()):
            try:
                await socket.drain()
            except ConnectionError:
                self._remove(socket, None)

    async def close(self) -> None:
        """Cut off every socket."""
        for socket in (*self._sockets.values(), *self._cut_off):
            socket.transport.abort()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _remove(self, socket: _Socket, because: Fault | None) -> None:
        if self._sockets.get(socket.faults.number) is socket:
            del self._sockets[socket.faults.number]
            self._distribution.leave(socket.faults, because)

    def _refused(self, request: web.Request) -> web.Response | None:
        names = ("Authorization", "x-api-key", "x-client-code", "x-feed-token")
        authorization, api_key, client_code, feed = (request.headers.get(name, "") for name in names)
        if not self._sessions.may_stream(authorization, api_key, client_code, feed, now_ms=self._now_ms()):
            return web.Response(status=401, headers={"x-error-message": "Invalid Token"})
        limited = any(fault.answer == "429" for fault in self._faults.named("rate-limit"))
        if limited or len(self._sockets) >= MOST_SOCKETS:
            return web.Response(status=429, headers={"x-error-message": "Connection Limit Exceeded"})
        number = next(n for n in range(1, MOST_SOCKETS + 1) if n not in self._sockets)
        if any(fault.socket in (None, number) for fault in self._faults.named(*SHUT)):
            return web.Response(status=503)
        return None

    async def _hear(self, socket: _Socket, text: str) -> None:
        """Answer a text message: a heartbeat, or a request, whose success nothing is said about."""
        if text == "ping":
            await socket.response.send_str("pong")
            return
        if (error := await self._request(socket, text)) is not None:
            code, words = error
            answer = {"correlationID": _correlation(text), "errorCode": code, "errorMessage": words}
            await socket.response.send_json(answer)

    async def _request(self, socket: _Socket, text: str) -> tuple[str, str] | None:
        try:
            request = msgspec.json.decode(text, type=_Request)
        except msgspec.DecodeError:
            return INVALID_PAYLOAD
        if self._sockets.get(socket.faults.number) is not socket:  # a fault has taken it
            return None
        if not request.action:
            self._distribution.unsubscribe(socket.faults, request.params.keys())
            return None
        new = self._distribution.new(socket.faults, request.params.keys())
        if new is None:
            return TOO_MANY
        await self._subscribe(socket, new)
        return None

    async def _subscribe(self, socket: _Socket, new: list[Key]) -> None:
        """Subscribe to one after the other: late in a day each state takes some milliseconds to be found."""
        for key in new:
            if self._distribution.prepare(key):
                await asyncio.sleep(0)  # others have their turn
            if self._sockets.get(socket.faults.number) is not socket:
                return
            self._distribution.subscribe(socket.faults, [key])
        socket.flush()


def _correlation(text: str) -> object:
    try:
        return msgspec.json.decode(text, type=_Correlated).correlation
    except msgspec.DecodeError:
        return ""
