from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.cli.checks.conftest import Serve
from topology.cli.checks import Severity
from topology.cli.checks.services import broker, memory_for_streams, redis
from topology.configuration.environment import from_settings
from topology.embedded import Kafka, Valkey
from topology.embedded.loopback import LOOPBACK, free_port
from topology.kafka import broker_log
from topology.settings import Address, Settings

PASSWORD = "p4sSw0rd-p4sSw0rd"
GB = 1024 * 1024 * 1024


# -- The broker.


@pytest.fixture
def with_broker(settings: Settings, kafka: Kafka) -> Settings:
    return replace(settings, broker_url=kafka.url, namespace=f"doctor-{uuid.uuid4().hex[:8]}", topic_partitions=2)


@pytest.fixture
def with_log(with_broker: Settings) -> Settings:
    asyncio.run(broker_log.create(with_broker.bootstrap, with_broker.namespace, 2, from_settings(with_broker)))
    return with_broker


def test_a_broker_with_a_log_is_ok(with_log: Settings) -> None:
    (finding,) = broker(with_log)
    assert finding.level is Severity.OK
    assert "2 partitions" in finding.found


def test_a_log_with_another_number_of_partitions_is_bad(with_log: Settings) -> None:
    (finding,) = broker(replace(with_log, topic_partitions=4))
    assert finding.level is Severity.BAD
    assert finding.advice == "set TOPIC_PARTITIONS=2"


def test_a_broker_without_topics_is_bad_and_the_command_is_named(with_broker: Settings) -> None:
    (finding,) = broker(with_broker)
    assert finding.level is Severity.BAD
    assert finding.advice == "run `topology topics create`"


def test_no_broker_is_bad(settings: Settings) -> None:
    ports = [free_port(), free_port()]
    addresses = ",".join(f"{LOOPBACK}:{port}" for port in ports)
    (finding,) = broker(replace(settings, broker_url=f"kafka://{addresses}"))
    assert finding.level is Severity.BAD
    assert addresses in finding.found
    assert "BROKER_URL" in finding.advice


def test_what_is_no_broker_is_bad(settings: Settings, serve: Serve) -> None:
    (finding,) = broker(replace(settings, broker_url=f"kafka://{LOOPBACK}:{serve()}"))
    assert finding.level is Severity.BAD
    assert finding.advice


# -- Redis.


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey that asks for a password."""
    server = Valkey(tmp_path_factory.mktemp("locked"), free_port(), password=PASSWORD)
    server.start()
    yield server
    server.stop()


def test_redis_is_ok_and_has_its_memory_looked_at(settings: Settings, valkey: Valkey) -> None:
    here = replace(settings, redis_addr=Address(LOOPBACK, valkey.port), redis_streams_mb=1)
    reached, memory = redis(here)
    assert (reached.level, memory.level) == (Severity.OK, Severity.OK)
    assert "no maxmemory" in memory.found
    _, memory = redis(replace(here, redis_streams_mb=1_048_576_000))
    assert memory.level is Severity.BAD


def test_no_redis_is_bad(settings: Settings) -> None:
    (finding,) = redis(replace(settings, redis_addr=Address(LOOPBACK, free_port())))
    assert finding.level is Severity.BAD
    assert "REDIS_ADDR" in finding.advice


def test_what_is_no_redis_is_bad(settings: Settings, serve: Serve) -> None:
    (finding,) = redis(replace(settings, redis_addr=Address(LOOPBACK, serve())))
    assert finding.level is Severity.BAD


@pytest.mark.parametrize("given", ["", f"{PASSWORD}!"])
def test_a_wrong_password_of_redis_is_bad_and_not_shown(given: str, settings: Settings, locked: Valkey) -> None:
    here = replace(settings, redis_addr=Address(LOOPBACK, locked.port))
    (finding,) = redis(replace(here, redis_password=given))
    assert finding.level is Severity.BAD
    assert "REDIS_PASSWORD" in finding.advice
    assert PASSWORD not in str(finding)
    assert redis(replace(here, redis_password=PASSWORD))[0].level is Severity.OK


def test_a_password_for_a_redis_that_wants_none_is_bad_or_taken_and_not_shown(
    settings: Settings, valkey: Valkey
) -> None:
    findings = redis(replace(settings, redis_addr=Address(LOOPBACK, valkey.port), redis_password=PASSWORD))
    assert PASSWORD not in str(findings)


@pytest.mark.parametrize(
    ("limit", "policy", "machine", "level"),
    [
        (0, "noeviction", 8 * GB, Severity.OK),
        (0, "allkeys-lru", 8 * GB, Severity.OK),  # without a limit nothing is evicted
        (0, "noeviction", 3 * GB, Severity.WARN),
        (0, "noeviction", 2 * GB, Severity.BAD),
        (4 * GB, "noeviction", 2 * GB, Severity.OK),
        (4 * GB, "volatile-lru", 8 * GB, Severity.OK),
        (4 * GB, "allkeys-lru", 8 * GB, Severity.BAD),
        (2 * GB, "noeviction", 8 * GB, Severity.BAD),
        (1, "noeviction", 8 * GB, Severity.BAD),
    ],
)
def test_two_gigabytes_of_streams_must_fit_and_not_be_evicted(
    limit: int, policy: str, machine: int, level: Severity
) -> None:
    finding = memory_for_streams(2_048, limit_bytes=limit, policy=policy, machine_bytes=machine)
    assert finding.level is level
    assert bool(finding.advice) == (level is not Severity.OK)
