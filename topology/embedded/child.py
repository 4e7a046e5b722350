"""A child process that serves a port: started, waited for, stopped; it never outlives us."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from topology.embedded import guard

Progress = Callable[[str], None]
"""Shows, in a few words, what a slow start is doing."""


class EmbeddedError(RuntimeError):
    """An embedded service can't be had: one line that says why, with the path of its log where it has one."""


class Child:
    """A command in a session of its own, so that Ctrl-C in a terminal reaches us alone and we choose the order.

    ``name`` is for messages. What the command prints is added to the file ``log``. It also is the lock: the command
    and its guard hold it for as long as one of them lives, so that two never work in one folder (a second broker would
    get as far as ruining the first one's quorum before it noticed).
    """

    def __init__(self, name: str, *, log: Path) -> None:
        self.name = name
        self.log = log
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the command has been started and has not ended."""
        return self._guard is not None and self._guard.poll() is None

    def start(self, command: list[str], *, answers: Callable[[], bool], timeout_s: float = 120) -> None:
        """Start the command and wait until ``answers()``. Raises `EmbeddedError` if it ends instead, or never does."""
        with self.log.open("ab") as log:
            self._lock(log)
            self._close_pipe()  # of one that has ended: the lock is free
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout_s
        while not answers():
            if not self.running:
                self._close_pipe()
                raise EmbeddedError(f"{self.name} ended while it started; see {self.log}")
            if time.monotonic() > deadline:
                self.kill()
                raise EmbeddedError(f"{self.name} did not answer within {timeout_s:.0f} s; see {self.log}")
            time.sleep(0.05)

    def _lock(self, log: BinaryIO) -> None:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EmbeddedError(f"{self.name} is running already in {self.log.parent}") from error

    def stop(self) -> None:
        """End the command in order, or by force if it takes too long. Nothing happens if it doesn't run."""
        if self._guard is None or self._guard.stdin is None:
            return
        self._guard.stdin.close()
        try:
            self._guard.wait(guard.GRACE_S + 5)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the command at once, as a crash would."""
        if self._guard is not None and self.running:
            os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()
            with self.log.open("rb") as log:
                fcntl.flock(log, fcntl.LOCK_EX)  # waits for the end of the command itself, which isn't our child
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
