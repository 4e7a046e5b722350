from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CommandLine, WrittenLog
from topology.cli.prune import PruneLimit, limit
from topology.embedded.valkey import Valkey
from topology.kafka import broker_log
from topology.log.candle_stage import CandleStage
from topology.log.frames import (
    CANDLE_FRAME,
    CANDLES,
    INDICATOR_FRAME,
    INDICATORS,
    TICKS,
    TIMEFRAME_FRAME,
    TIMEFRAMES,
    Backfill,
    Decoder,
    TickFrame,
    tick_frame,
)
from topology.log.indicator_stage import IndicatorStage
from topology.log.timeframe_stage import TimeframeStage
from topology.market.history import History
from topology.market.ticks import Tick
from topology.settings import Address, Settings

OPEN_MS = 1_669_088_700_000  # 2022-11-22 09:15 IST
DAY_MS = 86_400_000
NIFTY = "NSE:99926000"
DAYS = 10
FEED_STARTS = (0, 3, 4, 7)  # the days on which the feed started, and wrote the configuration
FORMATS: dict[str, Decoder[Any]] = {CANDLES: CANDLE_FRAME, TIMEFRAMES: TIMEFRAME_FRAME, INDICATORS: INDICATOR_FRAME}


@pytest.fixture
def settings(settings: Settings, valkey: Valkey) -> Settings:
    return replace(settings, redis_addr=Address("127.0.0.1", valkey.port))


@pytest.fixture
def ten_days(written: WrittenLog, valkey: Valkey) -> WrittenLog:
    """Ten days with three frames each on partition 0, a clock at the end on partition 1; applied by every role."""
    write_days(written)
    written.write(1, written.frame(OPEN_MS + DAYS * DAY_MS, commands=written.log.commands))
    written.save()
    written.archive()
    written.mirror(valkey)
    return written


def write_days(written: WrittenLog) -> None:
    for day in range(DAYS):
        start_ms = OPEN_MS + day * DAY_MS
        ticks = [Tick(NIFTY, 100_00 + day, start_ms)]
        commands = written.log.commands if day in FEED_STARTS else []
        written.write(
            0,
            written.frame(start_ms, ticks, commands),
            written.frame(start_ms + 500),
            written.frame(start_ms + 120_000),
        )


def kept_frames(written: WrittenLog) -> list[tuple[int, TickFrame]]:
    records = [(record.offset, tick_frame(record.value)) for record in written.records(TICKS, 0)]
    frames = [(offset, frame) for offset, frame in records if isinstance(frame, TickFrame)]
    assert len(frames) == len(records)
    return frames


def first_position(written: WrittenLog, stage: str) -> int:
    return int(FORMATS[stage].decode(written.records(stage, 0)[0].value).position)


@pytest.mark.parametrize("days", [1, 2, 3, 5, 6, 8])
def test_after_pruning_empty_stages_can_start_at_the_first_frame_of_every_topic(
    topology: CommandLine, settings: Settings, ten_days: WrittenLog, days: int
) -> None:
    assert topology(settings, "prune", "--days", str(days)).code == 0
    frames = kept_frames(ten_days)
    log = ten_days.log.header.log
    stage = CandleStage(log, 0)
    outputs = [stage.apply(position, frame, live=False) for position, frame in frames]
    assert [output.unusable for output in outputs] == [""] * len(frames)
    for reads, kind in ((CANDLES, TimeframeStage), (TIMEFRAMES, IndicatorStage)):
        first = FORMATS[reads].decode(ten_days.records(reads, 0)[0].value)
        assert first.position == frames[0][0]
        assert kind(log, 0).apply(first.position, first, live=False).commands == ten_days.log.commands
    assert first_position(ten_days, INDICATORS) == frames[0][0]


@pytest.mark.parametrize("days", [1, 2, 3, 5, 6, 8])
def test_the_days_to_keep_are_kept_and_what_is_older_goes_up_to_a_start_of_the_feed(
    topology: CommandLine, settings: Settings, ten_days: WrittenLog, days: int
) -> None:
    topology(settings, "prune", "--days", str(days))
    # The clock on the other partition is the newest; a day is old when it began more than `days` before that.
    old_starts = [day for day in FEED_STARTS if day <= DAYS - days]
    assert kept_frames(ten_days)[0][0] == 3 * old_starts[-1]
    assert len(ten_days.records(TICKS, 1)) == 1
    assert len(ten_days.records("commands", 0)) == 2


def test_what_was_removed_is_told_by_topic_and_then_there_is_nothing_left_to_do(
    topology: CommandLine, settings: Settings, ten_days: WrittenLog
) -> None:
    done = topology(settings, "prune", "--days", "3")
    assert done.lines == [f"{settings.namespace}.{stage}: 21 records removed" for stage in (TICKS, *FORMATS)]
    again = topology(settings, "prune", "--days", "3")
    assert again.code == 0
    assert [line.partition(":")[0] for line in again.lines] == ["nothing to remove"]


def test_without_days_the_setting_decides(topology: CommandLine, settings: Settings, ten_days: WrittenLog) -> None:
    assert "nothing to remove" in topology(settings, "prune").out
    assert "records removed" in topology(replace(settings, log_keep_days=3), "prune").out


def test_dead_letters_go_with_the_frames_they_are_about(
    topology: CommandLine, settings: Settings, ten_days: WrittenLog
) -> None:
    letters = ten_days.dead_letters(0, [2, 20, 21, 29])
    topology(settings, "prune", "--days", "3")
    assert [record.offset for record in ten_days.records("dead_letters", 0)] == letters[2:]


def test_a_role_that_has_not_read_as_far_holds_the_cut_back(
    topology: CommandLine, settings: Settings, written: WrittenLog, valkey: Valkey
) -> None:
    write_days(written)
    written.archive()
    written.mirror(valkey)
    done = topology(settings, "prune", "--days", "1")
    assert done.lines[0] == "partition 0: pipeline (candles_1s) has applied nothing yet"
    assert kept_frames(written)[0][0] == 0
    written.save()
    assert f"{settings.namespace}.ticks: 21 records removed" in topology(settings, "prune", "--days", "1").lines


def test_a_sink_that_has_come_less_far_decides(
    topology: CommandLine, settings: Settings, written: WrittenLog, valkey: Valkey
) -> None:
    write_days(written)
    written.save()
    written.mirror(valkey)
    written.stored = [stored for stored in written.stored if stored.position < 14]
    written.archive()
    done = topology(settings, "prune", "--days", "1")
    assert done.lines[0] == "partition 0: archive (candles_1s) has applied up to position 13 only"
    assert kept_frames(written)[0][0] == 12


def test_a_sink_has_a_say_from_when_its_role_has_run(
    topology: CommandLine, settings: Settings, ten_days: WrittenLog
) -> None:
    stored, ten_days.stored = ten_days.stored, []
    ten_days.jsonl()
    done = topology(settings, "prune", "--days", "1")
    assert done.lines[0] == "partition 0: jsonl (candles_1s) has applied nothing yet"
    ten_days.stored = stored
    ten_days.jsonl()
    assert f"{settings.namespace}.ticks: 21 records removed" in topology(settings, "prune", "--days", "1").lines


@pytest.mark.parametrize("lacking", ["archive", "mirror"])
def test_nothing_is_removed_where_a_sink_cannot_be_asked(
    topology: CommandLine, settings: Settings, ten_days: WrittenLog, lacking: str, tmp_path: Path
) -> None:
    away: dict[str, dict[str, Any]] = {
        "archive": {"sqlite_path": tmp_path / "other.db"},
        "mirror": {"redis_addr": Address("127.0.0.1", 1)},
    }
    done = topology(replace(settings, **away[lacking]), "prune", "--days", "1")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert kept_frames(ten_days)[0][0] == 0


def test_a_log_without_frames_has_nothing_to_remove(
    topology: CommandLine, settings: Settings, written: WrittenLog, valkey: Valkey
) -> None:
    written.archive()
    written.mirror(valkey)
    assert "nothing to remove" in topology(settings, "prune", "--days", "1").out


def test_the_limit_of_a_partition_is_who_has_come_least_far_there() -> None:
    applied = {"mirror": {(TICKS, 0): 9, (TICKS, 1): 2}, "archive": {(CANDLES, 0): 7, (CANDLES, 1): 3}}
    assert limit(applied, 0) == PruneLimit(7, "archive (candles_1s)")
    assert limit(applied, 1) == PruneLimit(2, "mirror (ticks)")


def test_history_in_commands_is_no_hindrance(topology: CommandLine, settings: Settings, ten_days: WrittenLog) -> None:
    fill = Backfill(0, [History(NIFTY, 300, [], 0)])
    asyncio.run(broker_log.append(settings.bootstrap, settings.namespace, fill))
    assert "21 records removed" in topology(settings, "prune", "--days", "3").out
    assert len(ten_days.records("commands", 0)) == 3
