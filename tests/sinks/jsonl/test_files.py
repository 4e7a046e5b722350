"""The folder of JSON lines: each row once, in the file of its day, whatever is killed when."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.log.frames import (
    CANDLES,
    INDICATORS,
    TIMEFRAMES,
    CandleFrame,
    Configure,
    IndicatorFrame,
    IndicatorValue,
    TimeframeFrame,
)
from topology.market.candle import BROKER, PARTIAL, Candle
from topology.market.history import History
from topology.sinks.cursor import (
    AnyFrame,
    ForeignFrameError,
    ForeignLogError,
    PositionError,
    SinkCursor,
    StoredFrame,
    Written,
)
from topology.sinks.jsonl.files import LOCK, POSITIONS, JsonlError, JsonlFolder, JsonlRefusedError, read_positions
from topology.sinks.values import CandleJson, IndicatorJson, SecondCandleJson

MIDNIGHT_MS = 1_669_055_400_000  # at the start of 2022-11-22 in India
BEFORE, AFTER = "2022-11-21.jsonl", "2022-11-22.jsonl"
NIFTY = "NSE:99926000"


@pytest.fixture(scope="module", autouse=True)
def _no_disk() -> Iterator[None]:
    """Files outlive a process that is killed without it; only the power's failing needs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


def candle(start_ms: int, *, timeframe_s: int = 1, close: int = 105, marks: int = 0) -> Candle:
    return Candle(NIFTY, timeframe_s, start_ms, 100, 110, 90, close, 5, 3, marks)


def stored(
    position: int, stage: str = CANDLES, *, log: str = "log", run: int = 0, history: Sequence[History] = ()
) -> StoredFrame:
    """The frame at a position, a minute after the one before; the one at 2 is the first of a new day."""
    start_ms = MIDNIGHT_MS + (position - 2) * 60_000
    head = (1, log, run, position, start_ms, list[Configure](), "")
    frame: AnyFrame
    match stage:
        case "candles_1s":
            frame = CandleFrame(*head, [candle(start_ms, marks=PARTIAL * (position % 2))], [candle(start_ms + 1)])
        case "candles_tf":
            frame = TimeframeFrame(*head, [candle(start_ms, timeframe_s=60)], [], history=list(history))
        case _:
            frame = IndicatorFrame(*head, [IndicatorValue(NIFTY, "SMA_9", 60, start_ms, 1.23456)], [])
    return StoredFrame(stage, 0, position + 10, frame)


def opened(path: Path, *, log: str = "log", run: int = 0, patience_s: float = 60.0) -> JsonlFolder:
    return JsonlFolder(path, log=log, run=run, patience_s=patience_s)


def content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.glob("*.jsonl")}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for name in sorted(content(path)) for line in content(path)[name].splitlines()]


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path) / "jsonl"


def test_rows_come_back_in_the_shapes_that_clients_know(tmp_path: Path) -> None:
    history = History(NIFTY, 60, [candle(MIDNIGHT_MS - 86_400_000, timeframe_s=60, marks=BROKER)], 1)
    frames = [stored(2), stored(2, TIMEFRAMES, history=[history]), stored(2, INDICATORS)]
    assert opened(tmp_path).write(frames) == Written(4, 0)
    (corrected,) = content(tmp_path)[BEFORE].splitlines()
    second, timeframe, value = content(tmp_path)[AFTER].splitlines()
    assert msgspec.json.decode(second, type=SecondCandleJson).ts == MIDNIGHT_MS // 1000
    assert msgspec.json.decode(timeframe, type=CandleJson).tf == 60
    assert msgspec.json.decode(value, type=IndicatorJson).value == 1.2346
    found = msgspec.json.decode(corrected, type=CandleJson)
    assert (found.revision, found.source, found.position) == (1, "broker", 2)


def test_files_change_at_midnight_in_india(tmp_path: Path) -> None:
    opened(tmp_path).write([stored(position) for position in range(4)])
    days = {
        name: [json.loads(line)["position"] for line in data.splitlines()] for name, data in content(tmp_path).items()
    }
    assert days == {BEFORE: [0, 1], AFTER: [2, 3]}


def test_positions_are_those_of_the_rows_and_can_be_read_beside(tmp_path: Path) -> None:
    files = opened(tmp_path)
    assert files.positions() == {}
    files.write([stored(0), stored(1), stored(0, INDICATORS)])
    clock_ms = MIDNIGHT_MS - 120_000
    expected = {(CANDLES, 0): SinkCursor(1, 11, clock_ms + 60_000), (INDICATORS, 0): SinkCursor(0, 10, clock_ms)}
    assert files.positions() == read_positions(tmp_path, log="log", run=0) == expected


def test_frames_that_are_missing_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    files = opened(tmp_path)
    files.write([stored(0)])
    before = content(tmp_path)
    with pytest.raises(PositionError, match="frames are missing"):
        files.write([stored(1), stored(3)])
    assert content(tmp_path) == before
    assert files.write([stored(0), stored(1)]) == Written(1, 1)


# The law: whatever is written again, by whom, and where it is killed, the files are those of one go.

BATCHES = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), max_size=8)


@given(batches=BATCHES)
@settings(deadline=None, max_examples=20)
def test_repeats_and_restarts_leave_each_row_once(batches: list[tuple[int, int]]) -> None:
    with folder() as path, folder() as other:
        opened(other).write([stored(position) for position in range(6)])
        two = [opened(path), opened(path)]
        for number, (start, frames) in enumerate([*batches, (0, 6)]):
            reached = two[0].positions().get((CANDLES, 0))
            first = min(start, 0 if reached is None else reached.position + 1)
            two[number % 2].write(
                [stored(position) for position in range(first, min(first + frames, 6))] or [stored(0)]
            )
        two[0].write([stored(position) for position in range(6)])
        assert content(path) == content(other)


def kept(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def days_in(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name.endswith(".jsonl")}


def restore(path: Path, files: dict[str, bytes]) -> None:
    for file in path.iterdir():
        file.unlink()
    for name, data in files.items():
        (path / name).write_bytes(data)


@pytest.mark.parametrize("before", range(3))
def test_a_kill_at_any_byte_of_a_write_neither_loses_nor_doubles_a_row(tmp_path: Path, before: int) -> None:
    path, frames = tmp_path / "jsonl", [stored(position) for position in (1, 2, 3)]
    files = opened(path)
    files.write(frames[:before])
    old = kept(path)
    files.write(frames[before:])
    new = kept(path)
    grown = sorted(name for name in new if name.endswith(".jsonl") and new[name] != old.get(name))
    for number, name in enumerate(grown):
        whole = {done: new[done] for done in grown[:number]}
        for length in range(len(old.get(name, b"")), len(new[name]) + 1):
            restore(path, old | whole | {name: new[name][:length]})
            if length % 16 == 0:
                (path / f"{POSITIONS}.new").write_bytes(new[POSITIONS][: length % 100])
            again = opened(path)
            assert content(path) == days_in(old)
            again.write(frames)
            assert content(path) == days_in(new)


def test_a_kill_while_the_file_of_a_day_is_begun_again_neither_loses_nor_doubles_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, later = tmp_path / "jsonl", [stored(position) for position in (3, 4)]
    opened(path).write([stored(2)])
    (path / AFTER).unlink()  # moved away
    away = kept(path)
    opened(path).write(later)
    new = kept(path)
    for length in range(len(new[AFTER]) + 1):

        def torn(name: str, _: int, added: Sequence[bytes], length: int = length) -> int:
            (path / name).write_bytes(b"".join(added)[:length])
            raise OSError(28, "No space left on device")

        restore(path, away)
        files = opened(path)
        monkeypatch.setattr(files, "_append", torn)
        with pytest.raises(JsonlError):
            files.write(later)
        opened(path).write(later)
        assert content(path) == days_in(new)


def test_what_a_failed_write_has_left_is_overwritten_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = opened(tmp_path)
    files.write([stored(2)])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_commit", full)
        with pytest.raises(JsonlError, match="No space left on device"):
            files.write([stored(3), stored(4)])
    assert files.positions()[CANDLES, 0].position == 2
    files.write([stored(3), stored(4)])
    assert [row["position"] for row in rows(tmp_path)] == [2, 3, 4]


# What isn't ours


def test_the_folder_of_another_log_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).write([stored(0)])
    for ask in (lambda: opened(tmp_path, log="other"), lambda: read_positions(tmp_path, log="other", run=0)):
        with pytest.raises(ForeignLogError, match="set another JSONL_PATH or move it away: it holds log log"):
            ask()
    with pytest.raises(ForeignFrameError, match="belongs to log other"):
        opened(tmp_path).write([stored(1, log="other")])


def test_a_later_run_of_the_log_replaces_the_files_of_an_earlier_one(tmp_path: Path) -> None:
    opened(tmp_path).write([stored(0), stored(3 - 2)])
    later = opened(tmp_path, run=1)
    assert content(tmp_path) == {}
    later.write([stored(0, run=1)])
    assert [row["position"] for row in rows(tmp_path)] == [0]
    with pytest.raises(ForeignLogError, match="this is run 0"):
        opened(tmp_path)


def test_files_that_somebody_else_wrote_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / AFTER).write_text("mine")
    with pytest.raises(JsonlRefusedError, match="without positions"):
        opened(tmp_path)
    (tmp_path / AFTER).rename(tmp_path / "notes.jsonl")
    opened(tmp_path).write([stored(2)])
    opened(tmp_path)
    assert (tmp_path / "notes.jsonl").read_text() == "mine"


def test_lines_that_were_committed_and_are_gone_are_told_but_a_file_may_be_moved_away_and_back(tmp_path: Path) -> None:
    files = opened(tmp_path)
    files.write([stored(position) for position in range(3)])
    (tmp_path / BEFORE).rename(tmp_path / "away")
    opened(tmp_path).write([stored(3)])
    (tmp_path / "away").rename(tmp_path / BEFORE)
    opened(tmp_path)
    assert [row["position"] for row in rows(tmp_path)] == [0, 1, 2, 3]
    whole = (tmp_path / BEFORE).read_bytes()
    (tmp_path / BEFORE).write_bytes(whole[:-1])
    with pytest.raises(JsonlRefusedError, match=f"has {len(whole) - 1} bytes of the {len(whole)}"):
        opened(tmp_path)


@pytest.mark.parametrize("torn", [b"{", b'{"log": "\xff"}'])
def test_positions_that_cannot_be_read_are_refused(tmp_path: Path, torn: bytes) -> None:
    opened(tmp_path)
    (tmp_path / POSITIONS).write_bytes(torn)
    with pytest.raises(JsonlRefusedError, match="can't be read"):
        opened(tmp_path)


def test_a_folder_that_another_process_writes_is_waited_for_and_then_told(tmp_path: Path) -> None:
    files = opened(tmp_path, patience_s=0.05)
    with (tmp_path / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(JsonlError, match="stays locked"):
            files.write([stored(0)])
    files.write([stored(0)])


def test_a_path_that_is_no_folder_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JsonlError, match="set another JSONL_PATH"):
        opened(tmp_path / "file")
