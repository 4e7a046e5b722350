from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from topology.cli.main import main
from topology.embedded.loopback import LOOPBACK, free_port
from topology.simulator import DEMONSTRATION
from topology.simulator.faults import KINDS

CALL = [sys.executable, "-c", "import sys; from topology.cli.main import main; sys.exit(main())", "simulate"]
SECRETS = {"ANGEL_PASSWORD": "9182", "ANGEL_API_KEY": "own-key-77", "ANGEL_CLIENT_CODE": "OWN1"}

Start = Callable[..., Any]


@pytest.fixture
def simulate(tmp_path: Path) -> Start:
    """Starts the command on a free port, gives its lines and its address, and ends it with Ctrl-C."""

    @contextmanager
    def started(*argv: object, **variables: str) -> Iterator[tuple[list[str], str]]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("ANGEL_")} | variables
        port = free_port()
        command = [*CALL, "--addr", f":{port}", *map(str, argv)]
        with subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line.rstrip())
                if "Ctrl-C" in line:
                    break
            try:
                yield lines, f"http://{LOOPBACK}:{port}"
            finally:
                process.send_signal(signal.SIGINT)
            rest, errors = process.communicate()
            assert (process.returncode, rest, errors) == (130, "", "")

    return started


def fetched(url: str, said: object = None) -> Any:
    body = None if said is None else json.dumps(said).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=body)) as answer:
        return json.loads(answer.read())


def test_it_says_what_runs_where_and_how_to_use_it(simulate: Start) -> None:
    with simulate("--instruments", 20, "--rate", 50, "--seed", 3, "--fault", "silent:for=1h@+1h") as (lines, url):
        assert lines[0] == f"SIMULATED broker at {url}: a random walk of 20 instruments, 50 ticks/s, seed 3"
        for name in ("API", "FEED", "MASTER"):
            assert any(line.strip().startswith(f"export ANGEL_{name}_URL=") for line in lines)
        assert any(f"ANGEL_TOTP_SECRET={DEMONSTRATION['totp_secret']}" in line for line in lines)
        health = fetched(f"{url}/health")
        assert (health["status"], health["simulated"], health["instruments"]) == ("ok", True, 20)
        assert fetched(f"{url}/faults", {"name": "silent", "for": "5s"})["name"] == "silent"
        assert [row["state"] for row in fetched(f"{url}/faults")["faults"]] == ["to come", "active"]


def test_an_own_account_is_never_shown(simulate: Start) -> None:
    with simulate(**SECRETS) as (lines, _):
        assert not [secret for secret in SECRETS.values() if secret in "\n".join(lines)]
        assert any("ANGEL_TOTP_SECRET=" in line for line in lines)


def test_it_plays_what_was_recorded(simulate: Start, tmp_path: Path) -> None:
    path = Path(tmp_path / "day.csv")
    path.write_text("timestamp,price\n" + "".join(f"2022-11-22 09:15:{second:02},18000.5\n" for second in range(60)))
    with simulate("--play", path, "--speed", 20, "--date", "2022-11-23") as (lines, url):
        assert "60 recorded ticks of 1 instruments, times of 2022-11-23, speed 20" in lines[0]
        while fetched(f"{url}/health")["printed"] < 50:  # the first ones were due while it started
            pass


def test_an_address_that_is_taken_is_one_line(simulate: Start, capsys: pytest.CaptureFixture[str]) -> None:
    with simulate() as (_, url):
        assert main(["simulate", "--addr", url.removeprefix("http://")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "TICK_SERVER_ADDR" in line
    assert "--addr" in line


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--addr", "nowhere"], "host:port"),
        (["--instruments", "0"], "up to 3000"),
        (["--instruments", "TATA"], "write exchange and token"),
        (["--rate", "0"], "above 0"),
        (["--speed", "fast"], "above 0"),
        (["--date", "soon"], "2026-11-24"),
        (["--fault", "explode"], "is not one of"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_is_allowed(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["simulate", *argv])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_file_that_cannot_be_played_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--play", str(tmp_path / "none.csv")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "none.csv" in line


def test_a_fault_in_the_past_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--addr", f":{free_port()}", "--fault", "silent@2022-11-22T09:15"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "begun already" in line


def test_the_help_lists_every_fault_and_the_demonstration_account(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "--help"])
    shown = capsys.readouterr().out
    assert [name for name in KINDS if f"      {name}" not in shown] == []
    assert DEMONSTRATION["totp_secret"] in shown
