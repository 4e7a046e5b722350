"""The pace of a live feed, on an event loop whose time jumps from one thing that is due to the next."""

from __future__ import annotations

import asyncio
import selectors
from collections import defaultdict
from collections.abc import Coroutine
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from topology.feeds import FrameContent
from topology.feeds.live import HEARTBEAT_MS, LiveFeed
from topology.log.partition import partition_of
from topology.market import Baseline, Gap, Quote, Tick
from topology.market.history import History

PARTITIONS = 2
FRAME_MS = 50
START_MS = 1_667_792_700_000
ROUNDING_MS = 1
NIFTY, TCS = "NSE:99926000", "NSE:11536"  # on one partition each


class Jumping(asyncio.SelectorEventLoop):
    """An event loop that doesn't wait: its time is that of the next thing that is due."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self.now_s

    def now_ms(self) -> int:
        return START_MS + round(self.now_s * 1000)


class _Jump(selectors.SelectSelector):
    def __init__(self, loop: Jumping) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.now_s += timeout or 0.0
        return super().select(0)


class Written(NamedTuple):
    """A frame, when it was written and with which clock."""

    at_ms: int
    clock_ms: int | None
    ticks: list[Tick]


class Writer:
    """Takes frames as the writer of the tick log does."""

    def __init__(self, loop: Jumping, write_s: float = 0.0) -> None:
        self.log = SimpleNamespace(header=SimpleNamespace(partitions=PARTITIONS))
        self.frames: dict[int, list[Written]] = defaultdict(list)
        self.contents: list[FrameContent] = []
        self.delivering = asyncio.Event()
        self.delivering.set()
        self._loop, self._write_s, self._writing = loop, write_s, False

    async def write_partition(self, partition: int, content: FrameContent, clock_ms: int | None) -> None:
        assert not self._writing, "frames are numbered: the next one has to wait"
        self._writing = True
        self.frames[partition].append(Written(self._loop.now_ms(), clock_ms, content.ticks))
        self.contents.append(content)
        await asyncio.sleep(self._write_s)
        self._writing = False

    async def flush(self) -> None:
        await self.delivering.wait()


Arrivals = list[tuple[int, str]]  # milliseconds after the start, and an instrument


def written(arrivals: Arrivals, *, for_ms: int, write_s: float = 0.0) -> dict[int, list[Written]]:
    """Return what a feed writes in a while. Each tick's time is that of its arrival; its price says which it is."""
    loop = Jumping()
    writer = Writer(loop, write_s)
    missed: list[Gap] = []

    async def scenario() -> None:
        live = LiveFeed(writer, frame_ms=FRAME_MS, now_ms=loop.now_ms, on_gap=missed.append)  # type: ignore[arg-type]
        running = asyncio.create_task(live.run())
        for number, (at_ms, instrument) in enumerate(arrivals, 1):
            await _sleep_until(loop, at_ms)
            live.add([Tick(instrument, number, loop.now_ms())], received_ms=loop.now_ms())
        await _sleep_until(loop, for_ms)
        running.cancel()

    _run(loop, scenario())
    return writer.frames


async def _sleep_until(loop: Jumping, at_ms: int) -> None:
    await asyncio.sleep(max(0.0, at_ms / 1000 - loop.time()))


def _run(loop: Jumping, scenario: Coroutine[Any, Any, None]) -> None:
    try:
        loop.run_until_complete(scenario)
    finally:
        loop.close()


ARRIVALS = st.lists(st.tuples(st.integers(0, 4000), st.sampled_from([NIFTY, TCS])), max_size=40).map(sorted)


@given(ARRIVALS)
@settings(deadline=None)
def test_every_tick_leaves_once_in_order_and_soon(arrivals: Arrivals) -> None:
    frames = written(arrivals, for_ms=6000)
    sent = [(tick, frame) for lane in frames.values() for frame in lane for tick in frame.ticks]
    assert sorted(tick.price for tick, _ in sent) == list(range(1, len(arrivals) + 1))
    for lane in frames.values():
        prices = [tick.price for frame in lane for tick in frame.ticks]
        assert prices == sorted(prices)
    assert all(0 <= frame.at_ms - tick.time_ms <= FRAME_MS + ROUNDING_MS for tick, frame in sent)


@given(ARRIVALS)
@settings(deadline=None)
def test_frames_of_a_partition_keep_their_distance_and_never_leave_it_without_a_clock(arrivals: Arrivals) -> None:
    frames = written(arrivals, for_ms=6000)
    assert set(frames) == set(range(PARTITIONS))
    for lane in frames.values():
        gaps_ms = [later.at_ms - earlier.at_ms for earlier, later in pairwise(lane)]
        assert min(gaps_ms) >= FRAME_MS
        assert max(gaps_ms) <= HEARTBEAT_MS + ROUNDING_MS
        assert lane[-1].at_ms >= START_MS + 6000 - HEARTBEAT_MS - ROUNDING_MS
        assert all(frame.clock_ms == frame.at_ms for frame in lane)


@given(ARRIVALS)
@settings(deadline=None)
def test_a_tick_after_a_quiet_moment_leaves_at_once(arrivals: Arrivals) -> None:
    frames = written(arrivals, for_ms=6000)
    for lane in frames.values():
        for earlier, later in pairwise(lane):
            if later.ticks and later.ticks[0].time_ms - earlier.at_ms >= FRAME_MS:
                assert later.at_ms == later.ticks[0].time_ms


def test_a_tick_does_not_wait_for_those_of_another_partition() -> None:
    lane = written([(2500, NIFTY), (2510, NIFTY), (2520, TCS)], for_ms=3000)[partition_of(TCS, PARTITIONS)]
    assert [frame.at_ms - START_MS for frame in lane if frame.ticks] == [2520]


def test_ticks_that_come_close_together_share_a_frame() -> None:
    burst = [(2500, NIFTY), (2510, NIFTY), (2520, NIFTY), (2600, NIFTY)]
    lane = written(burst, for_ms=3000)[partition_of(NIFTY, PARTITIONS)]
    sent = [(frame.at_ms - START_MS, len(frame.ticks)) for frame in lane if frame.ticks]
    assert sent == [(2500, 1), (2550, 2), (2600, 1)]


def test_ticks_that_come_while_a_frame_is_written_are_in_a_later_one() -> None:
    arrivals = [(at_ms, NIFTY) for at_ms in range(2500, 3000, 10)]
    lane = written(arrivals, for_ms=4000, write_s=0.03)[partition_of(NIFTY, PARTITIONS)]
    assert [tick.price for frame in lane for tick in frame.ticks] == list(range(1, len(arrivals) + 1))


def test_a_tick_that_comes_while_a_frame_is_written_does_not_wait_for_the_next_clock() -> None:
    at_ms = 1010  # the clocks of this second are just being written
    lane = written([(at_ms, NIFTY)], for_ms=3000, write_s=0.03)[partition_of(NIFTY, PARTITIONS)]
    (sent_ms,) = [frame.at_ms - START_MS for frame in lane if frame.ticks]
    assert sent_ms - at_ms <= 2 * FRAME_MS


def test_what_applies_before_ticks_stays_behind_those_that_came_before() -> None:
    loop = Jumping()
    writer = Writer(loop)
    missed: list[Gap] = []

    async def scenario() -> None:
        live = LiveFeed(writer, frame_ms=FRAME_MS, now_ms=loop.now_ms, on_gap=missed.append)  # type: ignore[arg-type]
        live.add([Tick(NIFTY, 1, 0)], received_ms=3)
        live.add([Tick(NIFTY, 1, 1)], received_ms=4)
        live.quote([Quote(NIFTY, 0, 1), Quote(NIFTY, 1, 2)])
        live.interrupt(Gap([NIFTY, TCS], 5))
        live.interrupt(Gap([NIFTY], 5, 9))
        live.rebase([Baseline(NIFTY, 9, 100)])
        live.add([Tick(NIFTY, 2, 10)], received_ms=11)
        running = asyncio.create_task(live.run())
        await asyncio.sleep(0.5)
        running.cancel()

    _run(loop, scenario())
    lane = partition_of(NIFTY, PARTITIONS)
    first, second, other = (content for content in writer.contents if content)
    if lane:
        first, second, other = second, other, first
    assert first == FrameContent([Tick(NIFTY, 1, 0), Tick(NIFTY, 1, 1)], {NIFTY: Quote(NIFTY, 1, 2)}, received_ms=3)
    gaps, baselines = [Gap([NIFTY], 5), Gap([NIFTY], 5, 9)], [Baseline(NIFTY, 9, 100)]
    assert second == FrameContent([Tick(NIFTY, 2, 10)], {}, gaps, baselines, received_ms=11)
    assert other == FrameContent(gaps=[Gap([TCS], 5)])
    assert [frame.clock_ms is None for frame in writer.frames[lane]][:2] == [True, False]
    assert missed == [Gap([NIFTY, TCS], 5), Gap([NIFTY], 5, 9)], "who asks for history is told of both"


@given(ARRIVALS.filter(bool), st.lists(st.integers(0, 4000), min_size=1, max_size=10).map(sorted))
@settings(deadline=None)
def test_history_has_frames_of_its_own_between_those_of_the_ticks(
    arrivals: Arrivals, appended_at_ms: list[int]
) -> None:
    loop = Jumping()
    writer = Writer(loop, write_s=0.03)

    async def scenario() -> None:
        live = LiveFeed(writer, frame_ms=FRAME_MS, now_ms=loop.now_ms, on_gap=lambda _: None)  # type: ignore[arg-type]
        running = asyncio.create_task(live.run())

        async def append() -> None:
            for number, at_ms in enumerate(appended_at_ms):
                await _sleep_until(loop, at_ms)
                await live.append_history(History(NIFTY, 60 * number, [], 0))

        appending = asyncio.create_task(append())
        for number, (at_ms, instrument) in enumerate(arrivals, 1):
            await _sleep_until(loop, at_ms)
            live.add([Tick(instrument, number, loop.now_ms())], received_ms=loop.now_ms())
        await appending
        await asyncio.sleep(2)
        running.cancel()

    _run(loop, scenario())
    alone = [content for content in writer.contents if content.history]
    assert alone == [
        FrameContent(history=[History(NIFTY, 60 * number, [], 0)]) for number in range(len(appended_at_ms))
    ]
    assert sum(len(content.ticks) for content in writer.contents) == len(arrivals)
    for lane in writer.frames.values():
        clock_ms = 0
        for frame in lane:
            assert all(tick.time_ms >= clock_ms for tick in frame.ticks), "no clock overtakes a tick that waits"
            clock_ms = max(clock_ms, frame.clock_ms or 0)


def test_history_is_appended_when_it_is_in_the_log_and_not_before() -> None:
    loop = Jumping()
    writer = Writer(loop)

    async def scenario() -> None:
        live = LiveFeed(writer, frame_ms=FRAME_MS, now_ms=loop.now_ms, on_gap=lambda _: None)  # type: ignore[arg-type]
        writer.delivering.clear()
        appending = asyncio.create_task(live.append_history(History(NIFTY, 60, [], 0)))
        await asyncio.sleep(5)
        assert len(writer.contents) == 1
        assert not appending.done()
        live.add([Tick(NIFTY, 1, loop.now_ms())], received_ms=loop.now_ms())
        await live.write_due()
        assert sum(len(content.ticks) for content in writer.contents) == 1, "and no tick waits for it"
        writer.delivering.set()
        await appending

    _run(loop, scenario())
