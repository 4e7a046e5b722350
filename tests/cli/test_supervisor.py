"""Roles as child processes: kept running, refused for good, stopped in order, and never left behind.

A script stands for Faust: what the supervisor does is the same whatever the role does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.process_guard import REFUSED, RESTART
from tests.support.until import block_until
from topology.backoff import JITTER
from topology.cli import supervisor as module
from topology.cli.supervisor import RoleError, RoleProcess, Supervisor

ROOT = Path(__file__).parents[2]
CRASHED = 1  # the exit code of Faust
SCRIPT = """
import json, os, signal, sys, time
with open("{notes}", "a") as notes:
    told = {{"name": "{name}", "pid": os.getpid(), "role": os.environ["TOPOLOGY_ROLE"], "argv": sys.argv[1:]}}
    print(json.dumps(told), file=notes, flush=True)
{code}
"""
STAYS = """
def stop(*_):
    with open({stopped!r}, "a") as stopped:
        print({name!r}, file=stopped, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""


class Roles:
    """Makes roles that run a script in place of Faust, and reads what they note."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor = Supervisor()

    def start(self, name: str, code: str, **env: str) -> RoleProcess:
        path = self.folder / name
        path.mkdir()
        code = code.replace("{stopped!r}", repr(str(self.folder / "stopped"))).replace("{name!r}", repr(name))
        (path / "faust.py").write_text(SCRIPT.format(notes=self.folder / "notes", name=name, code=code))
        process = RoleProcess(
            name, role="feed", env={"PYTHONPATH": str(path), **env}, log=path / "logs" / "role.log", options=("--x",)
        )
        self.supervisor.start(process)
        return process

    def notes(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / "notes"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in lines if line["name"] == name]

    def stopped(self) -> list[str]:
        path = self.folder / "stopped"
        return path.read_text().split() if path.exists() else []

    def is_ready(self, process: RoleProcess, times: int = 1) -> None:
        block_until(lambda: process.log.read_text().count("ready") >= times)


@pytest.fixture
def roles(tmp_path: Path) -> Iterator[Roles]:
    roles = Roles(tmp_path)
    yield roles
    for role in roles.supervisor.roles:
        if role._guard is not None and role._guard.poll() is None:
            os.killpg(role.pid, signal.SIGKILL)
            role._guard.wait()
        role.ask_to_stop()  # closes the pipe


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(listed.strip()) and not listed.startswith("Z")


def ended(process: RoleProcess) -> None:
    assert process._guard is not None
    process._guard.wait(30)


def test_a_role_is_a_faust_worker_with_its_role_and_options(roles: Roles) -> None:
    process = roles.start("one", STAYS)
    roles.is_ready(process)
    (told,) = roles.notes("one")
    assert told["role"] == "feed"
    assert told["argv"] == ["-A", "topology", "worker", "--x"]


def test_a_role_that_dies_is_started_again_and_its_log_goes_on(roles: Roles) -> None:
    process = roles.start("one", STAYS)
    roles.is_ready(process)
    os.kill(roles.notes("one")[0]["pid"], signal.SIGKILL)
    ended(process)
    (said,) = roles.supervisor.keep_running()
    assert said.startswith("one has ended and is started again: ")
    roles.is_ready(process, times=2)
    assert process.restarts == 1
    assert len({told["pid"] for told in roles.notes("one")}) == 2


def test_a_role_that_runs_is_left_alone(roles: Roles) -> None:
    process = roles.start("one", STAYS)
    roles.is_ready(process)
    assert roles.supervisor.keep_running() == []
    assert process.restarts == 0
    assert len(roles.notes("one")) == 1


@pytest.mark.parametrize("code", [RESTART, CRASHED])
def test_a_role_that_dies_at_once_again_and_again_is_started_with_pauses_and_then_no_more(
    roles: Roles, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    process = roles.start("one", f"print('{{no room left', flush=True)\nsys.exit({code})")
    now_s, pauses = [time.monotonic()], []
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    for _ in range(module.QUICK_DEATHS - 1):
        ended(process)
        died_s = now_s[0]
        while not roles.supervisor.keep_running():
            now_s[0] += 0.5
        pauses.append(now_s[0] - died_s)
    assert pauses[0] == 0
    for shortest_s, paused_s in zip([2, 4, 8, 16, 32], pauses[1:], strict=True):
        assert shortest_s <= paused_s <= shortest_s * (1 + JITTER) + 0.5
    ended(process)
    with pytest.raises(RoleError, match=r"one has ended 7 times in a row: \{no room left"):
        roles.supervisor.keep_running()
    assert process.restarts == module.QUICK_DEATHS - 1


def test_a_role_that_pauses_keeps_nobody_waiting(roles: Roles) -> None:
    process, other = roles.start("one", f"sys.exit({RESTART})"), roles.start("two", STAYS)
    for _ in range(2):
        ended(process)
        roles.supervisor.keep_running()
    roles.is_ready(other)
    os.kill(roles.notes("two")[0]["pid"], signal.SIGKILL)
    ended(other)
    (said,) = roles.supervisor.keep_running()
    assert said.startswith("two has ended")


def test_a_role_that_has_run_for_a_while_may_die_any_number_of_times(
    roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = roles.start("one", f"sys.exit({RESTART})")
    monkeypatch.setattr(module, "QUICK_S", 0.0)
    for _ in range(module.QUICK_DEATHS + 1):
        ended(process)
        roles.supervisor.keep_running()
    assert process.restarts == module.QUICK_DEATHS + 1


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (
            "print(json.dumps({'message': 'no broker answers'}), flush=True); print('bye')",
            "no broker answers",
        ),
        ("print('{broken', flush=True)", r"\{broken"),
        ("", "ended without a word; see .*role.log"),
    ],
)
def test_a_role_that_would_fail_again_ends_all_with_its_last_line(roles: Roles, last: str, said: str) -> None:
    process = roles.start("one", f"{last}\nsys.exit({REFUSED})")
    ended(process)
    with pytest.raises(RoleError, match=f"one: {said}"):
        roles.supervisor.keep_running()
    assert process.restarts == 0


def test_a_stop_asks_every_role_and_waits_for_each(roles: Roles) -> None:
    processes = [roles.start(name, STAYS) for name in ("feed", "pipeline", "archive")]
    for process in processes:
        roles.is_ready(process)
    roles.supervisor.stop()
    assert sorted(roles.stopped()) == ["archive", "feed", "pipeline"]
    assert not any(lives(roles.notes(name)[0]["pid"]) for name in ("feed", "pipeline", "archive"))
    roles.supervisor.stop()  # nothing is left to stop


def test_a_role_that_does_not_stop_is_killed(roles: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.2)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)\nwhile True: signal.pause()"
    process = roles.start("one", deaf)
    roles.is_ready(process)
    roles.supervisor.stop()
    block_until(lambda: not lives(roles.notes("one")[0]["pid"]))


def test_a_role_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    roles = Roles(tmp_path)
    (tmp_path / "one").mkdir()
    code = STAYS.replace("{stopped!r}", repr(str(tmp_path / "stopped"))).replace("{name!r}", "'one'")
    (tmp_path / "one" / "faust.py").write_text(SCRIPT.format(notes=tmp_path / "notes", name="one", code=code))
    parent = f"""
import signal
from pathlib import Path
from topology.cli.supervisor import RoleProcess
folder = Path({str(tmp_path)!r}) / "one"
RoleProcess("one", role="feed", env={{"PYTHONPATH": str(folder)}}, log=folder / "role.log").start()
signal.pause()
"""
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT)
    log = tmp_path / "one" / "role.log"
    block_until(lambda: log.exists() and "ready" in log.read_text())
    process.kill()
    process.wait()
    block_until(lambda: not lives(roles.notes("one")[0]["pid"]))
    assert roles.stopped() == ["one"]
