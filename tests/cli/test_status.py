from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import CommandLine, WrittenLog
from topology.cli.status import Status, shown
from topology.embedded import Valkey
from topology.embedded.loopback import LOOPBACK
from topology.log.frames import CANDLES, INDICATORS, TIMEFRAMES, FeedEvent
from topology.log.lag import FramePosition, TickRange, TopicLag, compare
from topology.settings import Address, Settings

OPEN_MS = 1_669_088_700_000  # 2022-11-22 09:15 IST
POSITIONS = st.integers(0, 10**9)


@given(st.dictionaries(st.integers(0, 7), st.tuples(POSITIONS, POSITIONS), min_size=1))
def test_who_has_reached_the_newest_frames_is_behind_by_nothing(found: dict[int, tuple[int, int]]) -> None:
    ends = {p: FramePosition(position, clock_ms) for p, (position, clock_ms) in found.items()}
    line = compare("pipeline", CANDLES, ticks={p: TickRange(0, end) for p, end in ends.items()}, reached=ends)
    assert (line.behind_frames, line.behind_s) == (0, 0.0)


@given(POSITIONS, st.integers(0, 10**6))
def test_who_has_gone_on_while_we_looked_is_behind_by_nothing(position: int, frames: int) -> None:
    ticks = {0: TickRange(0, FramePosition(position, OPEN_MS))}
    line = compare("pipeline", CANDLES, ticks=ticks, reached={0: FramePosition(position + frames, OPEN_MS + frames)})
    assert (line.behind_frames, line.behind_s) == (0, 0.0)


@given(POSITIONS, st.integers(1, 10**6), st.integers(0, 10**6))
def test_frames_behind_add_up_and_seconds_are_those_of_the_last(position: int, frames: int, late_ms: int) -> None:
    ticks = {p: TickRange(0, FramePosition(position + frames, OPEN_MS)) for p in range(3)}
    reached = {p: FramePosition(position, OPEN_MS - p * late_ms) for p in range(3)}
    line = compare("pipeline", CANDLES, ticks=ticks, reached=reached)
    assert line.behind_frames == 3 * frames
    assert line.behind_s == 2 * late_ms / 1000


def test_who_has_reached_nothing_is_behind_by_all_frames_that_are_kept() -> None:
    line = compare(
        "archive", CANDLES, ticks={0: TickRange(100, FramePosition(149, OPEN_MS)), 1: TickRange(0, None)}, reached={}
    )
    assert (line.behind_frames, line.behind_s) == (50, None)


def test_simulated_data_is_called_so_first() -> None:
    status = Status(True, "sim", "b:1", "abc", 1, None, [TopicLag("mirror", problem="Redis is away")])
    lines = shown(status)
    assert "SIMULATED" in lines[0]
    assert lines[-1] == "mirror: Redis is away"
    assert "SIMULATED" not in "".join(shown(msgspec.structs.replace(status, simulated=False, namespace="live")))


def test_what_happened_to_the_feed_last_is_told_in_a_line_each() -> None:
    events = [
        FeedEvent(1, "abc", OPEN_MS, "gap", 0, "truncated", OPEN_MS - 2500, OPEN_MS, 7),
        FeedEvent(1, "abc", OPEN_MS, "login_failed", None, "Invalid totp (AB1050)"),
    ]
    lines = shown(Status(True, "sim", "b:1", "abc", 1, None, [], events))
    assert lines[-2:] == [
        "feed Tue 2022-11-22 09:15:00 IST gap socket 0 2.5 s: truncated",
        "feed Tue 2022-11-22 09:15:00 IST login_failed: Invalid totp (AB1050)",
    ]


def test_a_role_that_cannot_be_asked_says_so_in_its_line_and_the_others_are_shown(
    topology: CommandLine, settings: Settings, written: WrittenLog
) -> None:
    written.write(0, written.frame(OPEN_MS, commands=written.log.commands), written.frame(OPEN_MS + 1000))
    done = topology(settings, "status")
    assert done.code == 0
    mirror, archive = done.lines[-2:]
    assert mirror.startswith("mirror: Redis is away")
    assert archive.startswith("archive: no file")
    assert [line.split() for line in done.lines if line.startswith(("feed", "pipeline"))] == [
        ["feed", "ticks", "0", "0.0", "1", "-"],
        ["pipeline", "candles_1s", "0", "0.0", "1", "-"],
        ["pipeline", "candles_tf", "0", "0.0", "1", "-"],
        ["pipeline", "indicators", "0", "0.0", "1", "-"],
    ]


def test_a_file_that_is_no_archive_is_told_in_its_line(
    topology: CommandLine, settings: Settings, written: WrittenLog
) -> None:
    settings.sqlite_path.write_text("something else, and long enough to be looked at")
    done = topology(settings, "status")
    assert done.code == 0
    assert str(settings.sqlite_path) in done.lines[-1]


@pytest.mark.parametrize("derive", [0, 1, 2])
def test_each_stage_is_behind_by_the_frames_it_has_not_made(
    topology: CommandLine, settings: Settings, written: WrittenLog, derive: int
) -> None:
    written.write(0, written.frame(OPEN_MS, commands=written.log.commands))
    written.write(0, *(written.frame(OPEN_MS + n * 500) for n in range(1, 5)), derive=derive)
    status = msgspec.json.decode(topology(settings, "status", "--json").out, type=Status)
    behind = {line.stage: (line.behind_frames, line.behind_s) for line in status.lines if line.role == "pipeline"}
    expected = dict.fromkeys((CANDLES, TIMEFRAMES, INDICATORS)[derive:], (4, 2.0))
    assert behind == {CANDLES: (0, 0.0), TIMEFRAMES: (0, 0.0)} | expected
    assert status.clock_ms == OPEN_MS + 2000


def test_the_sinks_are_behind_by_what_they_have_not_applied(
    topology: CommandLine, settings: Settings, written: WrittenLog, valkey: Valkey
) -> None:
    settings = replace(settings, redis_addr=Address(LOOPBACK, valkey.port))
    written.write(1, written.frame(OPEN_MS, commands=written.log.commands))
    written.archive()
    written.jsonl()
    written.write(1, written.frame(OPEN_MS + 1000))
    written.mirror(valkey)
    written.write(1, written.frame(OPEN_MS + 3000))
    status = msgspec.json.decode(topology(settings, "status", "--json").out, type=Status)
    lines = {(line.role, line.stage): (line.behind_frames, line.behind_s) for line in status.lines}
    for sink in ("archive", "jsonl"):
        assert all(lines[sink, stage] == (2, 3.0) for stage in (CANDLES, TIMEFRAMES, INDICATORS))
    assert all(lines["mirror", stage] == (1, 2.0) for stage in ("ticks", CANDLES, TIMEFRAMES, INDICATORS))
