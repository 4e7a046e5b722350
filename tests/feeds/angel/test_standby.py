"""Two sockets for each instrument, one of which stands by, with the broker's client, against the simulated broker."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from tests.support.played_day import (
    FAULTS,
    OPEN_MS,
    Noted,
    World,
    assert_volume_is_whole,
    by_second,
    covers,
    walk,
    what_was_traded,
)
from topology.feeds.angel.packets import QUOTE
from topology.market import Candle
from topology.market.candle import PARTIAL

INSTRUMENTS = 40
BEFORE_S, AFTER_S = 95.0, 90.0  # from before the connection until the first faults, and from there on
RATE = 60.0

Seconds = dict[tuple[str, int], Candle]


async def played(
    monkeypatch: pytest.MonkeyPatch, *faults: str, standby: bool = True, after_s: float = AFTER_S
) -> World:
    """Play the first minutes of a day. The faults are for half a minute after the open, or for so much later."""
    source, begin_ms = walk(INSTRUMENTS, RATE), OPEN_MS + 30_000 - round(BEFORE_S * 1000)
    async with World(source, at_ms=begin_ms, mode=QUOTE, monkeypatch=monkeypatch, standby=standby) as world:
        await world.go_on(BEFORE_S)
        for fault in faults:
            world.simulator.fault(fault)
        await world.go_on(after_s)
        return world


@pytest.fixture(scope="module")
def undisturbed() -> Seconds:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return by_second(asyncio.run(played(monkeypatch, standby=False)).written.candles)


def of_socket(fault: str, socket: int) -> str:
    """Return a fault as one of a socket alone."""
    return f"{fault}{',' if ':' in fault else ':'}socket={socket}"


def different(wanted: Seconds, world: World) -> list[tuple[str, int]]:
    """Return the seconds that are not as they should be."""
    found = by_second(world.written.candles)
    return [
        key for key in wanted.keys() | found.keys()
        if what_was_traded(wanted.get(key)) != what_was_traded(found.get(key))
    ]  # fmt: skip


def told(world: World) -> list[Noted]:
    """Return the gaps and doubts, without those that the day begins with."""
    return [event for event in world.of("gap") + world.of("doubt") if event.at_ms >= OPEN_MS]


def outside(seconds: list[tuple[str, int]], world: World) -> list[tuple[str, int]]:
    """Return the seconds that no gap or doubt tells of."""
    return [key for key in seconds if not any(covers(event, key[1]) for event in told(world))]


async def test_two_sockets_in_step_give_what_one_gives(monkeypatch: pytest.MonkeyPatch, undisturbed: Seconds) -> None:
    world = await played(monkeypatch)
    assert len(undisturbed) > 1_000
    assert different(undisturbed, world) == []
    assert told(world) == []
    assert {event.socket for event in world.of("connected")} == {0, 1}
    counts = world.feed.counted()
    assert counts["standby"] * 2 == counts["received"]
    assert counts["switched"] == counts["late"] == 0
    assert_volume_is_whole(world)


ONE = "NSE:99926009"
SINGLE = (
    "drop:for=12s", "abort", "half-open", "silent:for=45s", f"silent:for=45s,instrument={ONE}", "delay:for=30s,by=3s",
    f"delay:for=30s,by=2s,instrument={ONE}", "delay:for=30s,by=700ms", "garbage:for=30s,chance=100%",
    "truncate:for=30s,chance=30%", "duplicate:for=30s,chance=30%", "clock-jump:for=30s", "clock-jump:for=30s,by=-1h",
    "volume-reset:for=30s",
)  # fmt: skip


@pytest.mark.parametrize("socket", [1, pytest.param(2, marks=pytest.mark.chaos)])
@pytest.mark.parametrize("fault", SINGLE)
async def test_a_fault_of_one_socket_hides_no_more_than_is_told_and_makes_no_gap(
    monkeypatch: pytest.MonkeyPatch, undisturbed: Seconds, fault: str, socket: int
) -> None:
    world = await played(monkeypatch, of_socket(fault, socket))
    assert outside(different(undisturbed, world), world) == []
    assert len(world.of("gap")) == 1, "the one that the day begins with"
    assert world.feed.counted()["switched"] <= INSTRUMENTS, "each instrument at most once"
    assert_volume_is_whole(world)


async def test_a_socket_that_breaks_is_named_and_the_other_carries_on(
    monkeypatch: pytest.MonkeyPatch, undisturbed: Seconds
) -> None:
    worlds = [await played(monkeypatch, f"drop:for=12s,socket={socket}") for socket in (1, 2)]
    for world in worlds:
        lost = world.of("disconnected")
        assert len({event.socket for event in lost}) == 1
        assert {event.instruments for event in lost} == {INSTRUMENTS}
        assert [event.socket for event in world.of("connected")[2:]] == [lost[0].socket]
        assert len(different(undisturbed, world)) < INSTRUMENTS, "a second of some, until it is noticed"


async def test_a_silent_source_is_replaced_within_seconds_where_one_socket_alone_has_a_gap_of_half_a_minute(
    monkeypatch: pytest.MonkeyPatch, undisturbed: Seconds
) -> None:
    alone = await played(monkeypatch, "silent:for=45s", standby=False)
    two = [await played(monkeypatch, f"silent:for=45s,socket={socket}") for socket in (1, 2)]
    wrong = [different(undisturbed, world) for world in (*two, alone)]
    # Which of the sockets is the source is a matter of which was faster: it may have been the other one both times.
    assert len(wrong[0]) + len(wrong[1]) < len(wrong[2]) / 10


async def test_where_both_break_there_is_a_gap(monkeypatch: pytest.MonkeyPatch, undisturbed: Seconds) -> None:
    world = await played(monkeypatch, "drop:for=12s")
    wrong, (_, gap) = different(undisturbed, world), world.of("gap")
    assert len(wrong) > 100
    assert outside(wrong, world) == []
    assert all(covers(gap, second) for _, second in wrong)
    assert [event.instruments for event in world.of("disconnected")][:2] == [INSTRUMENTS, 0]
    assert_volume_is_whole(world)


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize("then", ["drop:for=30s@+1s", "abort@+1s"])
async def test_what_is_missed_is_told_where_the_second_breaks_before_it_is_noticed_that_the_first_is_dead(
    monkeypatch: pytest.MonkeyPatch, undisturbed: Seconds, first: int, then: str
) -> None:
    world = await played(monkeypatch, f"half-open:socket={first}", then)
    wrong = different(undisturbed, world)
    assert len(wrong) > 100
    assert outside(wrong, world) == []
    assert_volume_is_whole(world)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.chaos)])
async def test_faults_of_both_sockets_at_random_change_no_candle_but_those_that_are_told(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Faults of one socket run into those of the other."""
    choose, faults = Random(seed), list(FAULTS)
    choose.shuffle(faults)
    alone = by_second((await played(monkeypatch, standby=False, after_s=300)).written.candles)
    begun = [
        f"{of_socket(fault, choose.choice((1, 2)))}@+{10 + 16 * number + choose.randrange(9)}s"
        for number, fault in enumerate(fault for fault in faults if "session" not in fault and "rate" not in fault)
    ]
    world = await played(monkeypatch, *begun, after_s=300)
    wrong, found = different(alone, world), by_second(world.written.candles)
    assert 0 < len(wrong) < len(alone) / 2
    assert outside(wrong, world) == []
    whole = [key for key in wrong if key in found and not found[key].marks & PARTIAL]
    assert len(whole) < len(wrong) / 20, "a candle that is wrong says that it is partial, but for a few"
    assert world.written.clocks_ms == sorted(world.written.clocks_ms)
    assert_volume_is_whole(world)
