"""The JSON lines as a sink: its calls block, so they are made in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import ClassVar

from topology.log.frames import DERIVED, LogHeader
from topology.log.lag import FramePosition
from topology.settings import Settings
from topology.sinks.cursor import SinkAwayError, SinkCursor, Source, StoredFrame, frame_positions
from topology.sinks.jsonl.files import POSITIONS, JsonlFolder, read_positions
from topology.sinks.sink import RUN, Output


class JsonlSink:
    """Appends to a folder of files. Implements `topology.sinks.sink.Sink`."""

    name: ClassVar = "jsonl"
    stages: ClassVar[Sequence[str]] = tuple(DERIVED)
    output: ClassVar[Output | None] = Output(
        "jsonl_path", metavar="OUT", help="keep them in this folder, as files of JSON lines"
    )
    batch_s = 0.2

    _files: JsonlFolder

    def __init__(self, settings: Settings) -> None:
        self._path = settings.jsonl_path

    @property
    def is_used(self) -> bool:
        """Whether its role has run here."""
        return (self._path / POSITIONS).exists()

    async def reached(self, header: LogHeader) -> Mapping[Source, FramePosition]:
        """Read how far the folder is."""
        if not self.is_used:
            raise SinkAwayError(f"nothing in {self._path} yet: start the role `jsonl`, or set JSONL_PATH")
        return frame_positions(await asyncio.to_thread(read_positions, self._path, log=header.log, run=RUN))

    async def open(self, header: LogHeader) -> None:
        """Open the folder, and cut off what a kill has left."""
        self._files = await asyncio.to_thread(JsonlFolder, self._path, log=header.log, run=RUN)

    async def positions(self) -> Mapping[Source, SinkCursor]:
        """Return how far the folder is."""
        return await asyncio.to_thread(self._files.positions)

    async def write(self, frames: list[StoredFrame]) -> None:
        """Append a batch."""
        await asyncio.to_thread(self._files.write, frames)

    def background(self) -> tuple[()]:
        """Nothing else runs."""
        return ()

    async def close(self) -> None:
        """Nothing is open between calls."""
