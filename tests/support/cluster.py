"""A broker, workers and an archive that a test may hurt: each process can be killed, stopped, woken and wiped."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from aiokafka import TopicPartition

from tests.reference.brute_force import indian_ms
from tests.support.until import until
from topology.configuration.environment import from_settings
from topology.embedded import Kafka, free_port
from topology.embedded import guard as guard_script
from topology.feeds import TickBatch
from topology.feeds.recorded.files import scan
from topology.feeds.writer import TickLogWriter
from topology.kafka import broker_log, clients
from topology.log.frames import (
    CANDLE_FRAME,
    CANDLES,
    INDICATOR_FRAME,
    INDICATORS,
    TICKS,
    TIMEFRAME_FRAME,
    TIMEFRAMES,
    Decoder,
    Frame,
)
from topology.market import Calendar
from topology.settings import LIVE, Settings
from topology.sinks.archive.archive import read_positions
from topology.sinks.cursor import SinkCursor, Source

ROOT = Path(__file__).parents[2]
SESSION_TIMEOUT_S = 4
DERIVED: dict[str, Decoder[Any]] = {CANDLES: CANDLE_FRAME, TIMEFRAMES: TIMEFRAME_FRAME, INDICATORS: INDICATOR_FRAME}
PLAIN = ("-m", "faust", "-A", "topology", "worker", "--without-web")


def altered(how: str) -> tuple[str, ...]:
    """Return the Python options of a worker in which ``how`` has been executed before it starts."""
    return "-c", f"import sys\nsys.argv = ['faust', *{PLAIN[2:]!r}]\n{how}\nfrom faust.cli.faust import cli\ncli()"


class Process:
    """A role in a process of its own. A guard between us ends it when we die."""

    def __init__(self, role: str, number: int, folder: Path, env: dict[str, str]) -> None:
        self.disk = folder / f"{role}-{number}"
        self.log = folder / f"{role}-{number}.log"
        self.env = {**env, "TOPOLOGY_ROLE": role, "FAUST_DATADIR": str(self.disk)}
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, options: tuple[str, ...] = PLAIN) -> None:
        """Start it; ``options`` are those of Python."""
        self._close_pipe()  # to one that has ended
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard_script.__file__, sys.executable, *options],
                cwd=ROOT, env=self.env, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id of the worker itself, None when it has ended."""
        return child_of(self._guard.pid) if self._guard is not None and self.running else None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the worker itself."""
        if (pid := self.pid) is not None:
            os.kill(pid, number)

    def kill(self) -> None:
        """End it at once, with its guard."""
        if self._guard is not None and self.running:
            os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()
        self._close_pipe()

    def terminate(self) -> None:
        """Ask it to stop, and wait until it has."""
        self.send(signal.SIGTERM)
        self.wait()

    def wait(self, timeout_s: float = 60) -> int:
        """Wait until it has ended; return its exit code."""
        assert self._guard is not None, "it has been started"
        code = self._guard.wait(timeout_s)
        self._close_pipe()
        return code

    def _close_pipe(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()

    def wipe(self) -> None:
        """Delete what it has on disk."""
        shutil.rmtree(self.disk, ignore_errors=True)


def child_of(pid: int) -> int | None:
    """Return the process id of the only child of a process, None where it has none."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = (tuple(map(int, line.split())) for line in listed.splitlines())
    return next((child for child, parent in pairs if parent == pid), None)


class Cluster:
    """The log, ``workers`` that work on it and one archive. The broker keeps its port and folder for life."""

    def __init__(self, settings: Settings, folder: Path, *, workers: int, **variables: str) -> None:
        self.folder = folder
        self.path = folder / "candles.db"
        self.kafka = Kafka(folder / "kafka", free_port())
        self.settings = settings
        self.log: broker_log.Log
        self._env = {
            **os.environ,
            "BROKER_URL": self.kafka.url,
            "TOPOLOGY_NAMESPACE": LIVE,
            "DATA_DIR": str(folder),
            "SQLITE_PATH": str(self.path),
            "SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
            **variables,
        }
        self.workers = [self.process("pipeline", number) for number in range(workers)]
        self.archive = self.process("archive", 0)

    def process(self, role: str, number: int) -> Process:
        """Make a process of a role, which isn't started yet."""
        return Process(role, number, self.folder, self._env)

    async def __aenter__(self) -> Self:
        """Start the broker and make the log."""
        await asyncio.to_thread(self.kafka.start, print)
        self.log = await broker_log.create(
            self.kafka.bootstrap, LIVE, self.settings.topic_partitions, from_settings(self.settings)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """End everything."""
        for process in self.processes:
            process.kill()
        self.kafka.kill()

    @property
    def processes(self) -> list[Process]:
        """All that may run."""
        return [*self.workers, self.archive]

    def start(self) -> None:
        """Start what doesn't run."""
        for process in self.processes:
            if not process.running:
                process.start()

    def kill_and_wipe_everything(self) -> None:
        """Kill every process, and delete all state and the archive: what is left is the log."""
        for process in self.processes:
            process.kill()
            process.wipe()
        for path in self.folder.glob(f"{self.path.name}*"):
            path.unlink()

    async def ends(self, *stages: str) -> dict[tuple[str, int], int]:
        """Return the offset after the last record of each partition of these stages' topics."""
        names = {self.log.topic(stage): stage for stage in stages}
        found = await clients.ends(self.kafka.bootstrap, list(names), self.log.header.partitions)
        return {(names[name], partition): end for (name, partition), end in found.items()}

    async def fed(self) -> int:
        """Return the number of tick frames."""
        return sum((await self.ends(TICKS)).values())

    async def done(self, stage: str) -> int:
        """Return how many tick frames a stage has made frames of, by the newest record of each partition."""
        done = 0
        async with clients.consumer(self.kafka.bootstrap) as reader:
            for partition in range(self.log.header.partitions):
                record = await clients.last_record(reader, TopicPartition(self.log.topic(stage), partition))
                done += 0 if record is None else DERIVED[stage].decode(record.value).position + 1
        return done

    def archived(self) -> dict[Source, SinkCursor]:
        """Return how far the archive is."""
        return read_positions(self.path, log=self.log.header.log, run=0)

    async def gets_to(self, stage: str, frames: int) -> None:
        """Wait until a stage has made frames of so many tick frames."""

        async def there() -> bool:
            return await self.done(stage) >= frames

        await until(there, state=self.last_words)

    async def settle(self, timeout_s: float = 120) -> None:
        """Wait until the archive holds everything that follows from the tick log. What has died is started again."""
        ends = await self.ends(TICKS)

        async def settled() -> bool:
            self.start()
            found = self.archived()
            return all(
                (applied := found.get((stage, partition))) is not None and applied.position >= end - 1
                for (_, partition), end in ends.items()
                for stage in DERIVED
            )

        await until(settled, timeout_s, state=lambda: f"{self.archived()} of {ends}\n{self.last_words()}")

    def last_words(self) -> str:
        """Return the last lines of each process's log."""
        return "\n".join(
            "\n".join([process.log.name, *process.log.read_text(errors="replace").splitlines()[-6:]])
            for process in self.processes
            if process.log.exists()
        )

    async def frames(self, stage: str) -> dict[int, list[Frame[Any]]]:
        """Read a derived topic: the frames of each partition in the order of their offsets."""
        found = {}
        async with clients.consumer(self.kafka.bootstrap) as reader:
            for (_, partition), end in (await self.ends(stage)).items():
                place = TopicPartition(self.log.topic(stage), partition)
                reader.assign([place])
                reader.seek(place, 0)
                found[partition] = [DERIVED[stage].decode((await reader.getone(place)).value) for _ in range(end)]
        return found


class Feed:
    """A recording that is written slice by slice, by one writer, as the feed of files does."""

    def __init__(self, writer: TickLogWriter, batches: list[TickBatch], slices: int) -> None:
        self._writer = writer
        size = -(-len(batches) // slices)
        self._slices = iter([batches[start : start + size] for start in range(0, len(batches), size)])

    async def write_configuration(self) -> None:
        """Write the first frames, which hold the configuration."""
        await self._writer.write([], None, everywhere=True)
        await self._writer.flush()

    async def write_slice(self) -> bool:
        """Write the next slice; False when there is none."""
        for batch in (batches := next(self._slices, [])):
            await self._writer.write(batch.ticks, batch.clock_ms, everywhere=batch.day_end)
        await self._writer.flush()
        return bool(batches)

    async def write_rest(self) -> None:
        """Write all that is left."""
        while await self.write_slice():
            pass


def batches_of(path: Path, settings: Settings) -> list[TickBatch]:
    """Read a file with all columns, in many small batches: positions are what these tests are about."""
    calendar = Calendar.parse(settings.calendar_text())
    recording = scan([path], None, covered=calendar.covered, block_rows=120)
    return list(recording.batches(lambda day: indian_ms(day, "15:30") + 2000))
