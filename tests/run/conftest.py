"""The command as a user calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

ROOT = Path(__file__).parents[2]


class Ran(NamedTuple):
    """What a command left: exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The object that it printed."""
        found: dict[str, Any] = msgspec.json.decode(self.out)
        return found


Run = Callable[..., Ran]


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without settings of the system, and with these."""
    plain = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "JAVA_HOME") if name in os.environ}
    return plain | {"COLUMNS": "200"} | variables


@pytest.fixture(scope="session")
def run() -> Run:
    """`topology run`, in a process of its own, with these arguments and variables."""

    def run(*arguments: str | Path, **variables: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "topology.cli.main", "run", *map(str, arguments)],
            cwd=ROOT, env=environment(**variables), capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
