"""A market and a gateway before it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.ws_market import Listening, Market, Served, served
from topology.embedded import Valkey
from web.live import socket


@pytest.fixture(autouse=True)
def undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients may take their time to subscribe: on a busy machine half a second is soon over."""
    monkeypatch.setattr(socket, "UNDECIDED_S", 600.0)


@pytest.fixture
async def market(valkey: Valkey, tmp_path: Path) -> AsyncIterator[Market]:
    """One that hasn't begun, in an empty Redis."""
    found = Market(valkey.port, tmp_path / "candles.db")
    await found.client.flushall()
    yield found
    await found.close()


@pytest.fixture
async def gateway(market: Market) -> AsyncIterator[Served]:
    """A gateway before the market."""
    async with served(market) as found:
        yield found


@pytest.fixture
async def client(gateway: Served) -> AsyncIterator[Listening]:
    """A client of it."""
    async with gateway.client_of() as found:
        yield found
