"""The role `archive`: candles and indicator values into SQLite."""

from __future__ import annotations

import asyncio

from prometheus_client import Histogram

from agents.process_guard import REFUSED, end_process
from topology.kafka import topics
from topology.log.frames import CANDLES, INDICATORS, TIMEFRAMES
from topology.roles.sink import SinkRole
from topology.sinks.archive.archive import Archive
from topology.sinks.cursor import SinkCursor, SinkError, Source, StoredFrame

COMMIT = Histogram("mdengine_sqlite_commit_duration_seconds", "A batch into SQLite, from the call to its commit")


class ArchiveRole(SinkRole):
    """One writer of the SQLite file. What it can't write stays in the log, and the role ends with the reason."""

    name = "archive"
    stages = (CANDLES, TIMEFRAMES, INDICATORS)
    batch_s = 0.2

    _archive: Archive

    async def connect(self, log: topics.Log) -> None:
        """Open the file, or end with the reason."""
        try:
            self._archive = await asyncio.to_thread(Archive, self.settings.sqlite_path, log=log.header.log, run=0)
        except SinkError as error:
            end_process(str(error), code=REFUSED)

    async def disconnect(self) -> None:
        """Close the file."""
        self._archive.close()

    async def positions(self) -> dict[Source, SinkCursor]:
        """Return how far the file is."""
        return await asyncio.to_thread(self._archive.positions)

    async def write(self, frames: list[StoredFrame]) -> None:
        """Write a batch in one transaction, in a thread, so that the worker stays responsive."""
        try:
            with COMMIT.time():
                await asyncio.to_thread(self._archive.write, frames)
        except SinkError as error:
            end_process(str(error))
