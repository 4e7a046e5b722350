"""What a sink is given: every frame in its order, in batches, and acknowledged only when it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

import agents.sink_runner
from agents.process_guard import REFUSED, RESTART, StallGuard
from agents.sink_runner import BATCH_ROWS, MAX_BATCH, MAX_PENDING, SinkRunner
from tests.support.until import until
from topology.log.frames import CANDLES, TICKS, VERSION, CandleFrame, LogHeader, TickFrame, encode
from topology.log.lag import FramePosition
from topology.log.sequencer import HOLD_S
from topology.market.candle import Candle
from topology.sinks.cursor import (
    NO_CURSOR,
    ForeignLogError,
    SinkCursor,
    SinkError,
    Source,
    StoredFrame,
    frame_positions,
    unapplied,
)
from topology.sinks.sink import Output

LOG = "log"
NEVER = 1e9
BATCH_S = 0.2
SOURCE = TP(f"sim.{CANDLES}", 0)


class Ended(Exception):
    """Stands for the end of the process."""

    def __init__(self, reason: str, *, code: int = RESTART) -> None:
        super().__init__(reason)
        self.code = code


class Clock:
    """A clock that stands until it is moved, and counts how often it is looked at."""

    def __init__(self) -> None:
        self.now_s, self.looks = 1000.0, 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.now_s


class Sink:
    """A sink that keeps positions as a real one does, and can be made to wait."""

    name: ClassVar = "archive"
    stages: ClassVar[Sequence[str]] = (TICKS, CANDLES)
    output: ClassVar[Output | None] = None
    is_used = True

    def __init__(self, _settings: object = None) -> None:
        self.applied: dict[Source, SinkCursor] = {}
        self.batches: list[list[int]] = []
        self.rows: list[int] = []
        self.writing, self.may_write = asyncio.Event(), asyncio.Event()
        self.may_write.set()
        self.acked: list[int] = []

    async def reached(self, header: LogHeader) -> dict[Source, FramePosition]:
        return frame_positions(self.applied)

    async def open(self, header: LogHeader) -> None: ...

    def background(self) -> tuple[()]:
        return ()

    async def close(self) -> None: ...

    async def positions(self) -> dict[Source, SinkCursor]:
        return dict(self.applied)

    async def write(self, frames: list[StoredFrame]) -> None:
        self.writing.set()
        await self.may_write.wait()
        for source in {stored.source for stored in frames}:
            batch = [stored for stored in frames if stored.source == source]
            found = unapplied(self.applied.get(source, NO_CURSOR), batch, log=LOG, run=0)
            self.applied[source] = found.applied
            self.rows += [stored.position for stored in found.frames]
        self.batches.append([stored.offset for stored in frames])

    def shut(self) -> None:
        self.may_write.clear()

    def event(self, offset: int, value: bytes, topic: str = SOURCE.topic) -> Any:
        message = SimpleNamespace(topic=topic, partition=0, offset=offset, value=value)
        return SimpleNamespace(message=message, ack=lambda: self.acked.append(offset))

    def runner(self, *, batch_s: float = 0.0) -> SinkRunner:
        self.batch_s = batch_s
        runner = SinkRunner(self, prefix="sim", guard=StallGuard(NEVER), behind=lambda *_: 0)
        runner.start(LOG)
        return runner

    async def read(self, runner: SinkRunner, *positions: int, first_offset: int = 0, rows: int = 0) -> None:
        """Let the runner read these frames, from an offset on."""
        for offset, position in enumerate(positions, first_offset):
            await runner.process(self.event(offset, record(position, rows)))


def record(position: int, rows: int = 0) -> bytes:
    candles = [Candle("NSE:1", 1, 0, 1, 1, 1, 1, 0, 1)] * rows
    return encode(CandleFrame(VERSION, LOG, 0, position, 1000, [], "", candles, []))


@asynccontextmanager
async def running(runner: SinkRunner) -> AsyncIterator[None]:
    task = asyncio.create_task(runner.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture(scope="module", autouse=True)
def _end_raises() -> Iterator[None]:
    def end(reason: str, *, code: int = RESTART) -> None:
        raise Ended(reason, code=code)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents.sink_runner, "end_process", end)
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(agents.sink_runner, "time", clock)
    return clock


@pytest.fixture
async def sink() -> Sink:
    return Sink()


FRAMES = 8
STEPS = st.lists(st.tuples(st.sampled_from(["read", "revoke", "die"]), st.integers(0, 5)), max_size=15)


@given(again=st.lists(st.integers(0, FRAMES - 1), max_size=12), steps=STEPS)
@settings(deadline=None)
def test_repeats_gaps_and_deaths_change_nothing_in_the_sink(again: list[int], steps: list[tuple[str, int]]) -> None:
    asyncio.run(_model([0, *again, *range(FRAMES)], steps))


async def _model(topic: list[int], steps: list[tuple[str, int]]) -> None:
    sink = Sink()
    runner = sink.runner()
    following = _after(await runner.open(SOURCE, len(topic)))
    for step, number in [*steps, ("read", len(topic))]:
        if step == "read":
            async with running(runner):
                some = topic[following : following + number]
                await sink.read(runner, *some, first_offset=following)
                following += len(some)
                await runner.close()
        else:
            runner.revoke(SOURCE)
            runner = sink.runner() if step == "die" else runner
            following = _after(await runner.open(SOURCE, len(topic)))
    assert sink.rows == list(range(FRAMES))


def _after(used: int | None) -> int:
    return 0 if used is None else used + 1


async def test_reading_starts_where_the_sink_is(sink: Sink) -> None:
    sink.applied[CANDLES, 0] = SinkCursor(position=4, offset=9)
    runner = sink.runner()
    assert await runner.open(SOURCE, 100) == 9
    async with running(runner):
        await sink.read(runner, 4, 5, first_offset=10)
        await runner.close()
    assert sink.rows == [5]
    assert sink.applied[CANDLES, 0] == SinkCursor(5, 11, 1000)


async def test_an_empty_sink_starts_at_the_first_record(sink: Sink) -> None:
    assert await sink.runner().open(SOURCE, 100) is None


async def test_a_sink_that_is_ahead_of_the_log_is_refused(sink: Sink) -> None:
    sink.applied[CANDLES, 0] = SinkCursor(position=4, offset=9)
    with pytest.raises(Ended, match="up to offset 9, but it ends at 8: the broker has lost records") as ended:
        await sink.runner().open(SOURCE, 9)
    assert ended.value.code == REFUSED


async def test_frames_ahead_wait_and_are_written_in_order_once_the_missing_ones_come(sink: Sink) -> None:
    runner = sink.runner()
    await runner.open(SOURCE, 100)
    async with running(runner):
        await sink.read(runner, 0, 3, 2)
        await runner.close()
        assert (sink.rows, sink.acked) == ([0], [0])
        await sink.read(runner, 1, first_offset=3)
        await runner.close()
    assert sink.rows == [0, 1, 2, 3]
    assert sorted(sink.acked) == [0, 1, 2, 3]


async def test_a_frame_that_is_missing_for_too_long_ends_the_role(
    sink: Sink, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(_delay_s: float) -> None:
        await original(0)

    original = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", at_once)
    runner = sink.runner()
    await runner.open(SOURCE, 100)
    await sink.read(runner, 0, 2)
    clock.now_s += HOLD_S
    watching = asyncio.create_task(runner.watch())
    looks = clock.looks
    await until(lambda: clock.looks > looks + 2)
    assert not watching.done()
    clock.now_s += 0.001
    with pytest.raises(Ended, match="archive: the frame after position 0 of candles_1s partition 0 has been missing"):
        await asyncio.wait_for(watching, 10)


async def test_a_batch_waits_until_its_first_frame_is_old_enough(sink: Sink, clock: Clock) -> None:
    runner = sink.runner(batch_s=BATCH_S)
    await runner.open(SOURCE, 100)
    async with running(runner):
        await sink.read(runner, 0, 1)
        clock.now_s += BATCH_S - 0.001
        looks = clock.looks
        await until(lambda: clock.looks > looks + 2)
        assert sink.batches == []
        clock.now_s += 0.002
        await until(lambda: sink.acked == [0, 1])
    assert sink.batches == [[0, 1]]


async def test_a_batch_that_is_large_enough_does_not_wait(sink: Sink, clock: Clock) -> None:
    runner = sink.runner(batch_s=BATCH_S)
    await runner.open(SOURCE, 100)
    async with running(runner):
        await sink.read(runner, 0, rows=BATCH_ROWS - 1)
        looks = clock.looks
        await until(lambda: clock.looks > looks + 2)
        assert sink.batches == []
        await sink.read(runner, 1, first_offset=1, rows=1)
        await until(lambda: sink.acked == [0, 1])
    assert sink.batches == [[0, 1]]


async def test_nothing_is_acknowledged_before_it_is_written(sink: Sink) -> None:
    runner = sink.runner()
    await runner.open(SOURCE, 100)
    sink.shut()
    async with running(runner):
        await sink.read(runner, 0, 1)
        await sink.writing.wait()
        assert sink.acked == []
        closing = asyncio.create_task(runner.close())
        await asyncio.sleep(0)
        assert not closing.done()
        sink.may_write.set()
        await closing
        assert sink.acked == [0, 1]


async def test_a_write_that_fails_acknowledges_nothing_and_ends_the_role(sink: Sink) -> None:
    async def full(frames: list[StoredFrame]) -> None:
        raise OSError("the disk is full")

    sink.write = full  # type: ignore[method-assign]
    runner = sink.runner()
    await runner.open(SOURCE, 100)
    await sink.read(runner, 0)
    with pytest.raises(OSError, match="full"):
        await asyncio.wait_for(runner.run(), 10)
    assert sink.acked == []


@pytest.mark.parametrize(
    ("error", "code"), [(SinkError("the file is locked"), RESTART), (ForeignLogError("it holds log other"), REFUSED)]
)
async def test_what_a_sink_says_is_wrong_ends_the_role_for_good_only_where_it_is_refused(
    sink: Sink, error: SinkError, code: int
) -> None:
    async def fails(frames: list[StoredFrame] | None = None) -> dict[Source, SinkCursor]:
        raise error

    runner = sink.runner()
    await runner.open(SOURCE, 100)
    await sink.read(runner, 0)
    sink.write = sink.positions = fails  # type: ignore[method-assign,assignment]
    for call in (runner.run(), runner.open(SOURCE, 100)):
        with pytest.raises(Ended, match=str(error)) as ended:
            await asyncio.wait_for(call, 10)
        assert ended.value.code == code
    assert sink.acked == []


async def test_reading_pauses_while_too_much_waits_and_goes_on_in_batches(sink: Sink) -> None:
    runner = sink.runner()
    await runner.open(SOURCE, 10**6)
    sink.shut()
    async with running(runner):
        reading = asyncio.create_task(sink.read(runner, *range(2 * MAX_PENDING)))
        await until(lambda: not runner._has_room.is_set())
        assert not reading.done()
        assert len(runner._pending) == MAX_PENDING
        sink.may_write.set()
        await reading
        await runner.close()
    assert sink.rows == list(range(2 * MAX_PENDING))
    assert max(map(len, sink.batches)) <= MAX_BATCH


async def test_a_source_that_was_revoked_is_forgotten_with_what_waited(sink: Sink) -> None:
    runner = sink.runner(batch_s=NEVER)
    other = TP(SOURCE.topic, 1)
    await runner.open(SOURCE, 100)
    await sink.read(runner, 0, 1)
    assert await runner.open(other, 100) is None
    runner.revoke(SOURCE)
    assert runner._pending == []
    await sink.read(runner, 2, first_offset=2)
    assert runner._pending == []


async def test_reading_goes_on_when_what_it_waited_for_was_revoked(sink: Sink) -> None:
    runner = sink.runner()
    await runner.open(SOURCE, 10**6)
    reading = asyncio.create_task(sink.read(runner, *range(MAX_PENDING)))
    await until(lambda: not runner._has_room.is_set())
    runner.revoke(SOURCE)
    async with running(runner):
        await asyncio.wait_for(reading, 10)
        await runner.close()
    assert (sink.rows, sink.acked) == ([], [])


async def test_a_source_that_is_opened_again_starts_anew_where_the_sink_is(sink: Sink) -> None:
    runner = sink.runner()
    await runner.open(SOURCE, 100)
    await sink.read(runner, 0, 1, 3)
    assert await runner.open(SOURCE, 100) is None
    async with running(runner):
        await sink.read(runner, 0, 1, 2, 3)
        await runner.close()
    assert sink.rows == sink.acked == [0, 1, 2, 3]


async def test_a_tick_frame_that_cannot_be_read_keeps_its_position_without_rows(sink: Sink) -> None:
    runner = sink.runner()
    ticks = TP(f"sim.{TICKS}", 0)
    await runner.open(ticks, 100)
    foreign = encode(TickFrame(VERSION, "other", 1, 1, 5, 1, [], []))
    async with running(runner):
        for offset, value in enumerate((b"\xc1", foreign)):
            await runner.process(sink.event(offset, value, ticks.topic))
        await runner.close()
    assert sink.applied[TICKS, 0] == SinkCursor(1, 1, 0)


async def test_a_derived_frame_that_cannot_be_read_ends_the_role_with_its_place(sink: Sink) -> None:
    runner = sink.runner()
    await runner.open(SOURCE, 100)
    with pytest.raises(Ended, match="candles_1s partition 0 offset 7: not a CandleFrame"):
        await runner.process(sink.event(7, b"\xc1"))
