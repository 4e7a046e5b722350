"""A cluster that works on the recording of 200 instruments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, batches_of
from tests.support.days import Recorded
from topology.feeds import TickBatch
from topology.settings import Settings


@pytest.fixture(scope="session")
def settings(two_hundred: Recorded) -> Settings:
    """What the 200 instruments are to be turned into."""
    return Settings.from_env(two_hundred.variables)


@pytest.fixture
def batches(two_hundred: Recorded, settings: Settings) -> list[TickBatch]:
    """The recording in the batches that a feed writes."""
    return batches_of(two_hundred.path, settings)


@pytest.fixture
def new_cluster(two_hundred: Recorded, settings: Settings, tmp_path: Path) -> Callable[..., Cluster]:
    """Make a cluster with this many workers and these variables, in a folder of its own."""

    def new(*, workers: int, **variables: str) -> Cluster:
        return Cluster(settings, tmp_path, workers=workers, **two_hundred.variables, **variables)

    return new
