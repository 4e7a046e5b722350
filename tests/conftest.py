"""What tests of several rooms share: one broker, one Valkey, and recorded days."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.days import Recorded, record_two_hundred
from tests.support.masters import LISTED, keep
from topology.angel.master.listings import Listings
from topology.embedded import Kafka, Valkey, free_port

LONGEST = ("crash/", "run/", "roles/", "cli/test_up.py", "feeds/angel/test_life_of_a_day.py", "wire/test_state.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: where several processes share them, all end at about the same time."""
    here = Path(__file__).parent
    items.sort(key=lambda item: not item.path.relative_to(here).as_posix().startswith(LONGEST))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker for all tests: `port`, `bootstrap`, `url`. Give topics and groups names of your own."""
    broker = Kafka(tmp_path_factory.mktemp("kafka"), free_port())
    broker.start(print)
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey for all tests: `port`. Empty it with FLUSHALL before you rely on what it holds."""
    server = Valkey(tmp_path_factory.mktemp("valkey"), free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of recorded NIFTY 50 days (``nifty50`` in ``MARKET_DATA_DIR``); without it, tests are skipped."""
    default = Path(__file__).parents[2] / "shared/data"
    folder = Path(os.environ.get("MARKET_DATA_DIR") or default) / "nifty50"
    if not folder.is_dir():
        missing = f"no recorded days: {folder} is not there; MARKET_DATA_DIR names the folder that holds nifty50"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return folder


@pytest.fixture(scope="session")
def two_hundred(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """200 instruments on all partitions, made out of the real days, or of generated ones where those are absent."""
    return record_two_hundred(tmp_path_factory.mktemp("days"))


@pytest.fixture(scope="session")
def listings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listings]:
    """The small instrument master, opened."""
    with Listings(keep(tmp_path_factory.mktemp("master") / "instruments.db", LISTED)) as opened:
        yield opened
