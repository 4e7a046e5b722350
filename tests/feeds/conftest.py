"""A copy of the small instrument master."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.masters import LISTED, keep
from topology.angel.master.listings import Listings


@pytest.fixture(scope="session")
def listings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listings]:
    """The small master, opened."""
    with Listings(keep(tmp_path_factory.mktemp("master") / "instruments.db", LISTED)) as opened:
        yield opened
