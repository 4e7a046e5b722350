"""What nobody may read: neither where the feed writes, nor what tells of it, holds a secret."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from aiokafka import TopicPartition

from tests.support.cluster import PLAIN, ROOT
from tests.support.feed_cluster import FeedCluster, simulated
from tests.support.until import until
from topology.embedded import free_port
from topology.kafka import clients, topics
from topology.settings import SIM
from topology.simulator.session import IssuedTokens, Sessions

ACCOUNT = {
    "ANGEL_API_KEY": "kXq7TzWv", "ANGEL_CLIENT_CODE": "Z99417", "ANGEL_PASSWORD": "8362915",
    "ANGEL_TOTP_SECRET": "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U",
}  # fmt: skip
TELEGRAM, HOOK = "704418:AAHsecretbotname", "https://127.0.0.1:1/hooks/5up3r53cr37"
CHANNELS = {"TELEGRAM_BOT_TOKEN": TELEGRAM, "TELEGRAM_CHAT_ID": "-100200", "NOTIFY_WEBHOOK_URL": HOOK}
FAULTS = ["expire-session", "abort", "rate-limit:for=3s,answer=403", "garbage:for=1s"]
WRONG = "7041991"
WITH_WEB = tuple(option for option in PLAIN if option != "--without-web")


@pytest.fixture
def issued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every token that the simulated broker has issued."""
    found: list[str] = []
    for name in ("login", "renew"):
        make = getattr(Sessions, name)

        def made(*args: object, make: object = make, **named: object) -> object:
            tokens = make(*args, **named)  # type: ignore[operator] # a method of the class
            if isinstance(tokens, IssuedTokens):
                found.extend([tokens.jwt, tokens.refresh, tokens.feed])
            return tokens

        monkeypatch.setattr(Sessions, name, made)
    return found


async def everything(feed_cluster: FeedCluster) -> bytes:
    """All that the simulated log's topics hold."""
    log, found = feed_cluster.logs[SIM], []
    async with clients.consumer(feed_cluster.kafka.bootstrap) as reader:
        for stage in (*topics.PARTITIONED, *topics.SINGLE):
            for partition in range(1 if stage in topics.SINGLE else log.header.partitions):
                at = TopicPartition(log.topic(stage), partition)
                end = (await reader.end_offsets([at]))[at]
                found += [record.value async for record in clients.records(reader, at, 0, end)]
    return b"".join(found)


def commanded(env: dict[str, str], *words: str) -> bytes:
    """What a command says, on both of its streams."""
    command = [sys.executable, "-m", "topology.cli.main", "--sim", *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=False, timeout=60)
    return done.stdout + done.stderr


def got(url: str) -> bytes:
    with urlopen(url, timeout=10) as answer:
        found: bytes = answer.read()
    return found


async def test_no_secret_is_in_any_log_metric_topic_file_or_answer(
    feed_cluster: FeedCluster, issued: list[str]
) -> None:
    port = free_port()
    async with simulated(3, 50.0, **ACCOUNT) as broker:
        env = {**broker.env, **CHANNELS}
        feed = feed_cluster.feed(SIM, **env)
        try:
            feed.start((*WITH_WEB, "--web-port", str(port)))

            async def streams() -> bool:
                return await feed_cluster.ticks() > 100

            await until(streams, state=lambda: feed.log.read_text()[-3000:])
            for fault in FAULTS:
                broker.simulator.fault(fault)

            async def survived() -> bool:
                events = await everything(feed_cluster)
                return len(issued) >= 6 and events.count(b"resumed") >= 2

            await until(survived, state=lambda: f"{len(issued)} tokens\n{feed.log.read_text()[-3000:]}")
            pages = {what: f"http://127.0.0.1:{port}/{what}" for what in ("health", "metrics")}
            texts = {what: await asyncio.to_thread(got, url) for what, url in pages.items()}
            texts |= {what: await asyncio.to_thread(commanded, feed.env, what) for what in ("doctor", "status")}
        finally:
            feed.kill()
        refused = feed_cluster.feed(SIM, **{**env, "ANGEL_PASSWORD": WRONG})
        try:
            refused.start()

            async def told() -> bool:
                return b"login_failed" in await everything(feed_cluster)

            await until(told, state=lambda: feed.log.read_text()[-3000:])
        finally:
            refused.kill()
    assert b"mdengine_feed_packets_total" in texts["metrics"]
    assert b"credentials" in texts["doctor"]
    texts |= {"topics": await everything(feed_cluster)}
    texts |= {str(path): path.read_bytes() for path in written_by_the_feed(feed_cluster.folder / SIM)}
    assert b'"logger":"websocket"' not in feed.log.read_bytes(), "it quotes what the broker says"
    secrets = [*ACCOUNT.values(), WRONG, TELEGRAM, TELEGRAM.partition(":")[2], HOOK.rpartition("/")[2], *issued]
    assert {(name, secret) for name, text in texts.items() for secret in secrets if secret.encode() in text} == set()
    assert len(texts) > 6


def written_by_the_feed(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
