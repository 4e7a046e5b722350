"""How a worker ends when going on would be wrong: at once, with one line, so that its supervisor starts it again."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Awaitable
from typing import NoReturn

logger = logging.getLogger(__name__)

RESTART = 70  # the exit code of a worker that wants to be started again
REFUSED = 78  # the exit code of a worker that would fail again in the same way; Faust's own is 1 when it crashes
CHECK_EVERY_S = 0.1


def end_process(reason: str, *, code: int = RESTART) -> NoReturn:
    """End this process now. Nothing is flushed or acknowledged: the next owner reads from the last checkpoint."""
    logger.critical("%s", reason)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


async def or_end_process(work: Awaitable[None]) -> None:
    """Await the work of an agent. An error ends this process: Faust would acknowledge the record and drop it."""
    try:
        await work
    except Exception as error:
        logger.critical("this worker can't go on", exc_info=error)
        end_process(f"{type(error).__name__}: {error}")


def now_s() -> float:
    """Return a clock that also runs while the machine sleeps, where there is one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class StallGuard:
    """Ends a worker whose event loop stood still for longer than ``limit_s``, before it sends anything.

    Such a worker (stopped, swapped out, on a laptop that was shut) has lost its partitions and doesn't know it yet.
    A thread looks as well, since on waking it may come before the event loop.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._beat_s = now_s()

    def check(self) -> None:
        """End this process when the event loop has not run for too long."""
        stood_s = now_s() - self._beat_s
        if stood_s > self._limit_s:
            end_process(f"this worker stood still for {stood_s:.1f} s and may have lost its partitions: it ends itself")

    async def watch(self) -> None:
        """Beat until cancelled: from then on nobody looks, since a process that leaves in order may take its time."""
        self._beat_s = now_s()
        over = threading.Event()
        threading.Thread(target=self._watch_from_outside, args=[over], name="stall-guard", daemon=True).start()
        try:
            while True:
                await asyncio.sleep(CHECK_EVERY_S)
                self.check()
                self._beat_s = now_s()
        finally:
            over.set()

    def _watch_from_outside(self, over: threading.Event) -> None:
        while not over.wait(CHECK_EVERY_S):
            self.check()
