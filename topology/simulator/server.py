"""The simulated broker as a server: one port, a clock that is given to it, and time that goes on when it is moved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

import msgspec
from aiohttp import web

from topology.market.calendar import indian_day
from topology.settings import Account
from topology.simulator.distribution import Distribution
from topology.simulator.faults import Fault, FaultError, Faults
from topology.simulator.ledger import Ledger
from topology.simulator.listings import catalogue
from topology.simulator.master import master
from topology.simulator.rest import RestRoutes
from topology.simulator.session import Sessions, account_or_demonstration
from topology.simulator.source import Print, Source
from topology.simulator.stream import MarketStreams

MASTER_PATH = "/OpenAPI_File/files/OpenAPIScripMaster.json"
STREAM_PATH = "/smart-stream"
MARK = "topology simulator (SIMULATED)"

_STEP_S = 0.005  # what is due is sent together, this often
_CHUNK = 2_000  # prints that are sent before anything else gets its turn
_LONGEST_GAP_MS = 60_000  # a clock that stood still for longer has been asleep: what it missed isn't sent


class Simulator:
    """The broker on loopback or ``host``, for as long as the context lasts; ``port`` 0 is any free one.

    ``now_ms`` is its clock. Nothing is sent before :meth:`advance_to` or :meth:`run` says so. ``account`` is who may
    log in; what is empty in it takes the demonstration's value.
    """

    def __init__(
        self,
        *,
        account: Account,
        source: Source,
        now_ms: Callable[[], int],
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 1,
    ) -> None:
        self.account = account_or_demonstration(account)
        self.faults, self.ledger = Faults(seed), Ledger()
        self._source, self._now_ms, self._host, self._port = source, now_ms, host, port
        self._sessions = Sessions(self.account)
        self._distribution = Distribution(source, self.faults, self.ledger)
        self._streams = MarketStreams(
            self._distribution, self._sessions, faults=self.faults, ledger=self.ledger, now_ms=now_ms
        )
        self._rest = RestRoutes(self.account, self._sessions, self._distribution, faults=self.faults, now_ms=now_ms)
        self._prints: Iterator[Print] = iter(())
        self._next: Print | None = None
        self._stepping = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Listen. What was printed up to now counts as played."""
        self.faults.advance(self._source.market_ms(self._now_ms()))
        self._restart()
        app = web.Application()
        app.router.add_routes([*self._rest.routes(), *self._own_routes()])
        app.on_response_prepare.append(_mark)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        self._stack.push_async_callback(self._streams.close)
        await web.TCPSite(runner, self._host, self._port).start()
        self._port = runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut off who is still there, and stop listening."""
        await self._stack.aclose()

    @property
    def api_url(self) -> str:
        """Where REST is: ``ANGEL_API_URL``."""
        return f"http://{self._host}:{self._port}"

    @property
    def feed_url(self) -> str:
        """Where the socket is: ``ANGEL_FEED_URL``."""
        return f"ws://{self._host}:{self._port}{STREAM_PATH}"

    @property
    def master_url(self) -> str:
        """Where the instrument master is: ``ANGEL_MASTER_URL``."""
        return f"{self.api_url}{MASTER_PATH}"

    def fault(self, text: str | Mapping[str, object]) -> Fault:
        """Make a fault, as `faults` writes them; one for now begins at once. Raises FaultError."""
        fault = self.faults.add(text)
        if fault.from_ms == self.faults.now_ms:
            self._begin(fault)
        return fault

    async def advance_to(self, time_ms: int) -> None:
        """Send all that is due up to a time of the clock, as fast as the clients take it. Time never goes back."""
        await self._advance(time_ms, patient=True)

    async def run(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Follow the clock for as long as this is not cancelled. A client that doesn't keep up is cut off."""
        before_ms = self._now_ms()
        while True:
            now_ms = self._now_ms()
            if now_ms - before_ms > _LONGEST_GAP_MS:
                self.faults.advance(self._source.market_ms(now_ms))
                self._restart()
            await self._advance(now_ms, patient=False)
            before_ms = now_ms
            await sleep(_STEP_S)

    def _restart(self) -> None:
        """Go on from the market's time, without what was printed before it."""
        self._prints = self._source.play(self.faults.now_ms)
        self._next = next(self._prints, None)
        self._distribution.forget()

    async def _advance(self, time_ms: int, *, patient: bool) -> None:
        target_ms = self._source.market_ms(time_ms)
        async with self._stepping:
            while target_ms > self.faults.now_ms:
                edge_ms = self.faults.next_edge_ms(target_ms + 1)
                await self._send_until(min(target_ms, edge_ms - 1), patient=patient)
                for fault in self.faults.advance(min(target_ms, edge_ms)):
                    self._begin(fault)
                if edge_ms == target_ms:
                    await self._send_until(target_ms, patient=patient)
            await self._pass_on(patient=patient)

    async def _send_until(self, stop_ms: int, *, patient: bool) -> None:
        distribute, count = self._distribution.distribute, 0
        while (due := self._next) is not None and due.time_ms <= stop_ms:
            distribute(due)
            self._next = following = next(self._prints, None)
            count += 1
            if count >= _CHUNK and following is not None and due.time_ms < following.time_ms:
                # Others get their turn; a subscription that comes in finds the states of this moment.
                count = 0
                self.faults.advance(due.time_ms)
                await self._pass_on(patient=patient)
        self._distribution.release(stop_ms)

    async def _pass_on(self, *, patient: bool) -> None:
        self._streams.flush()
        if patient:
            await self._streams.drain()
        await asyncio.sleep(0)

    def _begin(self, fault: Fault) -> None:
        if fault.name in ("expire-token", "expire-session"):
            self._sessions.expire(self._now_ms(), refresh=fault.name == "expire-session")
        self._streams.begin(fault)

    def _own_routes(self) -> list[web.RouteDef]:
        return [
            web.get(STREAM_PATH, self._streams.open),
            web.get(MASTER_PATH, self._master),
            web.get("/health", self._health),
            web.get("/faults", self._list_faults),
            web.post("/faults", self._make_fault),
            web.delete("/faults", self._clear_faults),
        ]

    async def _master(self, _: web.Request) -> web.Response:
        listed = {listing.instrument: listing for listing in catalogue(indian_day(self.faults.now_ms))}
        listed |= {listing.instrument: listing for listing in self._source.listings}
        return web.Response(body=master(listed.values()), content_type="application/json")

    async def _health(self, _: web.Request) -> web.Response:
        return _json(
            {
                "status": "ok",
                "simulated": True,
                "market_ms": self.faults.now_ms,
                "instruments": len(self._source.listings),
                "printed": self._distribution.printed,
                "sockets": self._streams.described(),
                "faults": [fault.text for fault in self.faults.active],
            }
        )

    async def _list_faults(self, _: web.Request) -> web.Response:
        rows = [msgspec.to_builtins(fault) | {"state": self._state(fault)} for fault in self.faults.all]
        return _json({"now_ms": self.faults.now_ms, "faults": rows, "touched": self.ledger.touched()})

    async def _make_fault(self, request: web.Request) -> web.Response:
        try:
            fields: dict[str, Any] = msgspec.json.decode(await request.read(), type=dict[str, Any])
            return _json(self.fault(fields))
        except msgspec.DecodeError:
            return _json({"error": 'send a JSON object, such as {"name": "silent", "for": "30s"}'}, status=400)
        except FaultError as error:
            return _json({"error": str(error)}, status=400)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self.faults.clear()
        return _json({"cleared": True})

    def _state(self, fault: Fault) -> str:
        if self.faults.now_ms < fault.from_ms:
            return "to come"
        return "active" if self.faults.now_ms < fault.until_ms else "past"


async def _mark(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = MARK


def _json(answer: object, *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json", status=status)
