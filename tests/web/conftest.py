"""Two days in a Redis database and an archive."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateway_fixture import Client, Stores, asked, stored, two_days, write
from topology.embedded import Valkey

RECENT = 720  # frames of 10 s


@pytest.fixture
async def stores(valkey: Valkey, tmp_path: Path) -> AsyncIterator[Stores]:
    """Empty ones."""
    found = Stores(tmp_path / "candles.db", valkey.port)
    await found.client.flushall()
    yield found
    await found.client.aclose()


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of both days, to be copied."""
    path = tmp_path_factory.mktemp("archive") / "candles.db"
    write(path, stored(two_days()[1]))
    return path


@pytest.fixture
async def filled(stores: Stores, archive: Path) -> Stores:
    """Both days in the archive, the last two hours in the streams."""
    frames, made = two_days()
    shutil.copy(archive, stores.path)
    await stores.mirrored(stored(made[-RECENT:]))
    await stores.ticked(frames[-RECENT:], len(frames) - RECENT)
    return stores


@pytest.fixture
async def client(filled: Stores) -> AsyncIterator[Client]:
    async with asked(filled) as client:
        yield client
