"""A simulator with a client that is logged in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import pytest

from tests.support.simulator_client import NOBODY, NSE, OPEN_MS, Client, Clock
from topology.market.calendar import indian_day
from topology.simulator import Simulator, Walk, catalogue
from topology.simulator.source import Source

Open = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def running() -> Open:
    """Opens a simulator with a client: ``async with running(source) as client``."""

    @asynccontextmanager
    async def opened(
        source: Source | None = None, *, now_ms: int = OPEN_MS, seed: int = 1, login: bool = True
    ) -> AsyncIterator[Client]:
        clock = Clock(now_ms)
        walk = source or Walk(catalogue(indian_day(now_ms))[:7], seed=7, rate=14, calendar=NSE)
        async with (
            Simulator(account=NOBODY, source=walk, now_ms=clock, seed=seed) as simulator,
            aiohttp.ClientSession() as http,
        ):
            client = Client(simulator, clock, http)
            if login:
                assert (await client.login())["status"]
            yield client

    return opened
