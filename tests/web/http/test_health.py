"""What a role says of itself over HTTP, and in one line when it can't run at all."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from agents.metrics import Progress
from agents.process_guard import REFUSED, RESTART
from tests.support.until import block_until
from topology.configuration.environment import from_settings
from topology.embedded import Kafka, free_port, guard
from topology.kafka import broker_log
from topology.settings import LIVE, SIM, Settings
from web.http import health
from web.http.health import RoleHealth

PARTITIONS = 2
WORKER = (sys.executable, "-m", "faust", "-A", "topology", "worker")
LINE = Progress("candles", 0, 5, 1, 1000, still=False)


class Pages:
    """Takes the pages of an app, and asks for one as a view does."""

    def __init__(self) -> None:
        self._pages: dict[str, Any] = {}

    def page(self, path: str) -> Callable[[Any], Any]:
        return lambda handler: self._pages.setdefault(path, handler)

    def json(self, value: Any, *, status: int) -> tuple[int, Any]:
        return status, value

    def bytes(self, value: bytes, *, content_type: str) -> tuple[str, bytes]:
        return content_type, value

    async def get(self, path: str) -> Any:
        return await self._pages[path](self, SimpleNamespace())


@pytest.mark.parametrize(("state", "status"), [("running", 200), ("recovering", 503), ("standing still", 503)])
async def test_a_role_that_is_not_well_says_so_with_its_status(state: str, status: int) -> None:
    pages = Pages()
    health.add(pages, lambda: RoleHealth("pipeline", state, "log", [LINE]))  # type: ignore[arg-type]
    answered, told = await pages.get("/health")
    assert answered == status
    assert told == {
        "role": "pipeline", "state": state, "log": "log",
        "readers": [{"stage": "candles", "partition": 0, "position": 5, "lag": 1, "clock_ms": 1000, "still": False}],
    }  # fmt: skip


async def test_metrics_are_those_of_this_moment() -> None:
    pages = Pages()
    asked: list[str] = []
    health.add(pages, lambda: asked.append("now") or RoleHealth("feed", "running", "log", []))  # type: ignore[arg-type, func-returns-value]
    content_type, text = await pages.get("/metrics")
    assert asked == ["now"]
    assert content_type == "text/plain"
    assert b"# TYPE mdengine_lag_frames gauge" in text


class Workers:
    """Pipeline workers as a user starts them: `faust -A topology worker`, and what they say."""

    def __init__(self, folder: Path, broker_url: str) -> None:
        self.folder = folder
        self._env = {
            **os.environ,
            "BROKER_URL": broker_url,
            "DATA_DIR": str(folder),
            "TOPIC_PARTITIONS": str(PARTITIONS),
        }
        self._env |= {"TOPOLOGY_NAMESPACE": LIVE, "TOPOLOGY_ROLE": "pipeline", "METRICS_ADDR": f":{free_port()}"}
        self._env["PYTHONPATH"] = str(Path(__file__).parents[3])
        self._env.pop("FAUST_DATADIR", None)
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, **env: str) -> subprocess.Popen[bytes]:
        """Start one; what comes back is the guard that ends it when we die, and ends with its exit code."""
        with self._log(len(self._started)).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, *WORKER],
                cwd=self.folder, env={**self._env, **env}, stdin=subprocess.PIPE, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._started.append(process)
        return process

    def said(self, number: int = 0) -> list[dict[str, Any]]:
        """What a worker has logged: all of it is JSON but for the last line, which may be half written."""
        text = self._log(number).read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line.startswith("{")]

    def address(self, number: int = 0) -> tuple[str, int]:
        """Where a worker that has started serves its pages."""
        block_until(lambda: any("web" in line for line in self.said(number)), state=self._log(number).read_text)
        url = urlsplit(next(line["web"] for line in self.said(number) if "web" in line))
        assert url.port is not None
        return "127.0.0.1", url.port

    def stop(self) -> None:
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            assert process.stdin is not None
            process.stdin.close()

    def _log(self, number: int) -> Path:
        return self.folder / f"worker-{number}.log"


def get(address: tuple[str, int], path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address[0]}:{address[1]}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


@pytest.fixture(scope="module")
def log(kafka: Kafka) -> broker_log.Log:
    configuration = from_settings(Settings.from_env({}))
    return asyncio.run(broker_log.create(kafka.bootstrap, LIVE, PARTITIONS, configuration))


@pytest.fixture
def workers(kafka: Kafka, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path, kafka.url)
    yield workers
    workers.stop()


def test_two_workers_in_one_folder_are_well_each_with_a_port_and_a_folder_of_its_own(
    workers: Workers, log: broker_log.Log
) -> None:
    workers.start()
    first = workers.address(0)
    block_until(lambda: get(first, "/health")[0] == 200, state=lambda: get(first, "/health"))
    workers.start()
    second = workers.address(1)
    assert first != second
    block_until(
        lambda: [len(readers(address)) for address in (first, second)] == [3, 3], state=lambda: get(second, "/health")
    )
    assert sorted(path.name for path in (workers.folder / LIVE).iterdir()) == ["pipeline-0", "pipeline-1"]
    found = json.loads(get(first, "/health")[1])
    assert (found["role"], found["state"], found["log"]) == ("pipeline", "running", log.header.log)
    assert {line["stage"] for line in found["readers"]} == {"candles", "timeframes", "indicators"}
    status, text = get(first, "/metrics")
    assert status == 200
    assert 'mdengine_lag_frames{partition="' in text
    assert "mdengine_frames_total" in text
    assert all({"role", "worker", "message", "level"} <= set(line) for line in workers.said(0))
    with pytest.raises(OSError):  # noqa: PT011 - refused or unreachable: this address is not the one it listens at
        socket.create_connection(("127.0.0.2", first[1]), timeout=5)


def readers(address: tuple[str, int]) -> list[Any]:
    """What a worker reads: three stages of each partition that is its own; nothing while it is not well."""
    status, text = get(address, "/health")
    return json.loads(text)["readers"] if status == 200 else []


@pytest.mark.parametrize(
    ("env", "said", "code"),
    [
        ({"BROKER_URL": f"kafka://127.0.0.1:{free_port()}"}, "no broker answers at 127.0.0.1:", RESTART),
        ({"TOPOLOGY_NAMESPACE": SIM}, "has no topic sim.commands: run `topology topics create`", REFUSED),
        ({"TOPIC_PARTITIONS": "3"}, "TOPIC_PARTITIONS=3 is wrong: the log of", REFUSED),
    ],
    ids=["no broker", "no topics", "another number of partitions"],
)
def test_a_worker_that_cannot_run_ends_with_one_line(
    workers: Workers, log: broker_log.Log, env: dict[str, str], said: str, code: int
) -> None:
    worker = workers.start(**env)
    assert worker.wait(60) == code
    (line,) = [line for line in workers.said() if line["level"] != "INFO"]
    assert said in line["message"]
    assert line["role"] == "pipeline"
    text = (workers.folder / "worker-0.log").read_text()
    assert "Traceback" not in text
    assert json.loads(text.splitlines()[-1]) == line


def test_a_setting_that_is_wrong_ends_a_worker_before_it_starts(workers: Workers) -> None:
    worker = workers.start(FRAME_MS="0")
    assert worker.wait(60) == REFUSED
    text = (workers.folder / "worker-0.log").read_text()
    assert text.splitlines() == ["FRAME_MS='0' is wrong: it must be a whole number from 1 to 1000"]
