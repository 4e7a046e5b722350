"""The row of a partition: in a real RocksDB, through a real changelog, and as large as it gets."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import faust
import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from hypothesis import given
from hypothesis import strategies as st

from agents.frame_producer import FrameProducer
from tables.state import MAX_RECORD_BYTES, CandlesRow, IndicatorsRow, Row, StateTable, changelog_of
from topology.configuration.environment import from_settings
from topology.embedded import Kafka
from topology.indicators import KEPT_CLOSES
from topology.kafka import broker_log, clients, topics
from topology.log.candle_stage import CandlesCore
from topology.log.frames import CANDLES, VERSION, FrameError, TimeframeFrame, encode
from topology.log.indicator_stage import IndicatorStage
from topology.log.stage import StageState
from topology.market.candle import Candle
from topology.settings import Settings

LOG = "log"
INSTRUMENTS = 1250  # of 5,000, on one of four partitions
LARGEST = 15_900_000


class Changelog:
    """Takes records as the outbox does, and notes what the local store holds at that moment."""

    def __init__(self, table: StateTable[Any] | None = None) -> None:
        self.table = table
        self.records: list[tuple[str, bytes, int, bytes]] = []
        self.local: list[Row[Any] | None] = []

    async def __call__(self, topic: str, value: bytes, *, partition: int, key: bytes) -> int:
        self.records.append((topic, value, partition, key))
        if self.table is not None:
            self.local.append(self.table.load(partition))
        return 41


def table_in(folder: Path, row: Any = CandlesRow, name: str = "candles", **options: Any) -> StateTable[Any]:
    app = faust.App(
        "test.state", store="rocksdb://", datadir=str(folder), topic_partitions=4, autodiscover=False, **options
    )
    return StateTable(app, name, row, partitions=4)


def row_at(offset: int, position: int, clock_ms: int = 0) -> CandlesRow:
    core = CandlesCore(1, 2, clock_ms, None)
    return CandlesRow(VERSION, offset, StageState(VERSION, LOG, 3, position, None, core))


async def test_a_row_comes_back_as_it_was_and_those_of_other_partitions_stay(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    await table.save(0, row_at(7, 5), Changelog())
    await table.save(1, row_at(8, 6), Changelog())
    await table.save(0, row_at(9, 7), Changelog())
    assert [table.load(partition) for partition in range(3)] == [row_at(9, 7), row_at(8, 6), None]


async def test_a_row_is_in_the_local_store_before_it_goes_into_the_changelog(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    changelog = Changelog(table)
    await table.save(2, row_at(7, 5), changelog)
    assert changelog.local == [row_at(7, 5)]
    assert changelog.records == [(changelog_of("test.state", "candles"), encode(row_at(7, 5)), 2, b"2")]


async def test_the_store_knows_up_to_where_it_holds_the_changelog(tmp_path: Path) -> None:
    table = table_in(tmp_path)
    await table.save(2, row_at(7, 5), Changelog())
    place = faust.types.TP("test.state-candles-changelog", 2)
    assert table._all.persisted_offset(place) == 41


@given(clock_ms=st.integers(-(2**63), 2**63 - 1), offset=st.integers(0, 2**62))
def test_a_row_survives_its_own_bytes(clock_ms: int, offset: int) -> None:
    row = row_at(offset, offset, clock_ms)
    assert decoded(CandlesRow, encode(row)) == row


def decoded(kind: Any, record: bytes) -> Any:
    table: StateTable[Any] = StateTable.__new__(StateTable)
    StateTable.__init__(table, _NoApp(record), "candles", kind, partitions=4)  # type: ignore[arg-type]
    return table.load(0)


class _NoApp:
    """An app whose table holds one record in every partition."""

    name = "candles"

    def __init__(self, record: bytes) -> None:
        self._record = record
        self.data = self

    def Table(self, *_: Any, **__: Any) -> _NoApp:  # noqa: N802
        return self

    def _db_for_partition(self, _partition: int) -> _NoApp:
        return self

    def get(self, _key: bytes) -> bytes:
        return self._record


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (encode(Row(VERSION + 1, 7, row_at(7, 5).state)), f"a row of version {VERSION + 1} in table candles"),
        (b"\xc1", "the row of partition 0 in table candles"),
        (
            encode(Row(VERSION, 7, None)),  # type: ignore[arg-type] # what is refused
            "the row of partition 0 in table candles",
        ),
    ],
)
def test_a_row_of_another_format_is_refused(record: bytes, said: str) -> None:
    with pytest.raises(FrameError, match=said):
        decoded(CandlesRow, record)


# As large as it gets


@pytest.fixture(scope="module")
def full_row() -> IndicatorsRow:
    """The indicators of a quarter of 5,000 instruments, with all closes that are kept: one instrument, many times."""
    configuration = from_settings(Settings.from_env({}))
    stage = IndicatorStage(LOG, 0)
    commands = [configuration]
    for position in range(KEPT_CLOSES):
        price = 2_000_000 + position * 37 % 1009
        candles = [
            Candle("NSE:1", seconds, 0, price, price, price, price, 0, 1) for seconds in configuration.timeframes
        ]
        stage.apply(position, TimeframeFrame(VERSION, LOG, 0, position, 0, commands, "", candles, []), live=False)
        commands = []
    state = stage.state()
    core = [
        msgspec.structs.replace(series, instrument=f"NSE:{100_000 + number}")
        for number in range(INSTRUMENTS)
        for series in state.core
    ]
    return IndicatorsRow(VERSION, KEPT_CLOSES, msgspec.structs.replace(state, core=core))


async def test_the_largest_row_fits_into_a_record_and_comes_back(full_row: IndicatorsRow, tmp_path: Path) -> None:
    assert len(full_row.state.core) == 4 * INSTRUMENTS
    assert {len(series.indicators) for series in full_row.state.core} == {7}
    record = encode(full_row)
    assert len(record) < MAX_RECORD_BYTES
    table = table_in(tmp_path, IndicatorsRow, "indicators")
    await table.save(0, full_row, Changelog())
    found = table.load(0)
    assert found is not None
    assert encode(found) == record
    again = IndicatorStage(LOG, 0)
    again.restore(found.state)
    assert encode(again.state()) == encode(full_row.state)


async def test_a_row_and_a_frame_of_16_mb_pass_producer_topics_and_consumer(kafka: Kafka, tmp_path: Path) -> None:
    namespace = f"large-{uuid.uuid4().hex[:8]}"
    await broker_log.create(kafka.bootstrap, namespace, 1, from_settings(Settings.from_env({})))
    changelog = table_in(tmp_path, name=namespace)._table.changelog_topic
    name = changelog.get_topic_name()
    async with clients.admin(kafka.bootstrap) as admin:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs=dict(changelog.config or {}))])
    row, frame = b"r" * LARGEST, b"f" * LARGEST
    outbox = FrameProducer(kafka.bootstrap)
    await outbox.start()
    assert await outbox.deliver(name, row, partition=0, key=b"0") == 0
    await (await outbox.send(topics.topic(namespace, CANDLES), frame, partition=0, time_ms=0))
    await outbox.stop()
    assert await last_value(kafka, name) == row
    assert await last_value(kafka, topics.topic(namespace, CANDLES)) == frame


async def last_value(kafka: Kafka, topic: str) -> bytes | None:
    async with clients.consumer(kafka.bootstrap) as reader:
        record = await clients.last_record(reader, TopicPartition(topic, 0))
        return None if record is None else record.value
