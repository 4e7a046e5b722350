"""A worker that may no longer go on is gone before it does anything more."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.process_guard import REFUSED, RESTART, StallGuard, or_end_process

ROOT = Path(__file__).parents[2]
LIMIT_S = 2.0  # a machine that is busy may take a part of it away
BEATING = """
import asyncio, time
from agents.process_guard import StallGuard

async def main():
    guard = StallGuard({limit_s})
    watching = asyncio.create_task(guard.watch())
    await asyncio.sleep(0)
    while True:
        guard.check()
        print(time.monotonic(), flush=True)
        await asyncio.sleep(0.2)

asyncio.run(main())
"""
STUCK = f"""
import asyncio, time
from agents.process_guard import StallGuard

async def main():
    watching = asyncio.create_task(StallGuard({LIMIT_S}).watch())
    await asyncio.sleep(0)
    time.sleep(60)

asyncio.run(main())
"""
STOPPED = f"""
import asyncio, time
from agents.process_guard import StallGuard

async def main():
    watching = asyncio.create_task(StallGuard({LIMIT_S}).watch())
    await asyncio.sleep(0)
    watching.cancel()
    await asyncio.wait([watching])

asyncio.run(main())
time.sleep({1.5 * LIMIT_S})
print("left in order")
"""


def started(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(script: str) -> tuple[int, str, str]:
    """Run a script to its end: exit code, stdout and stderr."""
    process = started(script)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def stop(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])


def test_a_worker_that_stood_still_too_long_ends_before_it_does_anything() -> None:
    process = started(BEATING.format(limit_s=LIMIT_S))
    assert process.stdout is not None
    process.stdout.readline()
    stop(process)
    time.sleep(2 * LIMIT_S)  # this is what happens to it
    woken_s = time.monotonic()
    os.kill(process.pid, signal.SIGCONT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == RESTART
    assert all(float(line) < woken_s for line in out.splitlines())
    assert "stood still for" in err


def test_a_worker_that_stood_still_for_a_moment_goes_on() -> None:
    process = started(BEATING.format(limit_s=60))
    assert process.stdout is not None
    process.stdout.readline()
    stop(process)
    os.kill(process.pid, signal.SIGCONT)
    assert all(float(process.stdout.readline()) for _ in range(4))
    process.kill()
    process.communicate(timeout=30)


def test_a_worker_whose_event_loop_is_stuck_ends_while_it_is_stuck() -> None:
    code, _, err = ended(STUCK)
    assert code == RESTART
    assert "stood still for" in err


def test_a_guard_that_is_stopped_leaves_the_process_alone() -> None:
    assert ended(STOPPED) == (0, "left in order\n", "")


def test_a_guard_looks_at_the_time_since_the_last_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    now, reasons = [100.0], list[str]()
    monkeypatch.setattr("agents.process_guard.now_s", lambda: now[0])
    monkeypatch.setattr("agents.process_guard.end_process", reasons.append)
    guard = StallGuard(10)
    now[0] = 110.0
    guard.check()
    assert reasons == []
    now[0] = 110.1
    guard.check()
    assert len(reasons) == 1


FAILS = """
import asyncio
from agents.process_guard import or_end_process

async def work():
    raise ValueError("no such price")

async def main():
    await or_end_process(work())
    print("went on")

asyncio.run(main())
print("left in order")
"""


def test_an_error_in_an_agent_ends_the_worker_at_once_and_says_why() -> None:
    code, out, err = ended(FAILS)
    assert code == RESTART
    assert out == ""
    assert "ValueError: no such price" in err.splitlines()[-1]


@pytest.mark.parametrize("code", [REFUSED, RESTART])
def test_a_worker_ends_with_the_code_it_is_given_and_nothing_is_cleaned_up(code: int) -> None:
    script = f"""
import atexit
from agents.process_guard import end_process
atexit.register(print, "cleaned up")
try:
    end_process("the topics lack", code={code})
finally:
    print("finally")
"""
    assert ended(script) == (code, "", "the topics lack\n")


async def test_work_that_is_done_or_cancelled_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons: list[str] = []
    monkeypatch.setattr("agents.process_guard.end_process", reasons.append)
    await or_end_process(asyncio.sleep(0))
    waiting = asyncio.create_task(or_end_process(asyncio.sleep(60)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert reasons == []
