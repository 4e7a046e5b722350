"""However many workers share the partitions, the same rows come out, each caused by the same frame."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.conftest import Run
from tests.support.archived_rows import Archived, differences, read_archive
from tests.support.days import Recorded
from topology.log.partition import partition_of


@pytest.fixture(scope="module")
def alone(run: Run, two_hundred: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Archived:
    """What one worker makes of the 200 instruments."""
    return archive_of(run, two_hundred, tmp_path_factory.mktemp("alone"), workers=1)


def archive_of(run: Run, recorded: Recorded, folder: Path, *, workers: int) -> Archived:
    path = folder / "candles.db"
    done = run(recorded.path, "--json", "--archive", path, "--workers", str(workers), **recorded.variables)
    assert done.code == 0, done.err
    assert done.json["restarts"] == 0
    assert done.json["accepted"] == len(recorded.wanted.accepted)
    assert done.json["late"] == len(recorded.wanted.late) > 0
    assert done.json["out_of_session"] == len(recorded.wanted.out_of_session) > 0
    return read_archive(path)


def test_one_worker_makes_what_is_calculated_by_hand(alone: Archived, two_hundred: Recorded) -> None:
    assert differences(alone, two_hundred.wanted) == []


def test_every_row_names_the_partition_of_its_instrument(alone: Archived) -> None:
    assert {partition for partition, _ in alone.causes.values()} == {0, 1, 2, 3}
    assert [key for key, (partition, _) in alone.causes.items() if partition != partition_of(key[0], 4)] == []


@pytest.mark.parametrize("workers", [2, 4])
def test_more_workers_make_the_same_rows(
    run: Run, two_hundred: Recorded, alone: Archived, tmp_path: Path, workers: int
) -> None:
    together = archive_of(run, two_hundred, tmp_path, workers=workers)
    assert together == alone
