"""`topology up` as a user has it: one command, everything runs, whatever dies comes back, and Ctrl-C loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import TopicPartition
from redis import Redis

from tests.support.cluster import child_of
from tests.support.until import block_until
from topology.embedded import free_port, guard
from topology.kafka import clients, topics
from topology.log.frames import CANDLE_FRAME, CANDLES, TICK_FRAME, TICKS, CandleFrame, TickFrame
from topology.settings import SIM

PARTITIONS = 2
# The ports that roles have where nobody says another are tried and then taken: two that start at a time take the same.
ANY_PORTS = """import sys; from topology.cli import up; from topology.cli.main import main
up.WEB_PORTS = dict.fromkeys(up.WEB_PORTS, 0); sys.exit(main())"""
COMMAND = (sys.executable, "-c", ANY_PORTS, "up")
ROLES = ("feed-0", "pipeline-0", "mirror-0", "archive-0", "gateway-0")


class Up:
    """`topology up` in a folder and on ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bootstrap = f"127.0.0.1:{free_port()}"
        self._redis_port = free_port()
        self.env = {
            **{name: value for name, value in os.environ.items() if name not in ("SQLITE_PATH", "FAUST_DATADIR")},
            "BROKER_URL": f"kafka://{self.bootstrap}",
            "REDIS_ADDR": f"127.0.0.1:{self._redis_port}",
            "METRICS_ADDR": f":{free_port()}",
            "DASHBOARD_ADDR": f":{free_port()}",
            "GATEWAY_ADDR": f":{free_port()}",
            "TICK_SERVER_ADDR": f":{free_port()}",
            "DATA_DIR": str(folder / "data"),
            "TOPIC_PARTITIONS": str(PARTITIONS),
            "SESSION_TIMEOUT_S": "4",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        self._guard: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start it, and wait until it says that everything runs. A guard between us ends it when we die."""
        with self._screen.open("wb") as screen:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, *COMMAND],
                cwd=self.folder, env=self.env, stdin=subprocess.PIPE, stdout=screen, stderr=screen,
                start_new_session=True,
            )  # fmt: skip
        self.until(lambda: "Ctrl-C stops everything in order" in self.said())

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        pid = child_of(self._guard.pid)
        assert pid is not None, self.said()
        os.kill(pid, signal.SIGINT)
        with self._guard:
            return self._guard.wait(90)

    def close(self) -> None:
        """End it in order, if it runs, and check that nothing is left of it."""
        pids = self.processes()
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(90)
        assert all(is_gone(pid) for pid in pids)

    def said(self) -> str:
        return self._screen.read_text()

    @property
    def _screen(self) -> Path:
        return self.folder / "screen"

    @property
    def sqlite_path(self) -> Path:
        return self.folder / "data" / SIM / "candles.db"

    def until(self, holds: Callable[[], object]) -> None:
        def holds_while_it_runs() -> object:
            assert self._guard.poll() is None, self.said()
            return holds()

        block_until(holds_while_it_runs, state=self.said)

    def archived(self) -> int:
        """The number of 1-second candles in the SQLite file."""
        with sqlite3.connect(f"file:{self.sqlite_path}?mode=ro", uri=True) as connection:
            (rows,) = connection.execute("select count(*) from candles_1s").fetchone()
        return int(rows)

    def gets_further(self, rows: int = 20) -> None:
        """Wait until so many more 1-second candles are archived."""
        before = self.archived()
        self.until(lambda: self.archived() >= before + rows)

    def latest(self) -> dict[str, int]:
        """The length of what Redis holds as the newest tick of each instrument, by its key."""
        with Redis(port=self._redis_port, db=1) as redis:
            return {key.decode(): len(redis.get(key) or b"") for key in redis.keys("tick:latest:*")}

    def processes(self) -> set[int]:
        """All that it has started, itself and the guard included."""
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        parents = [tuple(map(int, line.split())) for line in listed.splitlines()]
        found, size = {self._guard.pid}, 0
        while size < len(found):
            size = len(found)
            found |= {pid for pid, parent in parents if parent in found}
        return found

    def role(self, name: str) -> int:
        """The process id of a role: the worker itself, not its guard."""
        folder = f"FAUST_DATADIR={self.sqlite_path.parent / name}"
        (guarding,) = [pid for pid in self.processes() if folder in _shown(pid) and guard.__file__ in _shown(pid)]
        pid = child_of(guarding)
        assert pid is not None, self.said()
        return pid

    def records(self, stage: str, partition: int) -> list[bytes]:
        return asyncio.run(self._records(TopicPartition(topics.topic(SIM, stage), partition)))

    async def _records(self, place: TopicPartition) -> list[bytes]:
        async with clients.consumer(self.bootstrap) as reader:
            end = (await reader.end_offsets([place]))[place]
            return [record.value async for record in clients.records(reader, place, 0, end)]

    def ticks(self) -> list[list[TickFrame]]:
        """The tick frames of each partition."""
        return [[TICK_FRAME.decode(value) for value in self.records(TICKS, p)] for p in range(PARTITIONS)]

    def candles(self) -> list[list[CandleFrame]]:
        """The candle frames of each partition."""
        return [[CANDLE_FRAME.decode(value) for value in self.records(CANDLES, p)] for p in range(PARTITIONS)]


def _shown(pid: int) -> str:
    """The command line of a process and its environment."""
    listed = subprocess.run(
        ["ps", "eww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout


def is_gone(pid: int) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return not listed.strip() or listed.startswith("Z")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """It runs, whatever the tests before this one have done to it."""
    up = Up(tmp_path_factory.mktemp("up"))
    try:
        up.start()
        yield up
    finally:
        up.close()


def test_everything_runs_and_simulated_values_come_out_at_every_end(up: Up) -> None:
    said = up.said()
    assert "SIMULATED" in said
    assert all(role in said for role in ROLES)
    up.gets_further()
    up.until(lambda: len(up.latest()) == 7)
    assert "tick:latest:NSE:99926000" in up.latest()
    assert all(up.latest().values())


def test_the_gateway_serves_at_both_addresses_and_its_token_is_shown_once(up: Up) -> None:
    up.until(lambda: len(up.latest()) == 7)
    for name in ("DASHBOARD_ADDR", "GATEWAY_ADDR"):
        with urllib.request.urlopen(f"http://127.0.0.1{up.env[name]}/tokens", timeout=10) as answer:
            tokens = json.loads(answer.read())
        assert len(tokens) == 7
        assert all(one["price"] > 0 for one in tokens)
    token = (up.folder / "data" / "gateway-token").read_text().strip()
    assert up.said().count(token) == 1
    assert all(token not in log.read_text() for log in up.sqlite_path.parent.glob("*.log"))
    shown = subprocess.run(
        [*COMMAND[:-1], "gateway", "token"], cwd=up.folder, env=up.env, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == token


async def test_the_websocket_pushes_what_happens_at_both_addresses(up: Up) -> None:
    up.until(lambda: len(up.latest()) == 7)
    channel = "pub:candle:1s:NSE:99926000"
    request = {"type": "SUBSCRIBE", "symbol": "NSE:99926000", "tf": 1}
    for name in ("DASHBOARD_ADDR", "GATEWAY_ADDR"):
        address = f"127.0.0.1{up.env[name]}"
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://{address}/ws") as socket:
            await socket.send_json(request)
            told: list[dict[str, Any]] = []
            async with asyncio.timeout(60):
                while sum(one.get("channel") == channel and not one["data"]["forming"] for one in told) < 5:
                    text = await socket.receive_str()
                    told += [json.loads(line) for line in text.split("\n")]
            async with session.get(f"http://{address}/health") as answer:
                assert (await answer.json())["ws_clients"] == 1
        assert told[0]["type"] == "hello"
        assert told[0]["simulated"] is True
        assert {"SNAPSHOT", "metrics"} <= {one.get("type") for one in told}
        (snapshot,) = [one for one in told if one.get("type") == "SNAPSHOT"]
        pushed = [one["data"] for one in told if one.get("channel") == channel and not one["data"]["forming"]]
        positions = [row["position"] for row in [*snapshot["candles"], *pushed]]
        assert positions == sorted(positions)
        assert len({row["ts"] for row in [*snapshot["candles"], *pushed]}) == len(positions)


def test_a_second_one_in_the_same_folder_is_refused_in_one_line(up: Up) -> None:
    done = subprocess.run(COMMAND, cwd=up.folder, env=up.env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "runs already in" in line
    assert "set another DATA_DIR" in line


def test_a_worker_that_is_killed_comes_back_and_no_position_is_missing(up: Up) -> None:
    worker = up.role("pipeline-0")
    os.kill(worker, signal.SIGKILL)
    up.until(lambda: is_gone(worker))
    up.gets_further(100)
    assert up.role("pipeline-0") != worker
    for frames in up.candles():
        assert sorted({frame.position for frame in frames}) == list(range(max(frame.position for frame in frames) + 1))


def test_a_feed_that_is_killed_comes_back_with_a_higher_epoch_and_no_older_clock(up: Up) -> None:
    feed = up.role("feed-0")
    before = [frames[-1].epoch for frames in up.ticks()]
    os.kill(feed, signal.SIGKILL)
    up.until(lambda: all(frames[-1].epoch > epoch for frames, epoch in zip(up.ticks(), before, strict=True)))
    up.gets_further()
    for frames in up.ticks():
        clocks = [frame.clock_ms for frame in frames]
        numbers = [(frame.epoch, frame.sequence) for frame in frames]
        assert clocks == sorted(clocks)
        assert numbers == sorted(set(numbers))


def test_ctrl_c_stops_all_in_order_and_the_next_start_goes_on_with_what_is_there(up: Up) -> None:
    up.gets_further()
    pids = up.processes()
    assert len(pids) >= 2 + 2 * (len(ROLES) + 2)  # all have a guard: the command, broker, Redis and roles
    assert up.interrupt() == 0
    assert "stopping: every role saves what it has" in up.said()
    assert up.said().rstrip().endswith("stopped")
    assert all(is_gone(pid) for pid in pids)
    rows = up.archived()
    assert rows > 0
    up.start()
    assert up.archived() >= rows
    up.gets_further()
    for frames in up.candles():
        positions = [frame.position for frame in frames]
        assert sorted(set(positions)) == list(range(max(positions) + 1))
        assert len({frame.log for frame in frames}) == 1
