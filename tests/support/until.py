"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable

PATIENCE_S = 90.0
"""What nothing takes that works, on a machine that has other work too."""

_SPINS = 1000  # looks before the first pause: what needs no time passing is there at once
_PAUSE_S = 0.02


async def until(
    holds: Callable[[], object], timeout_s: float = PATIENCE_S, *, state: Callable[[], object] | None = None
) -> None:
    """Wait until something holds, while other tasks go on; ``holds`` may be a coroutine function.

    Fails when it doesn't in time, with what was waited for, and the ``state`` of things then.
    """
    deadline = time.monotonic() + timeout_s
    looks = 0
    while True:
        held = holds()
        if await held if inspect.isawaitable(held) else held:
            return
        _check(deadline, timeout_s, holds, state)
        await asyncio.sleep(0 if (looks := looks + 1) < _SPINS else _PAUSE_S)


def block_until(
    holds: Callable[[], object], timeout_s: float = PATIENCE_S, *, state: Callable[[], object] | None = None
) -> None:
    """Wait until something holds, where no loop runs: see `until`."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        _check(deadline, timeout_s, holds, state)
        time.sleep(_PAUSE_S)


def _check(deadline: float, timeout_s: float, holds: Callable[[], object], state: Callable[[], object] | None) -> None:
    if time.monotonic() >= deadline:
        end = f": {state()}" if state else ""
        raise AssertionError(f"not within {timeout_s:g} s: {_written(holds)}{end}")


def _written(holds: Callable[[], object]) -> str:
    """Return a condition as the test has it."""
    if getattr(holds, "__name__", "") != "<lambda>":
        return getattr(holds, "__qualname__", repr(holds))
    return " ".join(inspect.getsource(holds).split())
