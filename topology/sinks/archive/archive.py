"""The archive: candles, indicator values and gaps in SQLite, each once: positions move in the rows' transaction."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from typing import NamedTuple, TypeVar

from topology.sinks.archive.rows import SELECT_POSITIONS, Counts, RowBatch
from topology.sinks.cursor import (
    NO_CURSOR,
    SinkCursor,
    SinkError,
    Source,
    StoredFrame,
    Written,
    by_source,
    is_mine,
    unapplied,
)

SCHEMA_VERSION = 3
TAKEN_OVER = 2  # the version before only lacks a table
BUSY_SLICE_S = 1.0

_logger = logging.getLogger(__name__)
Result = TypeVar("Result")
Tallies = dict[Source, tuple[SinkCursor, Counts]]


class ArchiveError(SinkError):
    """The SQLite file can't be used."""


class ArchiveLockedError(ArchiveError):
    """Another process kept the SQLite file locked for too long."""


class ArchiveFullError(ArchiveError):
    """There is no room left for the SQLite file."""


class Summary(NamedTuple):
    """What an archive holds: candles by timeframe in seconds, indicator values, and what became of the ticks."""

    candles: dict[int, int]
    indicators: int
    accepted: int
    late: int
    out_of_session: int
    gaps: int


class Archive:
    """The SQLite file at ``path``, for one run of one log; made when it isn't there.

    Calls block, with a locked file for up to ``patience_s``: make them from threads, where they take turns. A call
    that fails leaves the file as it was.

    Raises ForeignLogError when the file holds another log, ArchiveError when it can't be used.
    """

    def __init__(self, path: Path, *, log: str, run: int, patience_s: float = 60.0) -> None:
        self._path, self._log, self._run, self._patience_s = path, log, run, patience_s
        self._turn = threading.Lock()
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=min(BUSY_SLICE_S, patience_s), isolation_level=None, check_same_thread=False
            )
            try:
                self._patiently(self._prepare)
                self._patiently(self._tallies)
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            self._connection.close()

    def positions(self) -> dict[Source, SinkCursor]:
        """How far each source has been applied in this run."""
        with self._turn, explained(self._path):
            tallies = self._patiently(self._tallies)
        return {source: applied for source, (applied, _) in tallies.items()}

    def write(self, frames: Sequence[StoredFrame]) -> Written:
        """Apply decoded frames in one transaction: rows, counts and positions; all of them or none.

        Frames of one source must be in the order of their offsets. Returns when the transaction is committed.

        Raises PositionError and ForeignFrameError as ``unapplied`` does, ArchiveLockedError, ArchiveFullError,
        ArchiveError.
        """
        with self._turn, explained(self._path), self._transaction():
            tallies = self._tallies()
            batch = RowBatch()
            duplicates = 0
            for source, group in by_source(frames):
                applied, counts = tallies.get(source, (NO_CURSOR, Counts()))
                unseen = unapplied(applied, group, log=self._log, run=self._run)
                for stored in unseen.frames:
                    batch.add(stored, counts)
                batch.move(source, unseen.applied, counts, log=self._log, run=self._run)
                duplicates += unseen.duplicates
            rows = batch.insert(self._connection)
        return Written(rows, duplicates)

    def _prepare(self) -> None:
        _check_schema(self._connection, self._path)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA cache_size = -65536")  # 64 MB: the leaf pages of many instruments
        self._connection.executescript(resources.files(__package__).joinpath("schema.sql").read_text())

    def _tallies(self) -> Tallies:
        return _tallies(self._connection, self._path, log=self._log, run=self._run)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._patiently(lambda: self._connection.execute("BEGIN IMMEDIATE"))
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk makes SQLite roll back by itself
                self._connection.execute("ROLLBACK")
            raise

    def _patiently(self, attempt: Callable[[], Result]) -> Result:
        """Call again while the file is locked: in slices, so that the wait is logged and a signal gets through."""
        started, warned = time.monotonic(), False
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if not _is_locked(error) or time.monotonic() - started >= self._patience_s:
                    raise
                if not warned:
                    _logger.warning("%s is locked by another process: waiting", self._path)
                warned = True
                time.sleep(0.05)  # some statements report a lock at once, without the wait of a slice


def read_positions(path: Path, *, log: str, run: int) -> dict[Source, SinkCursor]:
    """How far the archive at ``path`` is in this run, while another process writes it; nothing when it isn't made yet.

    Raises as ``Archive`` does.
    """
    if not path.exists():
        return {}
    with explained(path), closing(read_only(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'positions'").fetchone():
            return {}
        return {source: applied for source, (applied, _) in _tallies(connection, path, log=log, run=run).items()}


def summary(path: Path) -> Summary:
    """Count what the archive at ``path`` holds. Raises ArchiveError when it can't be read."""
    with explained(path), closing(read_only(path)) as connection:
        (seconds,) = connection.execute("SELECT count(*) FROM candles_1s").fetchone()
        timeframes = dict(connection.execute("SELECT tf, count(*) FROM candles_tf GROUP BY tf ORDER BY tf").fetchall())
        (indicators,) = connection.execute("SELECT count(*) FROM indicators").fetchone()
        counts = connection.execute(
            "SELECT total(accepted), total(late), total(out_of_session), total(gaps) FROM positions"
        ).fetchone()
    return Summary({1: seconds, **timeframes}, indicators, *map(int, counts))


def _tallies(connection: sqlite3.Connection, path: Path, *, log: str, run: int) -> Tallies:
    remedy = f"{path} can't be used here: set another SQLITE_PATH or move the file away"
    tallies: Tallies = {}
    for stage, partition, held_log, held_run, position, offset, clock_ms, *counts in connection.execute(
        SELECT_POSITIONS
    ):
        if is_mine(log, run, held_log=held_log, held_run=held_run, remedy=remedy):
            tallies[stage, partition] = SinkCursor(position, offset, clock_ms), Counts(*counts)
    return tallies


def read_only(path: Path) -> sqlite3.Connection:
    """Open the archive for reading, beside the one that writes it. Threads that share it must take turns."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and version not in (TAKEN_OVER, SCHEMA_VERSION):
        raise ArchiveError(f"{path} is not an archive of this version: set another SQLITE_PATH or move the file away")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in one line what is wrong with the file and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        if _is_locked(error):
            raise ArchiveLockedError(
                f"{path} stays locked by another process: end what holds it, then start this role again"
            ) from error
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise ArchiveFullError(f"no room left for {path}: free some disk space, nothing is lost") from error
        raise ArchiveError(f"{path} can't be used ({error}): repair it, or set another SQLITE_PATH") from error
    except OSError as error:
        raise ArchiveError(f"{path} can't be made ({error.strerror}): set another SQLITE_PATH") from error


def _is_locked(error: sqlite3.Error) -> bool:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
