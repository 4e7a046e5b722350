"""The command: every check side by side, in time, and without a secret, however things fail."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from topology.cli import doctor
from topology.cli.checks import Finding, Severity, bad, ok, warn
from topology.cli.doctor import Diagnosis, checks, look, shown
from topology.cli.main import main
from topology.embedded.loopback import LOOPBACK, free_port
from topology.settings import Settings

ROOT = Path(__file__).parents[2]
SECRETS = {
    "ANGEL_API_KEY": "kEy5eCr3",
    "ANGEL_CLIENT_CODE": "S98765431",
    "ANGEL_PASSWORD": "PIN-5eCr3t",
    "ANGEL_TOTP_SECRET": "JBSWY3DPEHPK3PXPJBSWY3DPEH",
    "REDIS_PASSWORD": "redis-5eCr3t",
    "TELEGRAM_BOT_TOKEN": "7654321:bot-5eCr3t",
    "TELEGRAM_CHAT_ID": "-1009988776655",
}
BROKEN = {name: value + "!" for name, value in SECRETS.items()}
HOOK = "hook-5eCr3t"
NAMES = list(checks(Settings.from_env({}), notify=False))


@pytest.fixture
def mute() -> Iterator[int]:
    """A port where everyone gets through and nobody gets an answer."""
    with closing(socket.create_server((LOOPBACK, 0))) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Set every address to one port of this machine, and nothing else that the tests inherit."""
    monkeypatch.chdir(tmp_path)

    def set_to(port: int, *, scheme: str = "http", **variables: str) -> dict[str, str]:
        place = f"{LOOPBACK}:{port}"
        env = {
            "BROKER_URL": f"kafka://{place}",
            "REDIS_ADDR": place,
            "METRICS_ADDR": place,
            "ANGEL_API_URL": f"{scheme}://{place}",
            "ANGEL_FEED_URL": f"{scheme.replace('http', 'ws')}://{place}",
            "ANGEL_MASTER_URL": f"{scheme}://{place}/master.json",
            "NOTIFY_WEBHOOK_URL": f"{scheme}://{place}/{HOOK}",
            "TOPOLOGY_NAMESPACE": "live",
            "DATA_DIR": str(tmp_path),
            "CALENDAR_FILE": "",
            **variables,
        }
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        return env

    return set_to


def assert_no_secret(text: str) -> None:
    for secret in (*SECRETS.values(), *BROKEN.values(), HOOK, "5eCr3t", "9988776655"):
        assert secret not in text


def found(name: str) -> list[Finding]:
    return [ok(name, "fine")]


# -- Side by side.


def test_findings_come_in_the_order_of_the_checks_however_long_each_takes() -> None:
    second_is_done = threading.Event()

    def first() -> list[Finding]:
        assert second_is_done.wait(10)
        return found("first")

    def second() -> list[Finding]:
        second_is_done.set()
        return found("second")

    assert look({"first": first, "second": second}, timeout_s=10) == found("first") + found("second")


def test_a_check_without_an_answer_is_bad_and_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    never, now_s = threading.Event(), iter([0.0, 0.0, 60.0])  # the time is over when the first is done
    monkeypatch.setattr(doctor, "time", SimpleNamespace(monotonic=lambda: next(now_s)))

    def silent() -> list[Finding]:
        never.wait()
        return []

    try:
        other, one = look({"other": lambda: found("other"), "one": silent}, timeout_s=60)
    finally:
        never.set()
    assert (one.check, one.level) == ("one", Severity.BAD)
    assert "no answer within 60 s" in one.found
    assert other.level is Severity.OK


def test_a_check_that_breaks_off_is_bad_and_says_where_but_not_what() -> None:
    def breaks() -> list[Finding]:
        raise ZeroDivisionError(HOOK)

    one, other = look({"one": breaks, "other": lambda: found("other")}, timeout_s=10)
    assert one.level is Severity.BAD
    assert "ZeroDivisionError at test_doctor.py:" in one.found
    assert other.level is Severity.OK
    assert_no_secret(str(one))


def test_each_line_says_how_bad_it_is_what_was_found_and_what_to_do() -> None:
    findings = [ok("disk", "much room"), warn("clock", "late", "set it"), bad("redis", "away", "start it")]
    assert shown(Diagnosis(False, "live", 1, findings)) == [
        "ok    disk   much room",
        "warn  clock  late -> set it",
        "bad   redis  away -> start it",
    ]
    assert shown(Diagnosis(True, "sim", 1, findings))[0] == "SIMULATED market data"


@pytest.mark.parametrize(
    ("levels", "code"), [([Severity.OK], 0), ([Severity.OK, Severity.WARN], 0), ([Severity.WARN, Severity.BAD], 1)]
)
def test_the_exit_code_is_1_where_something_is_bad(
    levels: list[Severity], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = [Finding("x", level, "y", "z") for level in levels]
    monkeypatch.setattr(doctor, "checks", lambda settings, notify: {"x": lambda: findings})
    assert main(["doctor"]) == code
    assert len(capsys.readouterr().out.splitlines()) == len(levels)
    assert main(["doctor", "--json"]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["bad"] == levels.count(Severity.BAD)
    assert [finding["level"] for finding in told["findings"]] == levels


# -- The whole, where things fail.


@pytest.mark.parametrize("account", [SECRETS, BROKEN, {}])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_where_nothing_listens_every_line_says_what_to_do_and_no_secret(
    account: dict[str, str],
    scheme: str,
    environment: Callable[..., dict[str, str]],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    environment(free_port(), scheme=scheme, **account)
    assert main(["doctor"]) == 1
    text = capsys.readouterr()
    assert text.err == ""
    levels = {line.split()[0] for line in text.out.splitlines()}
    assert levels == {"ok", "warn", "bad"} if account is SECRETS else levels >= {"ok", "bad"}
    assert all(" -> " in line for line in text.out.splitlines() if not line.startswith("ok"))
    assert_no_secret(text.out + caplog.text)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_where_nothing_answers_it_ends_all_the_same_and_shows_no_secret(
    scheme: str, mute: int, environment: Callable[..., dict[str, str]]
) -> None:
    # Telegram is left out: its address can't be set from outside.
    env = environment(mute, scheme=scheme, **{n: v for n, v in SECRETS.items() if not n.startswith("TELEGRAM")})
    call = [sys.executable, "-m", "topology.cli.main", "doctor", "--notify"]
    path = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, env=os.environ | env | path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == ""
    assert {line.split()[1] for line in done.stdout.splitlines()} == {name.split()[0] for name in NAMES}
    assert_no_secret(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_a_defect_in_any_check_is_one_line_without_what_it_says(
    name: str,
    environment: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def breaks() -> list[Finding]:
        raise RuntimeError(" ".join([*SECRETS.values(), HOOK]))

    environment(free_port(), **SECRETS)
    monkeypatch.setattr(doctor, "checks", lambda settings, notify: {name: breaks})
    assert main(["doctor"]) == 1
    text = capsys.readouterr()
    (line,) = text.out.splitlines()
    assert line.startswith(f"bad   {name}  the check broke off: RuntimeError at test_doctor.py")
    assert_no_secret(text.out + text.err)


@pytest.mark.parametrize("name", ["NOTIFY_WEBHOOK_URL", "ANGEL_API_URL"])
def test_an_address_that_is_none_is_one_line_without_it(
    name: str, environment: Callable[..., dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    environment(free_port(), **{name: f"ftp://{HOOK}"})
    assert main(["doctor"]) == 1
    text = capsys.readouterr()
    (line,) = text.err.splitlines()
    assert name in line
    assert_no_secret(text.out + text.err)


def test_a_simulated_namespace_says_so(
    environment: Callable[..., dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    environment(free_port())
    main(["--sim", "doctor"])
    assert capsys.readouterr().out.startswith("SIMULATED")
    main(["--sim", "doctor", "--json"])
    assert json.loads(capsys.readouterr().out)["simulated"]
