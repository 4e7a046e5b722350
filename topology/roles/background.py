"""What runs in a role beside its agents."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any

from agents.process_guard import StallGuard, end_process
from topology.settings import Settings

logger = logging.getLogger(__name__)


class BackgroundTasks:
    """Tasks that run beside the agents for as long as the role does. One that fails ends the role."""

    def __init__(self, settings: Settings) -> None:
        self.guard = StallGuard(settings.session_timeout_s / 2)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Start these, and the guard against an event loop that stands still."""
        for coroutine in (self.guard.watch(), *coroutines):
            task = asyncio.create_task(coroutine)
            task.add_done_callback(_end_if_failed)
            self._tasks.append(task)

    def stop(self) -> None:
        """Cancel them."""
        for task in self._tasks:
            task.cancel()


def _end_if_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("a task of this role failed", exc_info=error)
        end_process(str(error) or repr(error))
