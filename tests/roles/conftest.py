"""A place for the role `feed`, for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.feed_cluster import Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Place.started(tmp_path_factory.mktemp("feed")) as place:
        yield place
