"""The command as a user calls it, and the recordings of 200 instruments with what has to come of them."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.reference.brute_force import Expected, Row, expected, trading_hours
from tests.run.days import derived, generated_days, real_days, write_csv

ROOT = Path(__file__).parents[2]
TIMEFRAMES_S = (30, 60, 120, 300)
SPECS = ("SMA:20", "EMA:9", "RSI:14", "SMMA:14")


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


class Recorded(NamedTuple):
    """A recording: its rows, the file that holds them, and what has to come of it."""

    rows: list[Row]
    path: Path
    wanted: Expected
    variables: dict[str, str]


@pytest.fixture(scope="session")
def two_hundred(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """200 instruments on all partitions, made out of the real days, or of generated ones where those are absent."""
    folder = Path(os.environ.get("MARKET_DATA_DIR") or ROOT.parent / "shared/data") / "nifty50"
    files = [path for path in sorted(folder.glob("*.csv*")) if path.name != "2022-11-08.csv.gz"]
    if not files:
        missing = f"no recorded days in {folder}: the 200 instruments are made out of generated ones"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        warnings.warn(missing, stacklevel=1)
    rows = derived(real_days(files) if files else generated_days())
    path = write_csv(tmp_path_factory.mktemp("days") / "two-hundred.csv", rows)
    hours = trading_hours(date(2022, 11, 21), date(2022, 11, 22))
    wanted = expected(rows, hours, timeframes_s=TIMEFRAMES_S, specs=SPECS)
    variables = {"ENABLED_TFS": ",".join(map(str, TIMEFRAMES_S)), "INDICATOR_CONFIGS": ",".join(SPECS)}
    return Recorded(rows, path, wanted, variables)
