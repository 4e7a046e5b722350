"""The log as others see it: topics, groups and tables by name, and records byte by byte."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.wire import samples
from tests.wire.inside import (
    LIVE,
    SIM,
    Backfill,
    FrameContent,
    Kafka,
    Settings,
    TickLogWriter,
    Warmup,
    append_command,
    build,
    command_line,
    configuration_of,
    create_log,
    encode,
    free_port,
    kafka_admin,
    partition_of,
)
from tests.wire.written import LISTS, check, shape

DYNAMIC = 1  # where a configuration of a topic comes from: it was set with the topic


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker of one's own: the names of a log are the system's."""
    kafka = Kafka(tmp_path_factory.mktemp("wire"), free_port())
    kafka.start(print)
    yield kafka
    kafka.kill()


@pytest.fixture(scope="module")
def logs(broker: Kafka) -> Kafka:
    """The broker with a live and a simulated log, in which nothing has happened yet."""
    for namespace in (LIVE, SIM):
        settings = Settings.from_env({"TOPOLOGY_NAMESPACE": namespace})
        asyncio.run(create_log(broker.bootstrap, namespace, settings.topic_partitions, configuration_of(settings)))
    return broker


async def test_topics_have_the_names_partitions_and_configurations_that_are_written(logs: Kafka) -> None:
    found = {}
    async with kafka_admin(logs.bootstrap) as admin:
        described = {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics()}
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in described]
        for answer in await admin.describe_configs(wanted):
            for _, _, _, name, configurations in answer.resources:
                set_here = {key: value for key, value, _, source, *_ in configurations if source == DYNAMIC}
                found[name] = {"partitions": described[name], **dict(sorted(set_here.items()))}
    check("topics", dict(sorted(found.items())))


def test_apps_groups_and_changelogs_have_the_names_that_are_written(tmp_path: Path) -> None:
    found: dict[str, Any] = {}
    for namespace in (LIVE, SIM):
        for role in ("pipeline", "feed", "mirror", "archive", "jsonl", "gateway"):
            env = {
                "TOPOLOGY_NAMESPACE": namespace,
                "TOPOLOGY_ROLE": role,
                "DATA_DIR": str(tmp_path),
                "METRICS_ADDR": ":1",
            }
            app = build(Settings.from_env(env))
            told: dict[str, Any] = {"group": app.conf.id, "folder": str(app.conf.datadir).removeprefix(f"{tmp_path}/")}
            told["agents"] = {name: sorted(agent.channel.topics) for name, agent in app.agents.items()}
            for name, table in app.tables.items():
                topic = table.changelog_topic
                about = {"changelog": topic.get_topic_name(), "partitions": topic.partitions, **(topic.config or {})}
                told.setdefault("tables", {})[name] = about
            found[f"{namespace} {role}"] = told
    check("apps", found)


async def test_records_are_placed_keyed_and_dated_as_it_is_written(logs: Kafka) -> None:
    settings = Settings.from_env({"TOPOLOGY_NAMESPACE": SIM})
    await append_command(logs.bootstrap, SIM, Warmup(0, [samples.STOCK], True))
    await append_command(logs.bootstrap, SIM, Backfill(0, [samples.HISTORY]))
    log = await create_log(logs.bootstrap, SIM, settings.topic_partitions, configuration_of(settings))
    async with TickLogWriter(logs.bootstrap, log) as writer:
        clock_ms = samples.AT_MS
        await writer.write([samples.TICK], clock_ms, everywhere=True)
        await writer.write_partition(0, FrameContent(), clock_ms + 1)
        await writer.event(samples.EVENT)
        await writer.flush()
    dated = {0: "before the first clock", samples.AT_MS: "the clock", samples.AT_MS + 1: "the later clock"}
    found: dict[str, Any] = {"partition of": {name: partition_of(name, 4) for name in (samples.INDEX, samples.STOCK)}}
    async for record in _records(logs.bootstrap, SIM):
        value = zlib.decompress(record.value) if record.key == b"backfill" else record.value
        about = {
            "key": None if record.key is None else record.key.decode(), "headers": list(record.headers),
            "compressed": value != record.value, "elements": len(msgspec.msgpack.decode(value)),
        }  # fmt: skip
        if record.topic != "sim.commands":
            about["dated"] = dated[record.timestamp]
        found[f"{record.topic} {record.partition} {record.offset}"] = about
    check("placed", found)


async def _records(bootstrap: str, namespace: str) -> AsyncIterator[Any]:
    async with kafka_admin(bootstrap) as admin:
        found = {one["topic"]: len(one["partitions"]) for one in await admin.describe_topics()}
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await reader.start()
    try:
        for name in sorted(name for name in found if name.startswith(f"{namespace}.")):
            places = [TopicPartition(name, number) for number in range(found[name])]
            for place, end in sorted((await reader.end_offsets(places)).items()):
                reader.assign([place])
                reader.seek(place, 0)
                for _ in range(end):
                    yield await reader.getone(place)
    finally:
        await reader.stop()


def test_records_and_rows_are_the_bytes_that_are_written() -> None:
    found: dict[str, Any] = {}
    everything = {f"commands: {name}": (one, type(one)) for name, one in samples.COMMANDS.items()}
    everything |= {name: (one, type(one)) for name, one in samples.STAGES.items()}
    everything |= {f"table {name}": of for name, of in samples.ROWS.items()}
    for name, (record, kind) in everything.items():
        encoded = encode(record)
        assert msgspec.msgpack.decode(encoded, type=kind) == record, name
        found[name] = {"holds": list(map(repr, msgspec.msgpack.decode(encoded))), "bytes": encoded.hex()}
    check("records", found)


def test_what_was_written_once_is_read_as_what_it_was() -> None:
    written = json.loads((LISTS / "records.json").read_text())
    for name, one in {**samples.COMMANDS, **samples.STAGES}.items():
        held = written.get(name) or written[f"commands: {name}"]
        assert msgspec.msgpack.decode(bytes.fromhex(held["bytes"]), type=type(one)) == one, name
    for name, (row, kind) in samples.ROWS.items():
        assert msgspec.msgpack.decode(bytes.fromhex(written[f"table {name}"]["bytes"]), type=kind) == row, name


def test_tail_and_status_print_the_fields_that_are_written(
    logs: Kafka, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asyncio.run(_put(logs.bootstrap))
    variables = {"BROKER_URL": logs.url, "DATA_DIR": str(tmp_path), "REDIS_ADDR": f":{free_port()}"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SQLITE_PATH", raising=False)
    found: dict[str, Any] = {}
    for topic in (*samples.STAGES, "commands"):
        assert command_line(["tail", topic, "--count", "9"]) == 0
        found[topic] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    header, configuration, *_ = found["commands"]
    header["log"], configuration["calendar"] = "12 hexadecimal digits", "name and version"
    check("tail", found)
    assert command_line(["status", "--json"]) == 0
    check("status", shape(json.loads(capsys.readouterr().out)))


async def _put(bootstrap: str) -> None:
    """Write a record of each kind where it belongs."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    for stage, record in samples.STAGES.items():
        await producer.send_and_wait(f"{LIVE}.{stage}", encode(record), partition=0, timestamp_ms=samples.AT_MS)
    await producer.stop()
    await append_command(bootstrap, LIVE, samples.COMMANDS["warmup"])
    await append_command(bootstrap, LIVE, samples.COMMANDS["backfill"])
