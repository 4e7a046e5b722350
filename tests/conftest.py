"""What tests of several rooms share: the kinds of tests, one broker, one Valkey, and recorded days."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.days import Recorded, record_two_hundred
from tests.support.masters import LISTED, keep
from topology.angel.master.listings import Listings
from topology.embedded import Kafka, Valkey, free_port

# How long something takes is no failure: machines that run tests have other work too.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

LONGEST = ("crash/", "run/", "roles/", "cli/test_up.py", "feeds/angel/test_life_of_a_day.py", "wire/test_state.py")

SERVERS = re.compile(r"\b(Kafka|Valkey|\w*Cluster|Run|Up)\b")
"""What a fixture is annotated to give where servers or roles run for it."""
OWN_SERVERS = ("embedded/test_kafka.py", "sinks/mirror/test_pubsub.py")
"""Files whose tests start servers themselves, which no fixture tells."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its kind (but the long ones, which are apart), and begin with the files that take longest.

    Where several processes share them, all end at about the same time.
    """
    for item in items:
        if item.get_closest_marker("chaos") is None:
            item.add_marker(kind_of(item))
    items.sort(key=lambda item: not _path(item).startswith(LONGEST))


def kind_of(item: pytest.Item) -> str:
    """Say whether a test needs a browser, processes of any other kind (integration), or none (unit).

    The fixtures tell, those that others use too, by what they are annotated to give; else the module, by whether it
    can start a process at all.
    """
    assert isinstance(item, pytest.Function)
    names = vars(item.module)
    if "browsing" in names:
        return "browser"
    used = [
        definition.func for definitions in item._fixtureinfo.name2fixturedefs.values() for definition in definitions
    ]
    if any(SERVERS.search(str(inspect.get_annotations(function).get("return"))) for function in used):
        return "integration"
    return "integration" if "subprocess" in names or _path(item).startswith(OWN_SERVERS) else "unit"


def _path(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).as_posix()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """See to it that the fixtures of a unit test start no process."""
    with _no_process(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """See to it that a unit test starts no process."""
    with _no_process(item):
        yield


@contextmanager
def _no_process(item: pytest.Item) -> Iterator[None]:
    def refuse(_: object, arguments: object, *__: object, **___: object) -> None:
        pytest.fail(f"a unit test starts no process, see kind_of in tests/conftest.py: {arguments}")

    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("unit"):
            patch.setattr(subprocess.Popen, "__init__", refuse)
        yield


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
