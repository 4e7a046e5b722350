from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.errors import TopicAlreadyExistsError
from hypothesis import given
from hypothesis import strategies as st

from tables.state import Row, changelog_of
from tests.cli.conftest import CommandLine, WrittenLog
from topology.configuration.difference import differences, label
from topology.configuration.environment import from_settings
from topology.kafka import clients
from topology.log.candle_stage import CandlesCore, CandleStage
from topology.log.frames import VERSION, Configure, TickFrame, encode
from topology.log.partition import partition_of
from topology.market.ticks import Tick
from topology.settings import Settings

OPEN_MS = 1_669_088_700_000
PARTITIONS = 2
NIFTY = "NSE:99926000"

SPECS = st.lists(st.sampled_from(["SMA:9", "SMA:20", "EMA:21", "RSI:14"]), unique=True)
NSE, ALWAYS_OPEN = (
    from_settings(Settings.from_env({"TOPOLOGY_NAMESPACE": namespace})).calendar for namespace in ("live", "sim")
)
CONFIGURATIONS = st.builds(
    Configure,
    id=st.integers(0, 9),
    timeframes=st.dictionaries(st.sampled_from([60, 120, 300]), SPECS),
    classes=st.just({}),
    calendar=st.sampled_from([NSE, ALWAYS_OPEN]),
    lateness_ms=st.sampled_from([0, 1000]),
)
CURRENT = from_settings(Settings.from_env({"ENABLED_TFS": "60,120,300", "INDICATOR_CONFIGS": "SMA:9,RSI:14"}))


def meaning(configuration: Configure) -> object:
    timeframes = {seconds: set(specs) for seconds, specs in configuration.timeframes.items()}
    return timeframes, configuration.calendar, configuration.lateness_ms


@given(CONFIGURATIONS, CONFIGURATIONS)
def test_there_are_differences_just_where_something_else_would_be_computed(
    current: Configure, wanted: Configure
) -> None:
    assert (differences(current, wanted) == []) == (meaning(current) == meaning(wanted))


def test_the_environment_becomes_a_configuration() -> None:
    settings = Settings.from_env({"ENABLED_TFS": "300,60", "INDICATOR_CONFIGS": "ema:9", "ALLOWED_LATENESS_MS": "500"})
    wanted = from_settings(settings)
    assert wanted.timeframes == {60: ["EMA:9"], 300: ["EMA:9"]}
    assert (wanted.lateness_ms, wanted.classes) == (500, {})
    assert label(wanted.calendar).startswith("NSE and BSE")


def test_differences_are_told_by_timeframe_and_those_alike_in_one_line() -> None:
    wanted = msgspec.structs.replace(
        CURRENT,
        timeframes={60: ["SMA:9", "SMMA:14"], 120: ["SMMA:14", "SMA:9"], 900: ["EMA:9"]},
        lateness_ms=2000,
        calendar=ALWAYS_OPEN,
    )
    assert differences(CURRENT, wanted) == [
        "timeframe 60 s, 120 s: SMMA_14 added; RSI_14 removed",
        "timeframe 300 s: removed",
        "timeframe 900 s: added, with EMA_9",
        "allowed lateness: 1000 ms -> 2000 ms",
        f"calendar: {label(NSE)} -> {label(ALWAYS_OPEN)}",
    ]


def test_a_log_is_made_once_and_its_topics_are_named(topology: CommandLine, settings: Settings) -> None:
    first, second = topology(settings, "topics", "create"), topology(settings, "topics", "create")
    assert first.code == second.code == 0
    made = [line.removeprefix("made ") for line in first.lines if line.startswith("made ")]
    assert f"{settings.namespace}.ticks" in made
    assert len(made) == 7
    assert "2 partitions" in first.lines[-1]
    assert "exists already" in second.out
    assert first.lines[-1].split()[1] == second.lines[0].split()[1]


def test_making_topics_again_reports_what_the_environment_asks_for_now(
    topology: CommandLine, settings: Settings
) -> None:
    topology(settings, "topics", "create")
    again = topology(replace(settings, indicators=("SMA:2",)), "topics", "create")
    assert again.code == 0
    assert "`topology configure`" in again.out
    assert "  timeframe 60 s, 300 s: EMA_2 removed" in again.lines


def test_another_number_of_partitions_is_refused(topology: CommandLine, settings: Settings) -> None:
    topology(settings, "topics", "create")
    again = topology(replace(settings, topic_partitions=3), "topics", "create")
    assert again.code == 1
    assert "TOPIC_PARTITIONS=3" in again.err


def test_configure_applies_the_difference_once(topology: CommandLine, settings: Settings) -> None:
    topology(settings, "topics", "create")
    changed = replace(settings, indicators=("SMA:2", "EMA:2", "RSI:3"))
    assert "nothing to do" in topology(settings, "configure").out
    applied = topology(changed, "configure")
    assert applied.code == 0
    assert "  timeframe 60 s, 300 s: RSI_3 added" in applied.lines
    assert "every partition" in applied.lines[-1]
    assert "nothing to do" in topology(changed, "configure").out
    assert "RSI_3 removed" in topology(settings, "configure").out
    assert len(topology(settings, "tail", "commands").lines) == 4


def without(settings: Settings, tmp_path: Path, instrument_class: str) -> Settings:
    """Settings with a calendar that doesn't know a class."""
    document = json.loads(settings.calendar_text())
    for row in document["regular"]:
        row["classes"] = [name for name in row["classes"] if name != instrument_class]
    path = tmp_path / "calendar.json"
    path.write_text(json.dumps(document))
    return replace(settings, calendar_file=path)


def test_configure_refuses_what_the_stages_would_for_an_instrument_that_is_subscribed(
    topology: CommandLine, settings: Settings, tmp_path: Path
) -> None:
    topology(settings, "topics", "create")
    refused = topology(without(settings, tmp_path, "index"), "configure")
    assert refused.code == 1
    assert len(refused.err.splitlines()) == 1
    assert "NSE:99926000: the instrument class 'index' is not covered by the calendar" in refused.err
    assert refused.out == ""
    assert len(topology(settings, "tail", "commands").lines) == 2


def test_configure_refuses_what_the_stages_would_for_an_instrument_that_they_have_kept(
    topology: CommandLine, written: WrittenLog, tmp_path: Path
) -> None:
    settings, stage = written.settings, CandleStage(written.log.header.log, 0)
    commands = list(written.log.commands)
    written.write(1, written.frame(OPEN_MS, [Tick("NFO:35003", 100, OPEN_MS)], commands))
    frame = written.stored[0].frame
    assert isinstance(frame, TickFrame)
    stage.apply(0, frame, live=False)
    changed = without(settings, tmp_path, "derivative")
    asyncio.run(keep(settings, Row(VERSION, 0, stage.state())))
    refused = topology(changed, "configure")
    assert refused.code == 1
    assert "NFO:35003: the instrument class 'derivative' is not covered by the calendar" in refused.err
    asyncio.run(keep(settings, Row(VERSION, 0, msgspec.structs.replace(stage.state(), log="another"))))
    assert topology(changed, "configure").code == 0


def test_a_timeframe_that_configure_adds_is_given_what_the_archive_has(
    topology: CommandLine, written: WrittenLog, settings: Settings
) -> None:
    minutes = [Tick(NIFTY, 100 + number, OPEN_MS + number * 60_000) for number in range(25)]
    clock_ms = OPEN_MS + 25 * 60_000 + 1000
    written.write(partition_of(NIFTY, PARTITIONS), written.frame(clock_ms, minutes, written.log.commands))
    written.archive()
    changed = replace(settings, enabled_tfs=(60, 300, 600))
    assert topology(changed, "configure").code == 0
    line = json.loads(topology(changed, "tail", "commands").lines[-1])
    assert line == {"partition": 0, "offset": 3, "id": 3, "history": [f"{NIFTY}: 2 candles of 600 s"]}
    assert "nothing to do" in topology(changed, "configure").out
    assert topology(changed, "status").code == 0


def test_an_archive_that_cannot_be_used_keeps_no_configuration_from_the_log(
    topology: CommandLine, settings: Settings
) -> None:
    topology(settings, "topics", "create")
    settings.sqlite_path.write_text("no archive, but a text of some length")
    done = topology(replace(settings, enabled_tfs=(60, 300, 600)), "configure")
    assert done.code == 0
    assert "  without history: " in done.out
    assert "timeframe 600 s: added" in done.out


async def keep(settings: Settings, row: Row[CandlesCore]) -> None:
    """Write a row as the first stage's newest checkpoint of partition 1."""
    changelog = changelog_of(f"{settings.namespace}.pipeline", "candles")
    async with clients.admin(settings.bootstrap) as admin:
        with suppress(TopicAlreadyExistsError):
            await admin.create_topics([NewTopic(changelog, PARTITIONS, 1)])
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
        await producer.send_and_wait(changelog, encode(row), partition=1, key=b"1")


def test_configure_without_a_log_says_how_to_make_one(topology: CommandLine, settings: Settings) -> None:
    done = topology(settings, "configure")
    assert done.code == 1
    assert "topology topics create" in done.err
