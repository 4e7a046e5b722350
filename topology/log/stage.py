"""What the three stages have in common: one frame in, one frame out, and a state that is a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from topology.log.frames import VERSION, Configure, FrameError

Core = TypeVar("Core")
FrameIn_contra = TypeVar("FrameIn_contra", contravariant=True)
FrameOut_co = TypeVar("FrameOut_co", covariant=True)


class StageState(msgspec.Struct, Generic[Core], array_like=True, frozen=True):
    """The whole state of a stage for one partition after the frame at ``position``.

    ``run`` is the run of the derived topics that the state belongs to, ``log`` the id of the log.
    """

    version: int
    log: str
    run: int
    position: int
    configuration: Configure | None
    core: Core


class Stage(Protocol[FrameIn_contra, FrameOut_co, Core]):
    """Turns each frame of one partition into exactly one frame with the same position."""

    position: int | None

    def apply(self, position: int, frame: FrameIn_contra, *, live: bool) -> FrameOut_co:
        """Apply the next frame. With ``live`` the answer carries the values of what is still forming."""
        ...

    def state(self) -> StageState[Core]:
        """Return the state of the partition, as a value; only once a frame has been applied."""
        ...

    def restore(self, state: StageState[Core]) -> None:
        """Replace the state of the partition."""
        ...


class PartitionConfiguration:
    """The configuration of a partition, as the commands in its frames set it. A command applies once, by its id."""

    def __init__(self) -> None:
        self.configuration: Configure | None = None

    def newest(self, commands: Sequence[Configure]) -> Configure | None:
        """Return the configuration as it stands after these commands, changing nothing."""
        return max((self.configuration, *commands), key=lambda c: -1 if c is None else c.id, default=None)

    def apply(self, commands: Sequence[Configure]) -> Configure | None:
        """Apply the commands. Return the configuration that they bring, None where they bring nothing new."""
        newest = self.newest(commands)
        if newest is self.configuration:
            return None
        self.configuration = newest
        return newest

    def required(self) -> Configure:
        """Return the configuration; raise :class:`FrameError` where the log has not given one yet."""
        if self.configuration is None:
            raise FrameError("the log holds no configuration before this frame")
        return self.configuration


def stage_state(
    log: str, run: int, position: int | None, configuration: Configure | None, core: Core
) -> StageState[Core]:
    """Wrap the core of a stage into the state of its partition."""
    if position is None:
        raise ValueError("a stage that has applied no frame has no state")
    return StageState(VERSION, log, run, position, configuration, core)
