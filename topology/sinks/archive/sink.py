"""The archive as a sink: its calls block, so they are made in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import ClassVar

from prometheus_client import Histogram

from topology.log.frames import DERIVED, LogHeader
from topology.log.lag import FramePosition
from topology.settings import Settings
from topology.sinks.archive.archive import Archive, read_positions
from topology.sinks.cursor import SinkAwayError, SinkCursor, Source, StoredFrame, frame_positions
from topology.sinks.sink import RUN, Output

COMMIT = Histogram("mdengine_sqlite_commit_duration_seconds", "A batch into SQLite, from the call to its commit")


class ArchiveSink:
    """One writer of the SQLite file. What it can't write stays in the log. Implements `topology.sinks.sink.Sink`."""

    name: ClassVar = "archive"
    stages: ClassVar[Sequence[str]] = tuple(DERIVED)
    output: ClassVar[Output | None] = Output(
        "sqlite_path", metavar="OUT.db", help="keep the candles and values in this SQLite file"
    )
    batch_s = 0.2
    is_used = True

    _archive: Archive

    def __init__(self, settings: Settings) -> None:
        self._path = settings.sqlite_path

    async def reached(self, header: LogHeader) -> Mapping[Source, FramePosition]:
        """Read how far the file is."""
        if not self._path.exists():
            raise SinkAwayError(f"no file {self._path} yet: start the role `archive`, or set SQLITE_PATH")
        return frame_positions(await asyncio.to_thread(read_positions, self._path, log=header.log, run=RUN))

    async def open(self, header: LogHeader) -> None:
        """Open the file."""
        self._archive = await asyncio.to_thread(Archive, self._path, log=header.log, run=RUN)

    async def positions(self) -> Mapping[Source, SinkCursor]:
        """Return how far the file is."""
        return await asyncio.to_thread(self._archive.positions)

    async def write(self, frames: list[StoredFrame]) -> None:
        """Write a batch in one transaction."""
        with COMMIT.time():
            await asyncio.to_thread(self._archive.write, frames)

    def background(self) -> tuple[()]:
        """Nothing else runs."""
        return ()

    async def close(self) -> None:
        """Close the file."""
        self._archive.close()
