"""What every role has: an app that refuses a log it can't use before it starts, and saves before it stops."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
from pathlib import Path
from typing import Protocol, runtime_checkable

import faust
from faust.types.web import Web

from agents.metrics import Progress
from agents.process_guard import REFUSED, RESTART, end_process
from topology.angel.master import MasterError
from topology.configuration.difference import differences
from topology.configuration.environment import from_settings
from topology.embedded.loopback import free_port
from topology.feeds import FeedError
from topology.json_logging import logging_config
from topology.kafka import broker_log
from topology.kafka.clients import MAX_RECORD_BYTES
from topology.kafka.errors import LogError, NoBrokerError
from topology.market import CalendarError
from topology.settings import Address, Settings
from web.http.health import RoleHealth

logger = logging.getLogger(__name__)

MAX_WORKERS = 256  # of one role on one machine, each with a folder of its own


class Role(Protocol):
    """What a role adds to its app."""

    async def start(self, log: broker_log.Log) -> None:
        """Take over which log this is, before anything is read; connect to what the role needs."""
        ...

    async def close(self) -> None:
        """Save what is hot, at a clean stop, while everything is still connected."""
        ...

    async def stop(self) -> None:
        """Disconnect."""
        ...


@runtime_checkable
class Serving(Protocol):
    """A role that adds to the web server."""

    def serve(self, web: Web) -> None:
        """Add to the web server, before it starts."""
        ...


class RoleApp(faust.App):
    """The app of a role."""

    settings: Settings
    role: Role
    _served = False

    async def on_start(self) -> None:
        """Learn which log the topics hold; end with one line where there is none that can be used."""
        settings = self.settings
        # What the client logs while it fails comes as an exception too, and in one line.
        client = logging.getLogger("aiokafka")
        level = client.level
        client.setLevel(logging.CRITICAL)
        try:
            log = await broker_log.read(settings.bootstrap, settings.namespace)
        except LogError as error:
            end_process(str(error), code=RESTART if isinstance(error, NoBrokerError) else REFUSED)
        finally:
            client.setLevel(level)
        if log.header.partitions != settings.topic_partitions:
            end_process(
                f"TOPIC_PARTITIONS={settings.topic_partitions} is wrong: the log of {settings.bootstrap} has "
                f"{log.header.partitions} partitions",
                code=REFUSED,
            )
        _claim(Path(self.conf.datadir), log.header.log)
        _warn_of_differences(log, settings)
        await self.role.start(log)
        # What was made so far stays; of what frames make, little is garbage that needs a collector to be found.
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        logger.info("started", extra={"log": log.header.log, "web": str(self.conf.canonical_url)})
        await super().on_start()

    def on_webserver_init(self, web: Web) -> None:
        """Let the role have the web server before it starts. Faust calls this twice: as the app is made, and starts."""
        if isinstance(self.role, Serving) and not self._served:
            self._served = True
            self.role.serve(web)

    async def on_stop(self) -> None:
        """Save while the producer and the stores are still there, then stop."""
        await self.role.close()
        await super().on_stop()
        await self.role.stop()
        logger.info("stopped")


def _warn_of_differences(log: broker_log.Log, settings: Settings) -> None:
    """Say what the environment asks for that the log, which stands, does not compute; or why that can't be told."""
    try:
        lines = differences(log.configuration, from_settings(settings))
    except (CalendarError, FeedError, MasterError, OSError) as error:
        logger.warning("the environment can't be compared with the log, which stands: %s", error)
        return
    for line in lines:
        logger.warning("the environment differs from the log, which stands: %s (`topology configure` applies it)", line)


def health_of(app: RoleApp, log: str, readers: list[Progress]) -> RoleHealth:
    """Return the health of a role that reads the log: not well while it recovers or a reader stands still."""
    if app.rebalancing or not log:
        state = "recovering"
    else:
        state = "standing still" if any(line.still for line in readers) else "running"
    return RoleHealth(app.settings.role, state, log, readers)


def new_app(settings: Settings) -> RoleApp:
    """Make the app of a role, without the role."""
    app = RoleApp(
        f"{settings.namespace}.{settings.role}",
        broker=settings.broker_url,
        store="rocksdb://",
        datadir=str(_own_folder(settings)),
        autodiscover=False,
        topic_partitions=settings.topic_partitions,
        topic_disable_leader=True,
        table_standby_replicas=0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MAX_RECORD_BYTES,
        producer_max_request_size=MAX_RECORD_BYTES,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 6,
        broker_commit_interval=5.0,
        # Frames are acknowledged at checkpoints: to wait for those in a rebalance would be to wait for nothing.
        stream_wait_empty=False,
        stream_buffer_maxsize=1024,
        web_in_thread=False,
        web_tables_enabled=False,
        worker_redirect_stdouts=False,
        logging_config=logging_config(settings),
        web_bind=_web_addr(settings).bound_to,
        web_port=_web_port(settings),
    )
    app.settings = settings
    return app


def _own_folder(settings: Settings) -> Path:
    """Return a folder that no other worker on this machine uses; its lock goes with the process."""
    if settings.faust_datadir is not None:
        return settings.faust_datadir
    for number in range(MAX_WORKERS):
        folder = settings.namespace_dir / f"{settings.role}-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        return folder
    raise RuntimeError(f"{MAX_WORKERS} workers use {settings.namespace_dir} already")


def _claim(folder: Path, log: str) -> None:
    """Write into a worker's folder which log its state belongs to; end where it is another one."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "log"
    held = mark.read_text() if mark.exists() else log
    if held != log:
        end_process(f"{folder} holds the state of log {held}, but the topics hold log {log}: delete it", code=REFUSED)
    mark.write_text(log)


def _web_addr(settings: Settings) -> Address:
    return settings.dashboard_addr if settings.role == "gateway" else settings.metrics_addr


def _web_port(settings: Settings) -> int:
    """Return the port that is set for the first worker of a pipeline or gateway, a free one for whoever comes later."""
    address = _web_addr(settings)
    return free_port(address.port if settings.role in ("pipeline", "gateway") else 0, host=address.bound_to)
