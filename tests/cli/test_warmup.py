"""`topology warmup` on a real broker: what it writes, and what it tells of what the feed answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from tests.cli.conftest import CommandLine, WrittenLog
from topology.cli import warmup
from topology.clock import now_ms
from topology.kafka import topics
from topology.log.frames import COMMANDS, FEED_EVENTS, VERSION, WARMUP, FeedEvent, Warmup, encode
from topology.settings import Settings

SBIN = "NSE:3045"

Answering = Callable[..., None]


def fed(written: WrittenLog, clock_ms: int) -> None:
    """A feed has written up to this time."""
    written.write(0, written.frame(clock_ms, commands=written.log.commands), derive=0)


def read(settings: Settings) -> topics.Log:
    return asyncio.run(topics.read(settings.bootstrap, settings.namespace))


async def tell(written: WrittenLog, *events: tuple[str, str]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=written.settings.bootstrap) as producer:
        for kind, detail in events:
            event = FeedEvent(VERSION, written.log.header.log, 1_669_132_800_000, kind, None, detail)
            await producer.send_and_wait(written.log.topic(FEED_EVENTS), encode(event), partition=0)


@pytest.fixture
def answering(written: WrittenLog) -> Iterator[Answering]:
    """A feed that answers a request with events; ``{0}`` in their details is its number, ``{1}`` the one before."""
    threads = []

    async def answer(events: tuple[tuple[str, str], ...]) -> None:
        while not (requests := (await topics.read(written.settings.bootstrap, written.settings.namespace)).requests):
            await asyncio.sleep(0.05)
        number = requests[-1].id
        await tell(written, *((kind, detail.format(number, number - 1)) for kind, detail in events))

    def start(*events: tuple[str, str]) -> None:
        thread = threading.Thread(target=lambda: asyncio.run(answer(events)))
        thread.start()
        threads.append(thread)

    yield start
    for thread in threads:
        thread.join()


def test_without_a_feed_the_request_is_written_and_said_to_wait(
    topology: CommandLine, settings: Settings, written: WrittenLog
) -> None:
    for number, (argv, wanted) in enumerate(
        [([SBIN, "1:2885", "--reset"], ([SBIN, "NSE:2885"], True)), ([], ([], False))], start=2
    ):
        done = topology(settings, "warmup", *argv)
        assert done.code == 0
        assert done.lines == [f"request {number} is written to the log; no feed runs: it is done when one is started"]
        record = written.records(COMMANDS, 0)[-1]
        assert (record.key, record.offset) == (WARMUP, number)
        assert read(settings).requests[-1] == Warmup(number, *wanted)


def test_a_feed_that_has_stopped_long_ago_is_none(
    topology: CommandLine, settings: Settings, written: WrittenLog
) -> None:
    fed(written, now_ms() - 60_000)
    assert "no feed runs" in topology(settings, "warmup").out


def test_what_comes_is_followed_until_the_request_is_done(
    topology: CommandLine, settings: Settings, written: WrittenLog, answering: Answering
) -> None:
    fed(written, now_ms() + 60_000)
    asyncio.run(tell(written, ("history", "of yesterday"), ("warmed", "request 99 is done")))
    answering(
        ("warmed", "request {1} is done"), ("gap", "of a socket"), ("history", "850 candles filled in: NSE:3045"),
        ("warmed", "request {0} is done"), ("history", "of later"),
    )  # fmt: skip
    done = topology(settings, "warmup", SBIN)
    assert done.code == 0
    assert done.lines == [
        "request 2 is written to the log, and the feed asks the broker; Ctrl-C leaves it alone with it",
        "21:30:00 request 1 is done",
        "21:30:00 850 candles filled in: NSE:3045",
        "21:30:00 request 2 is done",
    ]


def test_a_feed_that_stops_meanwhile_is_not_waited_for(
    topology: CommandLine, settings: Settings, written: WrittenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warmup, "QUIET_MS", 300)
    monkeypatch.setattr(warmup, "RUNS_WITHIN_MS", 60_000)
    fed(written, now_ms() - 1_000)
    done = topology(settings, "warmup")
    assert (done.code, done.lines[1:]) == (0, ["the feed has stopped: it goes on when it is started again"])


@pytest.mark.parametrize(("argv", "said"), [(["SBIN-EQ"], "no instrument master"), (["NSE:x1"], "'NSE:x1'")])
def test_what_is_no_instrument_is_refused_in_one_line(
    topology: CommandLine, settings: Settings, written: WrittenLog, argv: list[str], said: str
) -> None:
    done = topology(settings, "warmup", *argv)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert said in done.err
    assert read(settings).requests == []


def test_without_a_log_it_says_how_to_make_one(topology: CommandLine, settings: Settings) -> None:
    done = topology(settings, "warmup")
    assert done.code == 1
    assert "topology topics create" in done.err


def test_requests_and_configurations_share_a_topic_and_know_each_other_apart(
    topology: CommandLine, settings: Settings, written: WrittenLog
) -> None:
    first = written.log.configuration
    assert (read(settings).newest, read(settings).requests) == (1, [])
    topology(settings, "warmup", SBIN)
    assert read(settings).configuration == first
    assert "nothing to do" in topology(settings, "configure").out
    changed = msgspec.structs.replace(first, lateness_ms=2_000)
    asyncio.run(topics.command(settings.bootstrap, settings.namespace, changed))
    topology(settings, "warmup", "--reset")
    log = read(settings)
    assert [command.id for command in log.commands] == [1, 3]
    assert log.requests == [Warmup(2, [SBIN], False), Warmup(4, [], True)]
    assert log.newest == 4, "where a feed that starts now goes on reading"
    assert log.configuration == msgspec.structs.replace(changed, id=3)
    assert "allowed lateness: 2000 ms -> 1000 ms" in topology(settings, "configure").out
    lines = [msgspec.json.decode(line) for line in topology(settings, "tail", "commands").lines]
    assert lines[2] == {"partition": 0, "offset": 2, "id": 2, "instruments": [SBIN], "reset": False}
    assert lines[3]["lateness_ms"] == 2_000
    assert lines[4]["reset"] is True
    assert len(lines) == 6


@pytest.mark.parametrize("key", [None, WARMUP])
def test_a_record_that_is_no_command_is_named(
    topology: CommandLine, settings: Settings, written: WrittenLog, key: bytes | None
) -> None:
    async def spoil() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
            await producer.send_and_wait(written.log.topic(COMMANDS), b"\x93\x01", key=key, partition=0)

    asyncio.run(spoil())
    done = topology(settings, "warmup")
    assert done.code == 1
    assert f"the record at offset 2 of {settings.namespace}.commands is no command" in done.err
