"""`topology doctor`: checks what a first live morning trips over, and says what to do about it."""

from __future__ import annotations

import argparse
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from topology.cli import aligned
from topology.cli.checks import Finding, Severity, account, bad, channels, machine, market, services
from topology.market.times import IST
from topology.settings import SIM, Settings

EXAMPLE = """example:
  topology doctor --notify
  topology doctor --json | jq '.findings[] | select(.level != "ok")'"""
TIMEOUT_S = 5.0

Check = Callable[[], list[Finding]]


class Diagnosis(msgspec.Struct, frozen=True):
    """What `--json` prints."""

    simulated: bool
    namespace: str
    bad: int
    findings: list[Finding]


def add(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "doctor",
        description="Checks what a first live morning trips over: credentials, clock, calendar, instruments, the way "
        "to the broker, disk, memory, services, ports, versions and notifiers. Each line is ok, warn or bad, with what "
        "was found and what to do. The exit code is 1 where something is bad. No secret is shown.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--notify", action="store_true", help="send a test message through every notifier that is set")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code: 1 where a finding is bad."""
    findings = look(checks(settings, notify=arguments.notify), timeout_s=TIMEOUT_S)
    number = sum(finding.level is Severity.BAD for finding in findings)
    diagnosis = Diagnosis(settings.namespace == SIM, settings.namespace, number, findings)
    print(msgspec.json.encode(diagnosis).decode() if arguments.json else "\n".join(shown(diagnosis)))
    return 1 if number else 0


def checks(settings: Settings, *, notify: bool) -> dict[str, Check]:
    """Return every check by its name, in the order in which they are shown."""
    now_s = time.time()
    today = datetime.fromtimestamp(now_s, IST).date()
    egress = {f"egress {which}": partial(account.egress, settings, which) for which in ("api", "feed", "master")}
    return {
        "credentials": partial(account.credentials, settings),
        "clock": partial(account.clock, settings),
        **egress,
        "calendar": partial(market.calendar, settings, today),
        "instruments": partial(market.master, settings, now_s),
        "broker": partial(services.broker, settings),
        "redis": partial(services.redis, settings),
        "disk": partial(machine.disk, settings),
        "ports": partial(machine.ports, settings),
        "versions": machine.versions,
        "notifiers": partial(channels.notifiers, settings, notify=notify, now_ms=int(now_s * 1000)),
    }


def look(checks: Mapping[str, Check], *, timeout_s: float) -> list[Finding]:
    """Make all checks side by side; return what they found, in their order. One without an answer in time is bad."""
    found: dict[str, list[Finding]] = {}

    def make(name: str, check: Check) -> None:
        try:
            found[name] = check()
        except Exception as error:
            found[name] = [_defect(name, error)]

    # Threads that don't keep the process: a name that DNS doesn't answer can't be given up in any other way.
    threads = [threading.Thread(target=make, args=item, daemon=True) for item in checks.items()]
    for thread in threads:
        thread.start()
    end_s = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, end_s - time.monotonic()))
    return [finding for name in checks for finding in found.get(name) or [_silent(name, timeout_s)]]


def shown(diagnosis: Diagnosis) -> list[str]:
    """Return what was found as lines of text."""
    lines = ["SIMULATED market data"] if diagnosis.simulated else []
    return lines + aligned([_row(finding) for finding in diagnosis.findings])


def _row(finding: Finding) -> list[str]:
    advice = f" -> {finding.advice}" if finding.advice else ""
    return [f"{finding.level:<4}", finding.check, f"{finding.found}{advice}"]


def _silent(name: str, timeout_s: float) -> Finding:
    return bad(name, f"no answer within {timeout_s:g} s", "look at the network and DNS of this machine, and try again")


def _defect(name: str, error: Exception) -> Finding:
    """Say where a check broke off. What the error says is left out: nobody knows what it holds."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    found = f"the check broke off: {type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
    return bad(name, found, "a defect: please report it")
