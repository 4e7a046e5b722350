"""A reload as a gateway asks for it, of a log on a real broker."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.until import until
from topology.configuration.environment import from_settings
from topology.embedded import Kafka
from topology.kafka import broker_log
from topology.log.frames import Backfill
from topology.market.history import History
from topology.roles.gateway.log_view import FollowedLog
from topology.settings import Settings
from web.http.problem import Problem
from web.ports import Reloaded


@pytest.fixture
async def followed(kafka: Kafka, tmp_path: Path) -> FollowedLog:
    env = {"ENABLED_TFS": "60", "INDICATOR_CONFIGS": "SMA:2", "DATA_DIR": str(tmp_path), "BROKER_URL": kafka.url}
    settings = replace(Settings.from_env(env), namespace=f"followed-{uuid.uuid4().hex[:8]}")
    log = await broker_log.create(settings.bootstrap, settings.namespace, 2, from_settings(settings))
    return FollowedLog(settings, log)


async def test_a_reload_is_answered_and_then_followed_past_the_history_in_the_log(followed: FollowedLog) -> None:
    following = asyncio.create_task(followed.follow())
    settings = followed._settings
    fill = Backfill(0, [History("NSE:99926000", 300, [], 0)])
    await broker_log.append(settings.bootstrap, settings.namespace, fill)
    answer = await followed.reload([(300, ["rsi:14"]), (60, ["SMA:2"])])
    assert answer == Reloaded("ok", ["candles:60", "SMA_2:60"], ["candles:300", "RSI_14:300"], [], [])
    await until(lambda: followed.configuration.id > 1)
    assert followed.configuration.timeframes == {60: ["SMA:2"], 300: ["RSI:14"]}
    following.cancel()


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ([], "no timeframe is named: name at least one"),
        ([(60, []), (60, [])], "timeframe 60 s is there twice: name each one once"),
        ([(60, ["SMA:0"])], "timeframe 60 s: indicator 'SMA:0': the period of SMA is a whole number from 1 to 500"),
    ],
)
async def test_what_cannot_be_computed_is_told_to_the_client(
    followed: FollowedLog, asked: list[tuple[int, list[str]]], reason: str
) -> None:
    with pytest.raises(Problem) as refused:
        await followed.reload(asked)
    assert (refused.value.status, refused.value.detail) == (400, reason)
