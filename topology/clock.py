"""The clock of a live feed: passed in everywhere, so that a test can play a day in seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple


class Clock(NamedTuple):
    """``now_ms`` gives the time of day in milliseconds since the epoch; ``sleep`` waits for seconds of it."""

    now_ms: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]]

    async def sleep_until(self, at_ms: int) -> None:
        """Wait until a time of day."""
        while (left_ms := at_ms - self.now_ms()) > 0:
            await self.sleep(min(left_ms / 1000, 60.0))  # not longer: the machine may sleep in between


def now_ms() -> int:
    """Return the time of day, in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


SYSTEM = Clock(now_ms, asyncio.sleep)
