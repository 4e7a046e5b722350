"""What is measured: a broker with a log of its own in a temporary folder, and a pipeline worker in front of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka import TopicPartition

from topology.embedded import Kafka, free_port
from topology.kafka import broker_log, clients
from topology.log.frames import INDICATORS, TICKS, Configure
from topology.settings import SIM, Settings

FAUST = ("faust", "-A", "topology", "worker")
SESSION_TIMEOUT_S = 6
POLL_S = 0.03
STARTS_WITHIN_S = 60.0
_TICKS_PER_CPU_S = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """Nothing can be measured; the message says why."""


class Process:
    """A process that writes into ``log``, and the CPU seconds that it has used. With ``core`` it has that one alone."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], *, log: Path, core: int | None = None) -> None:
        self.log = log
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **env},
            )
        if core is not None:
            os.sched_setaffinity(self._process.pid, {core})  # before it has threads: they take it over

    def cpu_s(self) -> float:
        """Return the user and system time of all its threads so far."""
        if self._process.poll() is not None:
            raise BenchError(f"a process ended: {self.log.read_text(errors='replace')[-2000:]}")
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_CPU_S

    def memory_kb(self) -> int:
        """Return what it holds in memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait until it is gone."""
        self._process.send_signal(how)
        self._process.wait(60)


class Rig:
    """A broker and the tick log in it, for as long as the context lasts; at most one worker runs at a time,
    and beside it what `run` has started."""

    def __init__(self, settings: Settings, configuration: Configure) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self.state = self.folder / "worker"
        self.settings = settings
        self.kafka = Kafka(self.folder / "kafka", free_port(), java_home=settings.java_home)
        self.log: broker_log.Log
        self.worker: Process | None = None
        self._others: list[Process] = []
        self._configuration = configuration

    @property
    def bootstrap(self) -> str:
        """Where the broker is."""
        return self.kafka.bootstrap

    @property
    def partitions(self) -> int:
        """The number of partitions of every topic."""
        return self.settings.topic_partitions

    async def __aenter__(self) -> Self:
        """Start the broker and make the log."""
        try:
            self.kafka.start(lambda _: None)
            self.log = await broker_log.create(self.bootstrap, SIM, self.partitions, self._configuration)
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what runs and remove what it wrote."""
        self._close()

    def _close(self) -> None:
        for process in (self.worker, *self._others):
            if process is not None:
                process.end(signal.SIGKILL)
        self.kafka.kill()
        self._temporary.cleanup()

    def start_worker(self) -> Process:
        """Start a pipeline worker, with what an earlier one has left on its disk."""
        env = {**self.env("pipeline"), "FAUST_DATADIR": str(self.state)}
        self.worker = Process([*FAUST, "--without-web"], env, log=self.folder / "worker.log")
        return self.worker

    def run(self, name: str, command: Sequence[str], env: Mapping[str, str], *, core: int | None = None) -> Process:
        """Start a Python module with arguments."""
        process = Process(command, env, log=self.folder / f"{name}.log", core=core)
        self._others.append(process)
        return process

    def env(self, role: str) -> dict[str, str]:
        """Return the environment of a role that uses this broker and log."""
        return {
            "TOPOLOGY_ROLE": role,
            "TOPOLOGY_NAMESPACE": SIM,
            "BROKER_URL": self.kafka.url,
            "TOPIC_PARTITIONS": str(self.partitions),
            "DATA_DIR": str(self.folder),
            "SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
        }

    def end_worker(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the worker: in order, so that it saves, or with SIGKILL."""
        assert self.worker is not None, "a worker has been started"
        worker, self.worker = self.worker, None
        worker.end(how)

    def wipe(self) -> None:
        """Remove everything that a worker keeps on its disk."""
        shutil.rmtree(self.state)

    async def ends(self, stage: str) -> list[int]:
        """Return the offset after the last record, for each partition of a stage's topic."""
        found = await clients.ends(self.bootstrap, [self.log.topic(stage)], self.partitions)
        return [found[self.log.topic(stage), partition] for partition in range(self.partitions)]

    async def until(self, stage: str, records: int) -> None:
        """Wait until a stage's topic holds this many records over all partitions, and the worker lives."""
        name = self.log.topic(stage)
        places = [TopicPartition(name, partition) for partition in range(self.partitions)]
        async with clients.consumer(self.bootstrap) as reader:
            while sum((await reader.end_offsets(places)).values()) < records:
                if self.worker is not None:
                    self.worker.cpu_s()
                await asyncio.sleep(POLL_S)

    async def until_caught_up(self) -> None:
        """Wait until every tick frame has its indicator frame."""
        await self.until(INDICATORS, sum(await self.ends(TICKS)))
