"""Corrections of Faust and aiokafka that this project can't do without, each with its reason.

They are patches of foreign classes, so they hold for known versions only: `install` refuses others.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import faust
from aiokafka.consumer.fetcher import Fetcher
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer
from faust.types import TP

from agents.process_guard import end_process

KNOWN_FAUST = {"0.15.3"}
FETCH_WAIT_MS = 50
RECOVERY_SILENCE_S = 60.0

UsedOffset = Callable[[TP, int], Awaitable[int | None]]
"""Says for an input partition, and the end of it, which offset has been used last: None for none.

Where none has been used, reading starts at the first record of the log.
"""


def install(app: faust.App, used: dict[str, UsedOffset]) -> None:
    """Correct Faust for this app. ``used`` maps the input topics to what tells where to go on reading."""
    if faust.__version__ not in KNOWN_FAUST:
        raise RuntimeError(
            f"Faust {faust.__version__} is not known here (known: {', '.join(sorted(KNOWN_FAUST))}): install the "
            "version in deploy/requirements.lock, or check topology/faust_fixes.py against the new one"
        )
    app.used_offsets = used  # type: ignore[attr-defined] # the patched consumer finds it here
    _patch(Recovery, "on_recovery_completed", _stop_flow_first)
    _patch(Recovery, "_resume_streams", _stop_flow_first)
    _patch(Consumer, "perform_seek", _seek_to_state)
    _patch(Fetcher, "__init__", _short_fetches)


def _patch(owner: type, name: str, wrap: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    if not hasattr(original, "__wrapped__"):
        setattr(owner, name, wrap(original))


def _stop_flow_first(original: Any) -> Any:
    """Recovery resumes the stream partitions before it seeks them: what is fetched in between is lost.

    With the flow stopped nothing is fetched until the seek is done; Faust resumes it itself right after.
    """

    @functools.wraps(original)
    async def resume(self: Recovery, generation_id: int = 0) -> None:
        self.app.consumer.stop_flow()
        await original(self, generation_id)

    return resume


def _seek_to_state(original: Any) -> Any:
    """Read on where the state is, not where the group has committed: the smaller of the two.

    The state can be older than the committed offset, when a worker that had lost its partitions woke up and wrote an
    older row. It must be here: an idle fetch seeks to the committed offsets again, by this method. A seek forward,
    past the committed offset, would stop commits for good.
    """

    @functools.wraps(original)
    async def perform_seek(self: Consumer) -> None:
        await original(self)
        used: dict[str, UsedOffset] = getattr(self.app, "used_offsets", {})
        inputs = [tp for tp in sorted(self.assignment()) if tp.topic in used]
        # One request for all: each waits behind a fetch that waits for records.
        ends = await self.highwaters(*inputs) if inputs else {}
        offsets: dict[TP, int | None] = {}
        for tp in inputs:
            offsets[tp] = await used[tp.topic](tp, ends[tp])
            await asyncio.sleep(0.001)  # a row takes up to a second: together they must not look like a stall
        new = [tp for tp, offset in offsets.items() if offset is None]
        starts = await self.earliest_offsets(*new) if new else {}
        for tp, offset in offsets.items():
            await self.seek(tp, starts[tp] if offset is None else _smaller(self._committed_offset.get(tp), offset + 1))

    return perform_seek


def _smaller(committed: int | None, following: int) -> int:
    return following if committed is None else min(committed, following)


def _short_fetches(original: Any) -> Any:
    """A broker gets one fetch at a time, for the partitions of which no record waits to be used: others are left out.

    Were it to wait for those records, as aiokafka has it, agents that pause for checkpoints would stall every topic for
    100 ms: that decides the tail of latency. And what comes for a partition that was left out waits until the fetch
    is answered, for 1.5 s as Faust has it: a worker that catches up would pause, and be slow to start.
    """

    @functools.wraps(original)
    def init(self: Fetcher, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "prefetch_backoff": 0, "fetch_max_wait_ms": FETCH_WAIT_MS})

    return init


async def watch_recovery(app: faust.App) -> None:
    """End the worker when its recovery has been given nothing for a minute.

    Faust would wait for ever for a record of a changelog that does not come. It was seen to, once: a worker that woke
    after its session was over had joined the group again, and its consumer fetched nothing. A new one does.
    """
    recovery: Recovery = app.tables.recovery  # type: ignore[attr-defined] # its interface leaves it out
    while True:
        await asyncio.sleep(1.0)
        if not recovery.in_recovery:
            continue
        newest_s = max([recovery._recovery_started_at or 0.0, *recovery._active_events_received_at.values()])
        if time.monotonic() - newest_s > RECOVERY_SILENCE_S:
            end_process(f"the recovery of this worker has been given nothing for {RECOVERY_SILENCE_S:.0f} s")
