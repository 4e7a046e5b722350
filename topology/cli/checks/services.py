"""What everything stands on: the log's broker, and Redis with room for the streams."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka.errors import KafkaError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from topology.cli.checks import CONNECT_S, Finding, bad, ok, warn
from topology.embedded import kafka
from topology.kafka import broker_log
from topology.kafka.errors import LogError
from topology.settings import Settings

BROKER, REDIS, MEMORY = "broker", "redis", "redis memory"
MB = 1024 * 1024
TIGHT, FULL = 0.5, 0.9
"""The part of this machine's memory that the streams may take before it is a warning, and bad."""


def broker(settings: Settings) -> list[Finding]:
    """Whether the broker answers, and its topics are those of a log that these settings can use."""
    if not any(_answers(address) for address in settings.bootstrap.split(",")):
        advice = "start one (`topology up` does), or set BROKER_URL"
        return [bad(BROKER, f"no broker answers at {settings.bootstrap}", advice)]
    try:
        header = asyncio.run(broker_log.read(settings.bootstrap, settings.namespace)).header
    except LogError as error:
        found, _, advice = str(error).rpartition(": ")
        return [bad(BROKER, found, advice)]
    except KafkaError as error:
        return [bad(BROKER, f"it does not do what was asked ({type(error).__name__})", "look at the broker's log")]
    found = f"{settings.bootstrap} has the log {header.log}, {header.partitions} partitions"
    if header.partitions != settings.topic_partitions:
        return [bad(BROKER, found, f"set TOPIC_PARTITIONS={header.partitions}")]
    return [ok(BROKER, found)]


def redis(settings: Settings) -> list[Finding]:
    """Whether Redis answers, and what it does with its memory suits the streams."""
    host, port = settings.redis_addr
    client = Redis(
        host=host,
        port=port,
        db=settings.redis_db,
        password=settings.redis_password or None,
        socket_timeout=CONNECT_S,
        socket_connect_timeout=CONNECT_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        memory: dict[str, Any] = client.info("memory")
    except AuthenticationError:
        return [bad(REDIS, f"{settings.redis_addr} refuses the password", "set REDIS_PASSWORD to what it wants")]
    except (RedisError, OSError) as error:
        advice = "start one (`topology up` does), or set REDIS_ADDR"
        return [bad(REDIS, f"no Redis can be used at {settings.redis_addr} ({type(error).__name__})", advice)]
    finally:
        client.close()
    room = memory_for_streams(
        settings.redis_streams_mb,
        limit_bytes=int(memory["maxmemory"]),
        policy=str(memory["maxmemory_policy"]),
        machine_bytes=int(memory.get("total_system_memory", 0)),
    )
    return [ok(REDIS, f"{settings.redis_addr} answers, database {settings.redis_db}"), room]


def memory_for_streams(streams_mb: int, *, limit_bytes: int, policy: str, machine_bytes: int) -> Finding:
    """Whether the streams fit into Redis: below its limit, or where it has none (0), into the machine it runs on."""
    setting = f"REDIS_STREAMS_MB={streams_mb}"
    if limit_bytes:
        found = f"{setting}, maxmemory {limit_bytes // MB} MB, {policy}"
        if policy.startswith("allkeys"):
            return bad(MEMORY, f"{found}: streams would vanish", "set maxmemory-policy noeviction in Redis")
        if streams_mb * MB > limit_bytes * FULL:
            return bad(MEMORY, found, f"raise maxmemory to {streams_mb * 5 // 4} MB, or lower REDIS_STREAMS_MB")
        return ok(MEMORY, found)
    found = f"{setting}, no maxmemory, {machine_bytes // MB:,} MB in the machine"
    advice = "lower REDIS_STREAMS_MB, or give the machine more memory"
    if streams_mb * MB > machine_bytes * FULL:
        return bad(MEMORY, found, advice)
    return warn(MEMORY, found, advice) if streams_mb * MB > machine_bytes * TIGHT else ok(MEMORY, found)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    return kafka.answers(host.strip("[]"), int(port))
