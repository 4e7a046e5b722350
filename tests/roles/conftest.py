"""A cluster for the role `feed`, for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.feed_cluster import FeedCluster


@pytest.fixture(scope="module")
def feed_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeedCluster]:
    with FeedCluster.started(tmp_path_factory.mktemp("feed")) as feed_cluster:
        yield feed_cluster
