"""Runs the roles as child processes: started, started again when they die, stopped in order."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import msgspec

from agents.process_guard import REFUSED
from topology.backoff import Backoff
from topology.embedded import guard

QUICK_S = 10.0  # a role that dies sooner than this after its start is started again after a pause,
RETRY_S = (2.0, 40.0)  # from the second time on,
QUICK_DEATHS = 7  # and no more after so many times in a row: that is a minute and more
STOP_S = 30.0


class RoleError(Exception):
    """A role can't run here; the message is its own last line."""


class Process:
    """A child process in a session of its own; what it writes is added to the file ``log``."""

    def __init__(self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path) -> None:
        self.name, self.log = name, log
        self.restarts = 0
        self._quick_deaths = 0
        self._backoff = Backoff(RETRY_S, Random())
        self._starts_at_s: float | None = None  # after the pause for its last death
        self._command = command
        self._env = {**os.environ, **env}
        self._guard: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0

    def start(self) -> None:
        """Start the process. A guard between us ends it when we die."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.ask_to_stop()  # closes the pipe to one that has ended
        with self.log.open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, *self._command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )
        self._started_s = time.monotonic()

    @property
    def pid(self) -> int:
        """The process id of the guard, and of the process group that the role is in."""
        assert self._guard is not None, "the role has been started"
        return self._guard.pid

    def keep_running(self) -> str | None:
        """Start the process again when it has died, and say so. Raises RoleError where that would be of no use."""
        if self._guard is None or (code := self._guard.poll()) is None:
            return None
        if code == REFUSED:
            raise RoleError(f"{self.name}: {self.last_line()}")
        now_s = time.monotonic()
        if self._starts_at_s is None:
            self._starts_at_s = now_s + self._pause_s(now_s - self._started_s)
        if now_s < self._starts_at_s:
            return None
        self._starts_at_s = None
        self.restarts += 1
        restart = f"{self.name} has ended and is started again: {self.last_line()}"
        self.start()
        return restart

    def _pause_s(self, lived_s: float) -> float:
        """Return how long to wait before the next start. Raises RoleError where there is to be none."""
        if lived_s >= QUICK_S:
            self._quick_deaths = 0
            self._backoff.reset()
            return 0.0
        self._quick_deaths += 1
        if self._quick_deaths == QUICK_DEATHS:
            raise RoleError(f"{self.name} has ended {QUICK_DEATHS} times in a row: {self.last_line()}")
        return self._backoff.next_s() if self._quick_deaths > 1 else 0.0

    def ask_to_stop(self) -> None:
        """Tell the process to stop; it saves first."""
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()

    def wait(self) -> None:
        """Wait until the process is gone, and kill it if it takes too long."""
        if self._guard is None:
            return
        try:
            self._guard.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._guard.pid, 9)
            self._guard.wait()

    def last_line(self) -> str:
        """Return the message of the role's last log line."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.startswith("{")]
        return _message(lines[-1]) if lines else f"ended without a word; see {self.log}"


class RoleProcess(Process):
    """A role as a child process; ``options`` are those of `faust worker`."""

    def __init__(
        self, name: str, *, role: str, env: Mapping[str, str], log: Path, options: tuple[str, ...] = ()
    ) -> None:
        command = [sys.executable, "-m", "faust", "-A", "topology", "worker", *options]
        super().__init__(name, command, env={**env, "TOPOLOGY_ROLE": role}, log=log)


class Supervisor:
    """Roles in the order in which they are started; they are stopped in the same order, feed before what it feeds."""

    def __init__(self) -> None:
        self.roles: list[Process] = []

    def start(self, role: Process) -> None:
        """Start a role and look after it from here on."""
        self.roles.append(role)
        role.start()

    def keep_running(self) -> list[str]:
        """Start again what has died; return a line for each."""
        return [restart for role in self.roles if (restart := role.keep_running()) is not None]

    def stop(self) -> None:
        """Stop all, feeds first, so that nothing is left half read."""
        for role in self.roles:
            role.ask_to_stop()
        for role in self.roles:
            role.wait()


def _message(line: str) -> str:
    try:
        return str(msgspec.json.decode(line)["message"])
    except (msgspec.DecodeError, KeyError):
        return line
