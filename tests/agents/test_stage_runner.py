"""The promise of a stage's runner: whatever comes twice, too early or in a crash, each position is applied once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agents.stage_runner
from agents.process_guard import REFUSED, RESTART, StallGuard
from agents.stage_runner import NEAR_END, StageRunner
from tables.state import Row, StateTable
from tests.support.until import until
from topology.log.candle_stage import CandlesCore, CandleStage
from topology.log.frames import CANDLE_FRAME, VERSION, CandleFrame, DeadLetter, Frame, encode
from topology.log.sequencer import HOLD_S
from topology.log.stage import StageState, stage_state
from topology.market.candle import Candle

LOG, RUN = "log", 3
NEVER = 1e9
LIVE_S = 0.25
OUT, LETTERS, CHANGELOG = "sim.out", "sim.dead_letters", "changelog"


class Ended(Exception):
    """Stands for the end of the process."""

    def __init__(self, reason: str, *, code: int = RESTART) -> None:
        super().__init__(reason)
        self.code = code


class Crash(Exception):
    """Something that breaks in the middle of a checkpoint."""


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


class Totals:
    """A stage whose every output depends on all frames before it."""

    def __init__(self, log: str, run: int) -> None:
        self.log, self.run, self.total = log, run, 0
        self.position: int | None = None

    def apply(self, position: int, frame: CandleFrame, *, live: bool) -> CandleFrame:
        self.position, self.total = position, (31 * self.total + frame.accepted) % 1_000_003
        forming = [Candle("NSE:1", 1, 0, 1, 1, 1, 1, 0, 1)] if live else []
        return CandleFrame(
            VERSION, self.log, self.run, position, frame.clock_ms, [], "", [], forming, accepted=self.total
        )

    def state(self) -> StageState[int]:
        return stage_state(self.log, self.run, self.position, None, self.total)

    def restore(self, state: StageState[int]) -> None:
        self.position, self.total = state.position, state.core


class Gate:
    """Holds up whoever passes while it is shut; ``breaks`` makes it fall on them."""

    def __init__(self) -> None:
        self.passing, self.open, self.breaks = asyncio.Event(), asyncio.Event(), False
        self.open.set()

    async def passed(self) -> None:
        self.passing.set()
        await self.open.wait()
        if self.breaks:
            raise Crash

    def shut(self) -> None:
        self.passing.clear()
        self.open.clear()


class World:
    """What a runner touches, noted in ``journal`` in the order in which it happens."""

    def __init__(self) -> None:
        self.journal: list[tuple[str, int]] = []
        self.sent: list[tuple[str, int, bytes, int]] = []
        self.stores: dict[int, dict[bytes, bytes]] = {0: {}, 1: {}}
        self.rows: list[Row[int]] = []
        self.log_end = 10**6
        self.sending, self.delivering, self.putting, self.saving = Gate(), Gate(), Gate(), Gate()
        self._deliveries: set[asyncio.Task[None]] = set()

    # The producer
    async def send(self, topic: str, value: bytes, *, partition: int, time_ms: int) -> asyncio.Task[None]:
        await self.sending.passed()
        self.sent.append((topic, partition, value, time_ms))
        number = len(self.sent) - 1
        self.journal.append(("sent", number))
        delivery = asyncio.create_task(self._deliver(number))
        self._deliveries.add(delivery)
        return delivery

    async def _deliver(self, number: int) -> None:
        await self.delivering.passed()
        self.journal.append(("delivered", number))

    async def deliver(self, topic: str, value: bytes, *, partition: int, key: bytes) -> int:
        await self.saving.passed()
        self.journal.append(("saved", len(self.rows) - 1))
        return 0

    # Faust's table and app
    def Table(self, name: str, **_: Any) -> Any:  # noqa: N802
        changelog = SimpleNamespace(get_topic_name=lambda: CHANGELOG)
        data = SimpleNamespace(_db_for_partition=self._store, set_persisted_offset=lambda *_: None)
        return SimpleNamespace(name=name, changelog_topic=changelog, data=data)

    def _store(self, partition: int) -> Any:
        def put(key: bytes, record: bytes) -> None:
            if self.putting.breaks:
                raise Crash
            self.rows.append(row_of(record))
            self.journal.append(("put", len(self.rows) - 1))
            self.stores[partition][key] = record

        return SimpleNamespace(get=self.stores[partition].get, put=put)

    # The stream
    def event(self, offset: int, frame: Frame[Any] | bytes, partition: int = 0) -> Any:
        value = frame if isinstance(frame, bytes) else encode(frame)
        message = SimpleNamespace(topic="sim.in", partition=partition, offset=offset, value=value)
        return SimpleNamespace(message=message, ack=lambda: self.journal.append(("acked", offset)))

    def acked(self) -> list[int]:
        return [offset for what, offset in self.journal if what == "acked"]

    def outputs(self, partition: int = 0) -> list[tuple[int, int]]:
        """Position and total of each frame sent."""
        frames = [CANDLE_FRAME.decode(value) for topic, p, value, _ in self.sent if (topic, p) == (OUT, partition)]
        return [(frame.position, frame.accepted) for frame in frames]

    def runner(
        self, *, checkpoint_s: float = NEVER, decode: Any = CANDLE_FRAME, stage: Any = Totals
    ) -> StageRunner[Any]:
        """A worker as it starts: hot state is gone, the world is as it was."""
        row = Row[int] if stage is Totals else Row[CandlesCore]
        table: StateTable[Any] = StateTable(self, "stage", row, partitions=2)  # type: ignore[arg-type]
        runner = StageRunner(
            name="stage", output=OUT, dead_letters=LETTERS, decode=decode, stage=stage, table=table,
            producer=self, guard=StallGuard(NEVER), behind=lambda _, offset: self.log_end - 1 - offset,  # type: ignore[arg-type]
            checkpoint_s=checkpoint_s, live_s=LIVE_S,
        )  # fmt: skip
        runner.start(LOG, RUN)
        return runner


def row_of(record: bytes) -> Any:
    return Row(*msgspec.msgpack.decode(record))


def frame(position: int, *, log: str = LOG, run: int = RUN) -> CandleFrame:
    return CandleFrame(VERSION, log, run, position, 1000 * position, [], "", [], [], accepted=position + 7)


def straight(frames: int) -> list[tuple[int, int]]:
    """What comes out when nothing goes wrong."""
    stage = Totals(LOG, RUN)
    return [(position, stage.apply(position, frame(position), live=False).accepted) for position in range(frames)]


async def take(runner: StageRunner[Any], world: World, *positions: int, first_offset: int = 0) -> None:
    """Let the runner read these frames, from an offset on."""
    for offset, position in enumerate(positions, first_offset):
        await runner.process(world.event(offset, frame(position)))


@pytest.fixture(scope="module", autouse=True)
def _end_raises() -> Iterator[None]:
    def end(reason: str, *, code: int = RESTART) -> None:
        raise Ended(reason, code=code)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents.stage_runner, "end_process", end)
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(agents.stage_runner, "time", clock)
    return clock


@pytest.fixture
async def world() -> World:
    return World()


# The law: what comes out, first frame of each position first, is what comes out when nothing goes wrong.

FRAMES = 8
STEPS = st.lists(
    st.tuples(st.sampled_from(["read", "save", "stop", "revoke", "older row", "wipe"]), st.integers(0, 5)), max_size=25
)


@given(again=st.lists(st.integers(0, FRAMES - 1), max_size=12), steps=STEPS)
@settings(deadline=None)
def test_repeats_gaps_rewinds_and_older_rows_change_nothing_that_comes_out(
    again: list[int], steps: list[tuple[str, int]]
) -> None:
    asyncio.run(_model([0, *again, *range(FRAMES)], steps))


async def _model(topic: list[int], steps: list[tuple[str, int]]) -> None:
    world = World()
    world.log_end = len(topic)
    runner = world.runner()
    following = _opened(runner, world)
    for step, number in [*steps, ("read", len(topic)), ("save", 0)]:
        if step == "read":
            for offset in range(following, min(following + number, len(topic))):
                await runner.process(world.event(offset, frame(topic[offset])))
                _passes_no_held_record(runner)
            following = min(following + number, len(topic))
        elif step == "save":
            await runner.checkpoint(runner.partitions[0])
        else:
            await _interrupt(runner, world, step, number)
            runner = world.runner() if step != "revoke" else runner
            following = _opened(runner, world)
    found = world.outputs()
    assert sorted(set(found)) == straight(FRAMES)
    assert sorted(world.acked())[-1] == len(topic) - 1
    assert not runner.partitions[0].unacked


def _opened(runner: StageRunner[Any], world: World) -> int:
    used = runner.open(0, world.log_end)
    return 0 if used is None else used + 1


async def _interrupt(runner: StageRunner[Any], world: World, how: str, number: int) -> None:
    if how == "stop":
        await runner.close()
    elif how == "older row" and world.rows:
        world.stores[0] = {b"0": encode(world.rows[number % len(world.rows)])}
    elif how == "wipe":
        world.stores[0].clear()
    runner.revoke(0)


def _passes_no_held_record(runner: StageRunner[Any]) -> None:
    state = runner.partitions[0]
    assert all(state.offset < event.message.offset for event, _ in state.sequencer.held)


# Order


async def test_each_frame_becomes_one_frame_at_its_position_and_with_its_clock(world: World) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    await take(runner, world, 0, 1, 2)
    assert world.outputs() == straight(3)
    assert [time_ms for *_, time_ms in world.sent] == [0, 1000, 2000]


async def test_a_duplicate_is_dropped_and_counted(world: World) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    before = runner.metrics.duplicates._value.get()
    await take(runner, world, 0, 1, 0, 1, 1, 2)
    assert world.outputs() == straight(3)
    assert runner.metrics.duplicates._value.get() - before == 3


async def test_frames_ahead_wait_unacknowledged_and_follow_in_order_once_the_missing_ones_come(world: World) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    await take(runner, world, 0, 3, 2, 4)
    await runner.checkpoint(runner.partitions[0])
    assert world.outputs() == straight(1)
    assert runner.partitions[0].offset == 0
    assert world.acked() == [0]
    await take(runner, world, 1, 2, first_offset=4)
    await runner.checkpoint(runner.partitions[0])
    assert world.outputs() == straight(5)
    assert world.acked() == [0, 1, 2, 3, 4, 5]


async def test_a_record_that_is_used_after_a_held_one_is_not_acknowledged_before_it(world: World) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    await take(runner, world, 0, 2, 0, 4, 1)  # 4 waits for 3, at offset 3; what follows it has been used
    await runner.checkpoint(runner.partitions[0])
    assert world.outputs() == straight(3)
    assert world.rows[-1].offset == 2
    assert world.acked() == [0, 1, 2]


async def test_a_frame_that_is_missing_for_too_long_ends_the_worker(world: World, clock: Clock) -> None:
    runner = world.runner(checkpoint_s=0.001)
    runner.open(0, world.log_end)
    await take(runner, world, 0, 2)
    clock.now_s += HOLD_S
    watching = asyncio.create_task(runner.watch())
    await until(lambda: world.acked() == [0])
    assert not watching.done()
    clock.now_s += 0.001
    with pytest.raises(Ended, match="partition 0: the frame after position 0 has been missing for 60 s") as ended:
        await asyncio.wait_for(watching, 10)
    assert ended.value.code == RESTART


async def test_when_a_missing_frame_comes_the_others_have_all_their_time_again(world: World, clock: Clock) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    await take(runner, world, 0, 2, 4)
    clock.now_s += HOLD_S - 1
    await take(runner, world, 1, first_offset=3)
    clock.now_s += HOLD_S
    assert not runner.partitions[0].sequencer.is_overdue
    await take(runner, world, 3, first_offset=4)
    clock.now_s += 2 * HOLD_S
    assert not runner.partitions[0].sequencer.is_overdue


async def test_partitions_have_nothing_to_do_with_each_other(world: World) -> None:
    runner = world.runner()
    for partition in (0, 1):
        runner.open(partition, world.log_end)
    await runner.process(world.event(0, frame(0)))
    await runner.process(world.event(0, frame(0), partition=1))
    await runner.process(world.event(1, frame(2), partition=1))
    await runner.process(world.event(1, frame(1)))
    assert world.outputs(0) == straight(2)
    assert world.outputs(1) == straight(1)


async def test_records_of_a_partition_that_is_not_ours_are_left_alone(world: World) -> None:
    runner = world.runner(checkpoint_s=0)
    await take(runner, world, 0)
    assert world.journal == []


async def test_a_frame_of_another_run_is_passed_over(world: World) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    await take(runner, world, 0)
    await runner.process(world.event(1, msgspec.structs.replace(frame(1, run=RUN - 1), accepted=0)))
    await take(runner, world, 1, first_offset=2)
    await runner.checkpoint(runner.partitions[0])
    assert world.outputs() == straight(2)
    assert world.acked() == [0, 1, 2]


@pytest.mark.parametrize(
    ("record", "said"), [(encode(frame(0, log="other")), "a frame of log other"), (b"\xc1", "not a CandleFrame")]
)
async def test_a_frame_that_no_stage_of_this_log_has_made_ends_the_worker_for_good(
    world: World, record: bytes, said: str
) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    with pytest.raises(Ended, match=said) as ended:
        await runner.process(world.event(0, record))
    assert ended.value.code == REFUSED
    assert world.journal == []


async def test_a_tick_frame_that_cannot_be_read_becomes_an_empty_frame_and_a_dead_letter(world: World) -> None:
    runner = world.runner(decode=None, stage=CandleStage)
    runner.open(0, world.log_end)
    await runner.process(world.event(0, b"\xc1 spoilt"))
    (_, _, output, _), (topic, partition, letter, _) = world.sent
    made = CANDLE_FRAME.decode(output)
    assert (made.position, made.rows) == (0, [])
    assert made.unusable
    assert (topic, partition) == (LETTERS, 0)
    assert msgspec.msgpack.decode(letter, type=DeadLetter) == DeadLetter(
        VERSION, LOG, 0, 0, made.unusable, b"\xc1 spoilt"
    )


# Live values


async def test_live_values_come_at_most_every_interval(world: World, clock: Clock) -> None:
    runner = world.runner()
    world.log_end = 6
    runner.open(0, world.log_end)
    for offset, step_s in enumerate([0, 0.1, 0.14, 0.01, 0.249, 0.25]):
        clock.now_s += step_s
        await runner.process(world.event(offset, frame(offset)))
    lively = [bool(CANDLE_FRAME.decode(value).live) for _, _, value, _ in world.sent]
    assert lively == [True, False, False, True, False, True]


async def test_far_from_the_end_there_are_no_live_values(world: World, clock: Clock) -> None:
    runner = world.runner()
    world.log_end = NEAR_END + 3
    runner.open(0, world.log_end)
    for offset in range(4):
        clock.now_s += 10
        await runner.process(world.event(offset, frame(offset)))
    lively = [bool(CANDLE_FRAME.decode(value).live) for _, _, value, _ in world.sent]
    assert lively == [False, False, True, True]


# Checkpoints


async def test_a_checkpoint_delivers_then_puts_then_saves_then_acknowledges(world: World) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    world.delivering.shut()
    await take(runner, world, 0, 1)
    saving = asyncio.create_task(runner.checkpoint(runner.partitions[0]))
    await until(world.delivering.passing.is_set)
    world.saving.shut()
    world.delivering.open.set()
    await until(world.saving.passing.is_set)
    world.saving.open.set()
    await saving
    order = [what for what, _ in world.journal]
    assert order == ["sent", "sent", "delivered", "delivered", "put", "saved", "acked", "acked"]
    assert world.rows[-1].offset == 1


async def test_a_checkpoint_is_made_when_its_time_has_come(world: World, clock: Clock) -> None:
    runner = world.runner(checkpoint_s=5)
    runner.open(0, world.log_end)
    await take(runner, world, 0, 1)
    assert world.acked() == []
    clock.now_s += 5
    await take(runner, world, 2, first_offset=2)
    assert world.acked() == [0, 1, 2]
    await take(runner, world, 3, first_offset=3)
    assert world.acked() == [0, 1, 2]


async def test_a_partition_that_went_idle_is_saved_too(world: World, clock: Clock) -> None:
    runner = world.runner(checkpoint_s=0.001)
    runner.open(0, world.log_end)
    await take(runner, world, 0)
    clock.now_s += 1
    watching = asyncio.create_task(runner.watch())
    await until(lambda: world.acked() == [0])
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching


GATES = ("delivering", "putting", "saving")


@pytest.mark.parametrize("gate", GATES)
async def test_a_crash_in_the_middle_acknowledges_nothing_and_loses_nothing(world: World, gate: str) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    await take(runner, world, 0, 1)
    getattr(world, gate).breaks = True
    with pytest.raises(Crash):
        await runner.checkpoint(runner.partitions[0])
    assert world.acked() == []
    await _goes_on(world, gate)


@pytest.mark.parametrize("gate", ["delivering", "saving"])
async def test_a_death_while_a_checkpoint_waits_acknowledges_nothing_and_loses_nothing(world: World, gate: str) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    getattr(world, gate).shut()
    await take(runner, world, 0, 1)
    saving = asyncio.create_task(runner.checkpoint(runner.partitions[0]))
    await until(getattr(world, gate).passing.is_set)
    saving.cancel()
    with suppress(asyncio.CancelledError):
        await saving
    assert world.acked() == []
    await _goes_on(world, gate)


async def _goes_on(world: World, gate: str) -> None:
    """A worker that takes over reads from what has survived, and ends where the first one would have."""
    setattr(world, gate, Gate())
    successor = world.runner()
    following = _opened(successor, world)
    await take(successor, world, *range(following, 4), first_offset=following)
    assert sorted(set(world.outputs())) == straight(4)


@pytest.mark.parametrize("again", [False, True], ids=["lost", "lost and got back"])
@pytest.mark.parametrize("gate", ["delivering", "saving"])
async def test_a_partition_that_is_revoked_in_a_checkpoint_is_not_acknowledged(
    world: World, gate: str, again: bool
) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    getattr(world, gate).shut()
    await take(runner, world, 0, 1)
    saving = asyncio.create_task(runner.checkpoint(runner.partitions[0]))
    await until(getattr(world, gate).passing.is_set)
    runner.revoke(0)
    if again:
        runner.open(0, world.log_end)
    rows = len(world.rows)
    getattr(world, gate).open.set()
    await saving
    assert world.acked() == []
    assert len(world.rows) == rows, "a row was written for a partition that is somebody else's"


async def test_what_is_read_while_a_checkpoint_waits_is_not_acknowledged_with_it(world: World) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    await take(runner, world, 0, 1)
    world.saving.shut()
    saving = asyncio.create_task(runner.checkpoint(runner.partitions[0]))
    await until(world.saving.passing.is_set)
    reading = asyncio.create_task(take(runner, world, 2, first_offset=2))
    await asyncio.sleep(0)
    world.saving.open.set()
    await asyncio.gather(saving, reading)
    assert world.acked() == [0, 1]
    assert world.outputs() == straight(3)


@pytest.mark.parametrize("by", ["checkpoint", "watch", "close"])
async def test_no_checkpoint_falls_between_a_frame_and_its_output(world: World, clock: Clock, by: str) -> None:
    runner = world.runner(checkpoint_s=0.001)
    runner.open(0, world.log_end)
    await take(runner, world, 0)
    world.sending.shut()
    reading = asyncio.create_task(take(runner, world, 1, first_offset=1))
    await until(world.sending.passing.is_set)
    clock.now_s += 1
    savers: dict[str, Callable[[], Awaitable[None]]] = {
        "checkpoint": lambda: runner.checkpoint(runner.partitions[0]),
        "watch": runner.watch,
        "close": runner.close,
    }
    saving = asyncio.ensure_future(savers[by]())
    await until(lambda: runner._turn._waiters is not None and len(runner._turn._waiters) > 0)
    assert world.rows == []
    world.sending.open.set()
    await reading
    await until(lambda: world.acked() == [0, 1])
    saving.cancel()
    assert world.journal.index(("sent", 1)) < world.journal.index(("put", 0))
    assert world.rows[0].offset == 1


async def test_a_stop_saves_every_partition_and_leaves_later_records_to_the_next_owner(world: World) -> None:
    runner = world.runner()
    for partition in (0, 1):
        runner.open(partition, world.log_end)
        await runner.process(world.event(10 + partition, frame(0), partition=partition))
    await runner.close()
    assert world.acked() == [10, 11]
    journal = list(world.journal)
    await runner.process(world.event(12, frame(1)))
    assert world.journal == journal


# Start


async def test_a_worker_goes_on_where_the_row_says(world: World) -> None:
    runner = world.runner()
    assert runner.open(0, world.log_end) is None
    await take(runner, world, 0, 1, 2)
    await runner.close()
    successor = world.runner()
    assert successor.open(0, world.log_end) == 2
    await take(successor, world, 1, 2, 3, first_offset=3)
    assert world.outputs() == straight(4)


async def test_the_state_of_another_run_is_left_behind(world: World) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    await take(runner, world, 0, 1)
    await runner.close()
    rebuilt = world.runner()
    rebuilt.start(LOG, RUN + 1)
    assert rebuilt.open(0, world.log_end) is None
    assert rebuilt.partitions[0].stage.position is None


@pytest.mark.parametrize(("log", "log_end"), [("other", 100), (LOG, 2)], ids=["of another log", "ahead of the log"])
async def test_state_that_does_not_belong_to_this_log_is_refused(world: World, log: str, log_end: int) -> None:
    runner = world.runner()
    runner.open(0, world.log_end)
    await take(runner, world, 0, 1, 2)
    await runner.close()
    successor = world.runner()
    successor.start(log, RUN)
    with pytest.raises(Ended, match="delete the data folder of this worker and the topics named") as ended:
        successor.open(0, log_end)
    assert ended.value.code == REFUSED
