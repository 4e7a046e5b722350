"""What an archive tells of the past while it is written."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from topology.log.frames import CANDLES, TIMEFRAMES, VERSION, CandleFrame, TimeframeFrame
from topology.market.candle import PARTIAL, Candle
from topology.sinks.archive.archive import Archive, ArchiveError
from topology.sinks.archive.history import ArchiveHistory
from topology.sinks.cursor import ForeignLogError, StoredFrame

START_MS = 1_669_088_700_000


def candle(number: int, timeframe_s: int = 60, instrument: str = "NSE:1594") -> Candle:
    start_ms = START_MS + number * timeframe_s * 1000
    return Candle(instrument, timeframe_s, start_ms, 100 + number, 120, 90, 110, 5, 3, PARTIAL * (number % 2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An archive with five minutes and seconds of two instruments in partition 1."""
    path = tmp_path / "candles.db"
    with closing(Archive(path, log="log", run=0)) as archive:
        for stage, kind, timeframe_s in ((CANDLES, CandleFrame, 1), (TIMEFRAMES, TimeframeFrame, 60)):
            rows = [candle(n, timeframe_s, name) for name in ("NSE:1594", "BSE:1594") for n in range(5)]
            frame = kind(VERSION, "log", 0, 0, START_MS + timeframe_s * 5000, [], "", rows, [])
            archive.write([StoredFrame(stage, 1, 0, frame)])
    return path


@pytest.mark.parametrize("timeframe_s", [1, 60])
def test_the_newest_candles_come_oldest_first(path: Path, timeframe_s: int) -> None:
    with ArchiveHistory(path, "log") as past:
        assert past.candles("NSE:1594", timeframe_s, 3) == [candle(n, timeframe_s) for n in (2, 3, 4)]
        assert past.candles("NSE:1594", timeframe_s, 9) == [candle(n, timeframe_s) for n in range(5)]
        assert past.candles("NSE:1", timeframe_s, 9) == past.candles("NSE:1594", 120, 9) == []


def test_each_stage_and_partition_has_its_clock(path: Path) -> None:
    with ArchiveHistory(path, "log") as past:
        assert [past.clock_ms(1, 1), past.clock_ms(60, 1), past.clock_ms(300, 1), past.clock_ms(60, 0)] == [
            START_MS + 5000, START_MS + 300_000, START_MS + 300_000, 0
        ]  # fmt: skip


def test_where_there_is_no_file_there_is_nothing_and_none_is_made(tmp_path: Path) -> None:
    with ArchiveHistory(tmp_path / "none.db", "log") as past:
        assert (past.clock_ms(60, 0), past.candles("NSE:1594", 60, 9)) == (0, [])
    assert not (tmp_path / "none.db").exists()


def test_the_archive_of_another_log_is_refused(path: Path) -> None:
    with pytest.raises(ForeignLogError), ArchiveHistory(path, "another"):
        pass


def test_a_file_that_breaks_while_it_is_read_is_named(path: Path) -> None:
    with ArchiveHistory(path, "log") as past:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TABLE candles_tf")
        with pytest.raises(ArchiveError, match=r"candles\.db can't be used"):
            past.candles("NSE:1594", 60, 9)
