"""A folder of JSON lines, each once, whatever is killed when.

Rows are appended and made durable first. Then one file is replaced that holds the positions and how many bytes of each
day's file belong to them: that is the commit. What lies behind those bytes is the torn end of a write that was never
committed; it is cut off, and its frames are read again.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from topology.sinks.cursor import (
    NO_CURSOR,
    SinkCursor,
    SinkError,
    SinkRefusedError,
    Source,
    StoredFrame,
    Written,
    by_source,
    is_mine,
    source_of,
    source_text,
    unapplied,
)
from topology.sinks.jsonl.lines import lines

POSITIONS, LOCK = ".positions.json", ".lock"
_DAY_FILE = re.compile(r"\d{4}-\d{2}-\d{2}\.jsonl")


class JsonlError(SinkError):
    """The folder can't be written or read now."""


class JsonlRefusedError(SinkRefusedError):
    """The folder doesn't hold what was committed."""


class Commit(msgspec.Struct, frozen=True):
    """What the positions file holds: cursors by ``stage:partition``, and the bytes of each day's file that count."""

    log: str
    run: int
    cursors: dict[str, SinkCursor] = {}
    lengths: dict[str, int] = {}


class JsonlFolder:
    """The folder at ``path``, for one run of one log; made when it isn't there.

    Calls block, while another process writes for up to ``patience_s``: make them from threads. A call that fails leaves
    the folder as it was.

    Raises ForeignLogError when it holds another log, JsonlRefusedError when committed lines are missing, JsonlError.
    """

    def __init__(self, path: Path, *, log: str, run: int, patience_s: float = 60.0) -> None:
        self._path, self._log, self._run, self._patience_s = path, log, run, patience_s
        with _explained(path):
            path.mkdir(parents=True, exist_ok=True)
        with self._turn():
            if not (path / POSITIONS).exists():
                if files := _day_files(path):
                    raise JsonlRefusedError(
                        f"{path} holds {files[0].name} without positions: set another JSONL_PATH or move it away"
                    )
                self._commit(Commit(log, run))
            self._cut(self._read())

    def positions(self) -> dict[Source, SinkCursor]:
        """How far each source has been applied in this run."""
        return read_positions(self._path, log=self._log, run=self._run)

    def write(self, frames: Sequence[StoredFrame]) -> Written:
        """Append the lines of frames and move the positions, both or neither; return when both are on the disk.

        Frames of one source must be in the order of their offsets. Raises PositionError and ForeignFrameError as
        ``unapplied`` does, JsonlError.
        """
        with self._turn():
            before = self._read()
            cursors, days, duplicates, rows = dict(before.cursors), dict[str, list[bytes]](), 0, 0
            for source, group in by_source(frames):
                batch = unapplied(cursors.get(source_text(source), NO_CURSOR), group, log=self._log, run=self._run)
                for stored in batch.frames:
                    for name, line in lines(stored):
                        days.setdefault(name, []).append(line)
                        rows += 1
                cursors[source_text(source)] = batch.applied
                duplicates += batch.duplicates
            before = self._without_moved(before, days)
            grown = {name: self._append(name, before.lengths.get(name, 0), added) for name, added in days.items()}
            if grown.keys() - before.lengths.keys():
                _make_durable(self._path)  # the names of the new files
            self._commit(Commit(self._log, self._run, cursors, before.lengths | grown))
        return Written(rows, duplicates)

    def _read(self) -> Commit:
        return _read(self._path, log=self._log, run=self._run)

    def _without_moved(self, commit: Commit, names: Iterable[str]) -> Commit:
        """Commit that nothing counts yet of files that were moved away, before new ones are begun under their names."""
        moved = {name for name in names if commit.lengths.get(name) and _is_empty(self._path / name)}
        if moved:
            lengths = {name: length for name, length in commit.lengths.items() if name not in moved}
            commit = msgspec.structs.replace(commit, lengths=lengths)
            self._commit(commit)
        return commit

    def _append(self, name: str, length: int, added: Sequence[bytes]) -> int:
        """Append to a day's file behind what counts of it. Return how long it is then."""
        with (self._path / name).open("ab") as file:
            _need(self._path / name, file.tell(), length)
            file.truncate(length)  # what a write that failed has left
            file.writelines(added)
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    def _commit(self, commit: Commit) -> None:
        written = self._path / f"{POSITIONS}.new"
        with written.open("wb") as file:
            file.write(msgspec.json.encode(commit))
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._path / POSITIONS)
        _make_durable(self._path)

    def _cut(self, commit: Commit) -> None:
        """Cut off what was never committed."""
        for file in _day_files(self._path):
            length, size = commit.lengths.get(file.name, 0), file.stat().st_size
            _need(file, size, length)
            if length == 0:
                file.unlink()
            elif size > length:
                os.truncate(file, length)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One process writes at a time: a worker that wakes up beside its successor finds the positions moved."""
        with _explained(self._path), (self._path / LOCK).open("ab") as lock:
            deadline_s = time.monotonic() + self._patience_s
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline_s:
                        raise JsonlError(f"{self._path} stays locked by another process: end that") from None
                    time.sleep(0.02)
            yield


def read_positions(path: Path, *, log: str, run: int) -> dict[Source, SinkCursor]:
    """How far the folder at ``path`` is in this run, also while another process writes it. Raises as `JsonlFolder`."""
    with _explained(path):
        cursors = _read(path, log=log, run=run).cursors
    return {source_of(key): cursor for key, cursor in cursors.items()}


def _read(path: Path, *, log: str, run: int) -> Commit:
    try:
        commit = msgspec.json.decode((path / POSITIONS).read_bytes(), type=Commit)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JsonlRefusedError(
            f"{path / POSITIONS} can't be read ({error}): set another JSONL_PATH or move it away"
        ) from error
    remedy = f"{path} can't be used here: set another JSONL_PATH or move it away"
    return commit if is_mine(log, run, held_log=commit.log, held_run=commit.run, remedy=remedy) else Commit(log, run)


def _need(file: Path, size: int, length: int) -> None:
    if size < length:
        raise JsonlRefusedError(
            f"{file} has {size} bytes of the {length} that were written: put it back, or move the folder away"
        )


def _is_empty(file: Path) -> bool:
    return not file.exists() or file.stat().st_size == 0


def _day_files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if _DAY_FILE.fullmatch(file.name))


def _make_durable(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JsonlError(
            f"{path} can't be used ({error.strerror}): nothing is lost; or set another JSONL_PATH"
        ) from error
