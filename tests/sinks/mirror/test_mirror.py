"""The mirror against a real Valkey: killed, emptied, written to by two, and every confirmed value there once."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import TimeoutError as RedisTimeoutError

from topology.embedded.loopback import LOOPBACK, free_port
from topology.embedded.valkey import Valkey
from topology.log.frames import (
    CANDLES,
    INDICATORS,
    TICKS,
    TIMEFRAMES,
    CandleFrame,
    Configure,
    IndicatorFrame,
    IndicatorValue,
    TickFrame,
    TimeframeFrame,
)
from topology.market.candle import BROKER, Candle
from topology.market.history import History
from topology.market.ticks import Tick
from topology.sinks.cursor import ForeignLogError, PositionError, SinkCursor, StoredFrame
from topology.sinks.mirror import mirror as sink
from topology.sinks.mirror.breaker import Breaker, Circuit
from topology.sinks.mirror.mirror import (
    Mirror,
    MirrorAwayError,
    Mirrored,
    MirrorEmptiedError,
    connect,
    query_listened_channels,
)
from topology.sinks.mirror.streams import StreamCommands

NIFTY = "NSE:99926000"
OPEN_MS = 1_669_088_700_000


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "valkey", free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def client(valkey: Valkey) -> AsyncIterator[Redis]:
    async with connect(LOOPBACK, valkey.port, db=0) as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


def mirror_of(client: Redis, clock: Clock, *, log: str = "log", run: int = 1) -> Mirror:
    return Mirror(client, log=log, run=run, streams=StreamCommands(partitions=1, budget_mb=64), breaker=Breaker(clock))


@pytest.fixture
def mirror(client: Redis, clock: Clock) -> Mirror:
    return mirror_of(client, clock)


def seconds(
    position: int,
    *,
    offset: int | None = None,
    run: int = 1,
    instruments: Sequence[str] = (NIFTY,),
    live: Sequence[Candle] = (),
) -> StoredFrame:
    start_ms = OPEN_MS + position * 1000
    rows = [Candle(instrument, 1, start_ms, 100, 110, 90, 105, 5, 3) for instrument in instruments]
    frame = CandleFrame(1, "log", run, position, start_ms, [], "", rows, list(live))
    return StoredFrame(CANDLES, 0, position if offset is None else offset, frame)


def tick(position: int, price: int) -> StoredFrame:
    return StoredFrame(
        TICKS, 0, position, TickFrame(1, "log", 1, position, OPEN_MS, 0, [], [Tick(NIFTY, price, OPEN_MS)])
    )


async def entries(client: Redis, instrument: str = NIFTY) -> list[int]:
    """Positions of the 1-second stream, in its order."""
    found: Any = await client.xrange(f"candle:1s:{instrument}")
    return [msgspec.json.decode(fields[b"data"])["position"] for _, fields in found]


async def listen(client: Redis, pattern: str) -> PubSub:
    listener = client.pubsub()
    await listener.psubscribe(pattern)
    await listener.get_message(timeout=5)
    return listener


async def heard(listener: PubSub, count: int) -> list[tuple[str, bytes]]:
    messages = [await listener.get_message(timeout=5, ignore_subscribe_messages=True) for _ in range(count)]
    assert await listener.get_message(timeout=0, ignore_subscribe_messages=True) is None
    return [(message["channel"].decode(), message["data"]) for message in messages]


async def test_a_second_candle_is_in_its_stream_the_latest_key_and_on_its_channel(
    client: Redis, mirror: Mirror
) -> None:
    listener = await listen(client, "pub:*")
    assert await mirror.apply([seconds(0)]) == Mirrored(commands=1, skipped=0, duplicates=0)

    data = (
        b'{"token":"99926000","exchange":"NSE","tf":1,"ts":1669088700,"open":100,"high":110,"low":90,"close":105,'
        b'"volume":5,"ticks_count":3,"forming":false,"position":0,"partition":0}'
    )
    assert await client.xrange("candle:1s:NSE:99926000") == [(b"1669088700000-0", {b"data": data})]
    assert await client.get("candle:1s:latest:NSE:99926000") == data
    assert await heard(listener, 1) == [("pub:candle:1s:NSE:99926000", data)]
    assert await client.ttl("candle:1s:latest:NSE:99926000") == -1
    assert await mirror.positions() == {(CANDLES, 0): SinkCursor(0, 0, OPEN_MS)}


async def test_timeframes_and_indicators_have_their_own_keys(client: Redis, mirror: Mirror) -> None:
    candle = Candle(NIFTY, 60, OPEN_MS, 100, 110, 90, 105, 5, 3)
    value = IndicatorValue(NIFTY, "SMA_9", 60, OPEN_MS, 1.23456)
    head = (1, "log", 1, 4, OPEN_MS, list[Configure](), "")
    await mirror.apply([StoredFrame(TIMEFRAMES, 0, 4, TimeframeFrame(*head, [candle], []))])
    await mirror.apply([StoredFrame(INDICATORS, 0, 4, IndicatorFrame(*head, [value], []))])

    assert set(await client.keys("*:NSE:*")) == {
        b"candle:60s:NSE:99926000",
        b"candle:60s:latest:NSE:99926000",
        b"ind:SMA_9:60s:NSE:99926000",
        b"ind:SMA_9:60s:latest:NSE:99926000",
    }
    assert msgspec.json.decode(await client.get("ind:SMA_9:60s:latest:NSE:99926000") or b"")["value"] == 1.2346


async def test_a_correction_is_published_and_changes_neither_stream_nor_latest_value(
    client: Redis, mirror: Mirror
) -> None:
    listener = await listen(client, "pub:*")
    candle = Candle(NIFTY, 60, OPEN_MS, 100, 110, 90, 105, 5, 3)
    corrected = Candle(NIFTY, 60, OPEN_MS, 100, 111, 90, 106, 6, 0, BROKER)
    history = [History(NIFTY, 60, [corrected], 1)]
    frame = TimeframeFrame(1, "log", 1, 0, OPEN_MS, [], "", [candle], [], history)
    await mirror.apply([StoredFrame(TIMEFRAMES, 0, 0, frame)])

    (_, first), (channel, second) = await heard(listener, 2)
    assert channel == "pub:candle:60s:NSE:99926000"
    assert second.endswith(
        b'"close":106,"volume":6,"count":0,"forming":false,"position":0,"partition":0,"source":"broker","revision":1}'
    )
    assert await client.get("candle:60s:latest:NSE:99926000") == first
    assert await client.xrange("candle:60s:NSE:99926000") == [(b"1669088700000-0", {b"data": first})]


async def test_a_forming_candle_is_only_published(client: Redis, mirror: Mirror) -> None:
    listener = await listen(client, "pub:*")
    await mirror.apply([seconds(0, instruments=(), live=[Candle(NIFTY, 1, OPEN_MS, 1, 1, 1, 1, 0, 1)])])

    ((channel, data),) = await heard(listener, 1)
    assert (channel, msgspec.json.decode(data)["forming"]) == ("pub:candle:1s:NSE:99926000", True)
    assert await client.keys("*") == [b"mirror:positions"]


async def test_the_latest_tick_is_set_and_published_and_never_goes_back(client: Redis, mirror: Mirror) -> None:
    listener = await listen(client, "pub:*")
    await mirror.apply([tick(0, 100), tick(1, 101)])
    await mirror.apply([tick(0, 100)])

    assert [channel for channel, _ in await heard(listener, 1)] == ["pub:tick:NSE:99926000"]
    assert msgspec.json.decode(await client.get("tick:latest:NSE:99926000") or b"")["price"] == 101


async def test_a_tick_that_nobody_watches_is_set_and_not_published(client: Redis, mirror: Mirror) -> None:
    listener = await listen(client, "pub:*")
    await mirror.apply([tick(0, 100)], listened={})
    await mirror.apply([tick(1, 101)], listened={NIFTY: {"candle:1s"}})
    assert msgspec.json.decode(await client.get("tick:latest:NSE:99926000") or b"")["price"] == 101

    await mirror.apply([tick(2, 102)], listened={NIFTY: {"tick"}})
    ((_, data),) = await heard(listener, 1)
    assert msgspec.json.decode(data)["price"] == 102


async def test_what_is_confirmed_is_written_and_published_also_where_nobody_watches(
    client: Redis, mirror: Mirror
) -> None:
    listener = await listen(client, "pub:*")
    forming = Candle(NIFTY, 1, OPEN_MS + 1000, 1, 1, 1, 1, 0, 1)
    await mirror.apply([seconds(0, live=[forming])], listened={})

    ((_, data),) = await heard(listener, 1)
    assert await client.get("candle:1s:latest:NSE:99926000") == data
    assert await entries(client) == [0]


async def test_redis_says_what_is_watched_until_the_last_has_gone(valkey: Valkey, client: Redis) -> None:
    assert await query_listened_channels(client) == {}
    async with (
        connect(LOOPBACK, valkey.port, db=1) as other,
        client.pubsub() as first,
        other.pubsub() as second,  # another database: channels are not of one
    ):
        await first.subscribe("pub:tick:NSE:99926000", "pub:candle:60s:NSE:2885", "news", b"pub:\xff:NSE:1")
        await second.subscribe("pub:tick:NSE:99926000")
        for listener, channels in ((first, 4), (second, 1)):
            for _ in range(channels):
                await listener.get_message(timeout=5)
        found = {NIFTY: {"tick"}, "NSE:2885": {"candle:60s"}}
        assert await query_listened_channels(client) == found

        await first.unsubscribe("pub:tick:NSE:99926000")
        await first.get_message(timeout=5)
        assert await query_listened_channels(client) == found

        await second.unsubscribe()
        await second.get_message(timeout=5)
        assert set(await query_listened_channels(client) or ()) == {"NSE:2885"}


async def test_where_somebody_listens_to_a_pattern_all_is_watched(client: Redis) -> None:
    listener = await listen(client, "pub:tick:*")
    assert await query_listened_channels(client) is None

    await listener.punsubscribe()
    await listener.get_message(timeout=5)
    assert await query_listened_channels(client) == {}


async def test_who_listens_cannot_be_asked_of_a_redis_that_is_away(valkey: Valkey, client: Redis) -> None:
    valkey.stop()

    with pytest.raises(MirrorAwayError, match="Redis can't say who listens"):
        await query_listened_channels(client)


async def test_duplicates_are_dropped_and_published_once(client: Redis, mirror: Mirror) -> None:
    listener = await listen(client, "pub:*")
    await mirror.apply([seconds(0), seconds(1)])
    again = await mirror.apply([seconds(0, offset=2), seconds(1, offset=3), seconds(2, offset=4)])

    assert again == Mirrored(commands=1, skipped=0, duplicates=2)
    assert await entries(client) == [0, 1, 2]
    assert len(await heard(listener, 3)) == 3
    assert await mirror.positions() == {(CANDLES, 0): SinkCursor(2, 4, OPEN_MS + 2000)}


async def test_a_frame_too_far_on_is_refused_and_changes_nothing(client: Redis, mirror: Mirror) -> None:
    await mirror.apply([seconds(0)])

    with pytest.raises(PositionError):
        await mirror.apply([seconds(1), seconds(3)])
    assert await entries(client) == [0]


async def test_a_new_mirror_goes_on_where_the_last_one_was(client: Redis, clock: Clock, mirror: Mirror) -> None:
    await mirror.apply([seconds(0), seconds(1)])
    successor = mirror_of(client, clock)

    assert await successor.positions() == {(CANDLES, 0): SinkCursor(1, 1, OPEN_MS + 1000)}
    assert (await successor.apply([seconds(1, offset=5), seconds(2, offset=6)])).duplicates == 1


async def test_an_owner_that_wakes_up_beside_the_new_one_repeats_nothing(
    client: Redis, clock: Clock, mirror: Mirror
) -> None:
    await mirror.apply([seconds(0)])
    new_owner = mirror_of(client, clock)
    await new_owner.apply([seconds(0), seconds(1), seconds(2)])

    assert (await mirror.apply([seconds(1), seconds(2), seconds(3)])).duplicates == 2
    assert await entries(client) == [0, 1, 2, 3]


async def test_a_reply_that_was_lost_does_not_repeat_what_was_written(
    client: Redis, clock: Clock, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = await listen(client, "pub:*")
    script = mirror._script

    async def without_reply(**call: Any) -> None:
        await script(**call)
        raise RedisTimeoutError("Timeout reading")

    monkeypatch.setattr(mirror, "_script", without_reply)
    with pytest.raises(MirrorAwayError, match="Redis is away: Timeout reading"):
        await mirror.apply([seconds(0)])
    monkeypatch.setattr(mirror, "_script", script)

    assert (await mirror.apply([seconds(0), seconds(1)])).duplicates == 1
    assert len(await heard(listener, 2)) == 2


async def test_a_batch_cut_into_calls_and_stopped_between_them_says_nothing_twice(
    client: Redis, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "COMMANDS_PER_CALL", 2)
    listener = await listen(client, "pub:*")
    script, calls = mirror._script, []

    async def dies_at_the_second_call(**call: Any) -> Any:
        calls.append(call)
        if len(calls) == 2:
            raise RedisTimeoutError("gone")
        return await script(**call)

    monkeypatch.setattr(mirror, "_script", dies_at_the_second_call)
    batch = [seconds(position) for position in range(5)]
    with pytest.raises(MirrorAwayError):
        await mirror.apply(batch)
    assert await mirror.positions() == {}

    assert await mirror.apply(batch) == Mirrored(commands=5, skipped=2, duplicates=0)
    assert await entries(client) == [0, 1, 2, 3, 4]
    assert len(await heard(listener, 5)) == 5
    assert await mirror.positions() == {(CANDLES, 0): SinkCursor(4, 4, OPEN_MS + 4000)}


async def test_an_emptied_redis_is_noticed_and_a_new_mirror_fills_it_again(
    client: Redis, clock: Clock, mirror: Mirror
) -> None:
    await mirror.apply([seconds(0), seconds(1)])
    await client.flushall()

    with pytest.raises(MirrorEmptiedError, match="from position 0 to 1"):
        await mirror.apply([seconds(2)])
    successor = mirror_of(client, clock)
    assert await successor.positions() == {}
    await successor.apply([seconds(0), seconds(1), seconds(2)])
    assert await entries(client) == [0, 1, 2]


async def test_asking_for_positions_does_not_hide_that_redis_was_emptied(client: Redis, mirror: Mirror) -> None:
    await mirror.apply([seconds(0)])
    await client.flushall()

    for _ in range(2):
        with pytest.raises(MirrorEmptiedError):
            await mirror.positions()
    with pytest.raises(MirrorEmptiedError):
        await mirror.apply([seconds(1)])
    assert await entries(client) == []


async def test_asking_for_positions_beside_writing_is_no_alarm(mirror: Mirror) -> None:
    writes = [mirror.apply([seconds(position)]) for position in range(50)]
    *_, positions = await asyncio.gather(*(call for write in writes for call in (write, mirror.positions())))

    assert positions == {(CANDLES, 0): SinkCursor(49, 49, OPEN_MS + 49_000)}


async def test_a_redis_with_an_older_snapshot_is_noticed(client: Redis, mirror: Mirror) -> None:
    await mirror.apply([seconds(0)])
    older = await client.hget("mirror:positions", "candles_1s:0")
    await mirror.apply([seconds(1), seconds(2)])
    await client.hset("mirror:positions", "candles_1s:0", older)

    with pytest.raises(MirrorEmptiedError, match="from position 1 to 2"):
        await mirror.apply([seconds(3)])


async def test_a_redis_that_forgot_its_scripts_is_told_again(client: Redis, mirror: Mirror) -> None:
    await mirror.apply([seconds(0)])
    await client.script_flush()
    await mirror.apply([seconds(1)])

    assert await entries(client) == [0, 1]


async def test_a_redis_that_comes_back_with_its_data_gets_what_waited_in_order_and_once(
    valkey: Valkey, client: Redis, clock: Clock, mirror: Mirror
) -> None:
    await mirror.apply([seconds(0), seconds(1)])
    valkey.stop()
    waiting = [seconds(2), seconds(3)]
    with pytest.raises(MirrorAwayError, match="Redis is away"):
        await mirror.apply(waiting)
    valkey.start()

    assert await mirror.apply(waiting, live=False) == Mirrored(commands=2, skipped=0, duplicates=0)
    assert await entries(client) == [0, 1, 2, 3]


async def test_a_redis_that_was_killed_comes_back_empty_and_that_is_noticed(valkey: Valkey, mirror: Mirror) -> None:
    await mirror.apply([seconds(0)])
    valkey.kill()
    with pytest.raises(MirrorAwayError):
        await mirror.apply([seconds(1)])
    valkey.start()

    with pytest.raises(MirrorEmptiedError):
        await mirror.apply([seconds(1)])


async def test_after_three_failures_nothing_is_tried_until_the_rest_is_over(
    valkey: Valkey, clock: Clock, mirror: Mirror
) -> None:
    valkey.stop()
    for _ in range(3):
        with pytest.raises(MirrorAwayError):
            await mirror.apply([seconds(0)])
    valkey.start()

    with pytest.raises(MirrorAwayError, match="waiting") as away:
        await mirror.apply([seconds(0)])
    assert mirror.breaker.circuit is Circuit.OPEN
    clock.now_s += away.value.retry_after_s
    await mirror.apply([seconds(0)])
    assert mirror.breaker.circuit is Circuit.CLOSED  # type: ignore[comparison-overlap] # it has changed since it was OPEN


async def test_a_redis_that_takes_no_more_memory_is_away_and_loses_nothing(client: Redis, mirror: Mirror) -> None:
    await client.config_set("maxmemory", "1")
    with pytest.raises(MirrorAwayError, match="maxmemory"):
        await mirror.apply([seconds(0)])
    await client.config_set("maxmemory", "0")

    await mirror.apply([seconds(0)])
    assert await entries(client) == [0]


async def test_a_redis_that_does_not_answer_is_given_up_after_the_timeout(valkey: Valkey, clock: Clock) -> None:
    async with (
        connect(LOOPBACK, valkey.port, db=0) as client,
        connect(LOOPBACK, valkey.port, db=0, timeout_s=1.0) as hasty,
    ):
        await hasty.ping()
        await client.execute_command("CLIENT", "PAUSE", "600000", "ALL")  # type: ignore[no-untyped-call] # of redis
        with pytest.raises(MirrorAwayError, match="Timeout"):
            await mirror_of(hasty, clock).apply([seconds(0)])


async def test_a_later_run_starts_from_nothing_and_skips_what_the_streams_hold(
    client: Redis, clock: Clock, mirror: Mirror
) -> None:
    await mirror.apply([seconds(0), seconds(1)])
    rebuilt = mirror_of(client, clock, run=2)

    assert await rebuilt.positions() == {}
    again = await rebuilt.apply([seconds(position, offset=7 + position, run=2) for position in range(3)])
    assert again == Mirrored(commands=3, skipped=2, duplicates=0)
    assert await entries(client) == [0, 1, 2]


async def test_ticks_go_on_through_a_later_run(client: Redis, clock: Clock, mirror: Mirror) -> None:
    await mirror.apply([tick(0, 100), tick(1, 101)])

    assert (await mirror_of(client, clock, run=2).positions())[TICKS, 0].position == 1


async def test_the_redis_of_another_log_is_refused_with_what_to_do(client: Redis, clock: Clock, mirror: Mirror) -> None:
    await mirror.apply([seconds(0)])

    with pytest.raises(
        ForeignLogError, match="choose another database, or empty this one with FLUSHDB: it holds log log"
    ):
        await mirror_of(client, clock, log="other").positions()


async def test_frames_of_two_sources_do_not_go_together(mirror: Mirror) -> None:
    with pytest.raises(ValueError, match="one source"):
        await mirror.apply([seconds(0), tick(0, 100)])


async def test_streams_are_trimmed_to_about_their_length(client: Redis, clock: Clock) -> None:
    streams = StreamCommands(partitions=1, budget_mb=1)
    mirror = Mirror(client, log="log", run=1, streams=streams, breaker=Breaker(clock))
    instruments = [f"NSE:{number}" for number in range(50)]  # room for 100 entries each
    await mirror.apply([seconds(position, instruments=instruments) for position in range(300)])

    length = await client.xlen("candle:1s:NSE:7")
    assert 100 <= length < 200
    assert (await entries(client, "NSE:7"))[-1] == 299


def test_a_client_waits_at_most_two_seconds_and_repeats_nothing() -> None:
    settings = connect(LOOPBACK, 1, db=3).connection_pool.connection_kwargs

    assert isinstance(connect(LOOPBACK, 1, db=3), Redis)
    assert (settings["db"], settings["socket_timeout"], settings["socket_connect_timeout"]) == (3, 2.0, 2.0)


async def test_simulated_values_are_never_published_where_live_ones_are(client: Redis) -> None:
    await sink.hold_channels(client, simulated=True)
    await sink.hold_channels(client, simulated=False)
    with pytest.raises(sink.SharedServerError, match="set another REDIS_ADDR"):
        await sink.hold_channels(client, simulated=True)
    await sink.hold_channels(client, simulated=False)
    assert 0 < await client.ttl(sink.PUBLISHING) <= sink.HELD_S
    await client.delete(sink.PUBLISHING)  # as when it has run out
    await sink.hold_channels(client, simulated=True)


async def test_whether_live_values_are_published_is_not_known_while_redis_is_away() -> None:
    async with connect(LOOPBACK, free_port(), db=0) as client:
        for simulated in (True, False):
            with pytest.raises(MirrorAwayError):
                await sink.hold_channels(client, simulated=simulated)


async def test_what_a_frame_has_for_a_channel_is_said_in_one_call(
    client: Redis, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "COMMANDS_PER_CALL", 3)
    calls, script = [], mirror._script

    async def noted(**call: Any) -> Any:
        calls.append(call["args"][4::6])  # after field, expected and new value: how, name, ...
        return await script(**call)

    monkeypatch.setattr(mirror, "_script", noted)
    rows = [Candle(name, 1, OPEN_MS + n * 1000, 1, 1, 1, 1, 0, 1) for n in range(4) for name in ("NSE:1", "NSE:2")]
    await mirror.apply([StoredFrame(CANDLES, 0, 0, CandleFrame(1, "log", 1, 0, OPEN_MS, [], "", rows, []))])
    assert [len(names) for names in calls] == [4, 4]
    assert await entries(client, "NSE:1") == [0] * 4
