"""What a gateway asks of rooms that this one may not import: the log, and what instruments are called."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from topology.log.frames import Configure
from topology.log.lag import TopicLag


class Info(msgspec.Struct, frozen=True):
    """What an instrument is called, and what it is: ``index``, ``equity``, ``derivative`` and so on."""

    symbol: str
    name: str
    instrument_class: str


class Standing(msgspec.Struct, frozen=True):
    """How far every role is. ``clock_ms`` is the newest clock in the log, None in an empty one."""

    clock_ms: int | None
    stages: list[TopicLag]


class Reloaded(msgspec.Struct, frozen=True):
    """What a change of the configuration has made of the indicators, each as ``SMA_34:60``, and of ``candles:60``.

    ``notes`` say what else there is to know, each in a line.
    """

    status: str
    preserved: list[str]
    created: list[str]
    removed: list[str]
    notes: list[str] = []


class LogView(Protocol):
    """The log as it stands, followed while the gateway runs."""

    @property
    def id(self) -> str:
        """Which log it is."""
        ...

    @property
    def configuration(self) -> Configure:
        """The configuration in force."""
        ...

    async def standing(self) -> Standing:
        """Ask how far each role is. Raises Problem where the log can't be asked."""
        ...

    async def reload(self, timeframes: Sequence[tuple[int, Sequence[str]]]) -> Reloaded:
        """Write a new configuration into the log. Raises Problem with the reason where that can't be."""
        ...


class Names(Protocol):
    """What the broker's instrument master says."""

    async def of(self, instruments: Collection[str]) -> dict[str, Info]:
        """Return what instruments are called: all of them, by their token where nothing is known."""
        ...
