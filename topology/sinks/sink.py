"""What a sink is to the role that feeds it, and to whoever asks how far it is.

A sink is one folder here with one class in it, and one line of `SINKS` in :mod:`topology.sinks.registry`: that gives
it a role of its name, a line of `topology status`, an option of `topology run`, and a say in what `topology prune`
may remove.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from topology.log.frames import LogHeader
from topology.log.lag import FramePosition
from topology.settings import Settings
from topology.sinks.cursor import SinkCursor, Source, StoredFrame

RUN = 0
"""The run of the log that sinks hold; a rebuild would raise it."""


class Output(NamedTuple):
    """A file or folder that a sink writes: the field of the settings that says where, and how `topology run` asks."""

    setting: str
    metavar: str
    help: str

    @property
    def variable(self) -> str:
        """The environment variable of the setting."""
        return self.setting.upper()


class Sink(Protocol):
    """Where the facts of ``stages`` go. ``name`` is also that of its role; ``output`` is None where it is a server.

    Every method may raise a SinkError: one that is a
    SinkRefusedError ends the role for good, any other lets it start again and read on from the positions.
    """

    name: ClassVar[str]
    stages: ClassVar[Sequence[str]]
    output: ClassVar[Output | None]

    def __init__(self, settings: Settings) -> None: ...

    @property
    def batch_s(self) -> float:
        """How many seconds a small batch waits for more frames."""
        ...

    @property
    def is_used(self) -> bool:
        """Whether this installation has it: then it is in the status, and nothing is pruned that it lacks."""
        ...

    async def reached(self, header: LogHeader) -> Mapping[Source, FramePosition]:
        """Return how far it has applied each source, without being opened: another process may write it.

        Raises SinkAwayError where it can't be asked now.
        """
        ...

    async def open(self, header: LogHeader) -> None:
        """Take over which log this is, and make it ready to be written."""
        ...

    async def positions(self) -> Mapping[Source, SinkCursor]:
        """Return how far it has applied each source: reading starts there."""
        ...

    async def write(self, frames: list[StoredFrame]) -> None:
        """Write frames, those of a source in the order of their offsets; return when they and their positions are safe.

        Frames at or below the position of their source are dropped.
        """
        ...

    def background(self) -> Iterable[Coroutine[Any, Any, None]]:
        """Return what else is to run while it is open."""
        ...

    async def close(self) -> None:
        """Let go of what `open` took."""
        ...
