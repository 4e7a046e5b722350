"""A notice for people, as text, and what a channel that carries notices promises."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Protocol, Self

import msgspec

from topology.market.times import IST
from topology.settings import Settings

TIMEOUT_S = 10.0
"""How long a channel waits for its server, all in all."""


class Kind(StrEnum):
    """What notices are about. Within some minutes, those of one kind become one message."""

    LOGIN_FAILED = "login failed"
    FEED_STALE = "feed stale"
    RECOVERED = "recovered"
    DAY_SUMMARY = "day's summary"
    STOPPED = "stopped"
    TEST = "test"


class Notice(msgspec.Struct, frozen=True):
    """Something that a person should know. ``at_ms`` is when it happened, in milliseconds since the epoch, UTC.

    ``simulated`` stands in every message: nobody shall take a demonstration for the market.
    """

    kind: Kind
    title: str
    text: str
    at_ms: int
    simulated: bool

    @property
    def message(self) -> str:
        """The whole notice as text of a few lines, with its time in India.

        >>> print(Notice(Kind.FEED_STALE, "No data", "Silent for 30 s.", 1_669_088_700_000, True).message)
        SIMULATED: No data
        Silent for 30 s.
        2022-11-22 09:15:00 IST
        """
        lines = [f"SIMULATED: {self.title}" if self.simulated else self.title, self.text, clock(self.at_ms)]
        return "\n".join(line for line in lines if line)


class UndeliveredError(Exception):
    """A channel could not deliver a notice. The message is the reason, without the channel's address or token.

    ``passing`` says whether another try may work; ``wait_s`` how long the server wants to be left alone first.
    """

    def __init__(self, reason: str, *, passing: bool, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.passing = passing
        self.wait_s = wait_s


class Notifier(Protocol):
    """A channel to a person. Its address and token are secrets: they are in no log, error or representation of it."""

    NAME: str
    """What logs and metrics call it; each channel has another one."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Make the channel that the environment sets, None where it sets none. Raises SettingsError."""
        ...

    async def send(self, notice: Notice) -> None:
        """Deliver a notice, once. Raises UndeliveredError, and nothing else, within `TIMEOUT_S`."""
        ...


def clock(at_ms: int) -> str:
    """Give a time as people in India read it."""
    return f"{datetime.fromtimestamp(at_ms / 1000, IST):%Y-%m-%d %H:%M:%S} IST"
