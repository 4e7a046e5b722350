"""The log as a gateway sees it: its configuration, followed; how far each role is; and a change of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from topology.angel.master import MasterError
from topology.configuration.apply import reload
from topology.feeds import FeedError
from topology.kafka import broker_log, clients, lag_report
from topology.kafka.errors import LogError
from topology.kafka.follow import follow
from topology.log.configuration_diff import ConfigurationError
from topology.log.frames import COMMANDS, Configure, FrameError
from topology.market import CalendarError
from topology.settings import Settings
from topology.sinks.archive.history import ArchiveHistory
from topology.sinks.registry import used_sinks
from web.http.problem import invalid, unavailable
from web.ports import Reloaded, Standing

FRESH_S = 1.0


class FollowedLog:
    """Implements `web.ports.LogView`. Asked often, it asks the broker and the sinks once a second."""

    def __init__(self, settings: Settings, log: broker_log.Log) -> None:
        self._settings, self._log = settings, log
        self._configuration = log.configuration
        self._standing = Standing(None, [])
        self._asked_s = -FRESH_S
        self._turn = asyncio.Lock()

    @property
    def id(self) -> str:
        """Which log it is."""
        return self._log.header.log

    @property
    def configuration(self) -> Configure:
        """The configuration in force."""
        return self._configuration

    async def follow(self) -> NoReturn:
        """Follow each new configuration, for as long as the gateway runs."""
        since = self._configuration.id + 1
        await follow(self._settings.bootstrap, self._log.topic(COMMANDS), self._apply, since=since)

    def _apply(self, record: ConsumerRecord) -> None:
        if record.key is None and isinstance(command := broker_log.command_of(record), Configure):
            self._configuration = command

    async def standing(self) -> Standing:
        """Ask how far each role is. Raises Problem where the log can't be asked."""
        async with self._turn:
            if time.monotonic() - self._asked_s >= FRESH_S:
                try:
                    self._standing = await self._ask()
                except (KafkaError, LogError) as error:
                    raise unavailable("log", str(error)) from None
                self._asked_s = time.monotonic()
            return self._standing

    async def _ask(self) -> Standing:
        async with clients.consumer(self._settings.bootstrap) as reader:
            clock_ms, lags = await lag_report.lines(reader, self._log, used_sinks(self._settings))
        return Standing(clock_ms, lags)

    async def reload(self, timeframes: Sequence[tuple[int, Sequence[str]]]) -> Reloaded:
        """Write a new configuration into the log."""
        try:
            done = await reload(self._settings, timeframes, archive=partial(ArchiveHistory, self._settings.sqlite_path))
        except (ConfigurationError, FrameError, CalendarError) as error:
            raise invalid(str(error)) from None
        except (FeedError, MasterError, KafkaError, LogError) as error:
            raise unavailable("log", str(error)) from None
        return Reloaded("ok", *done)
