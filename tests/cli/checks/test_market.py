from __future__ import annotations

import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from topology.cli.checks import Severity
from topology.cli.checks.market import FRESH_S, USABLE_S, calendar, master
from topology.settings import SIM, Settings

TIME_S = 1_795_492_800.0


@pytest.mark.parametrize(
    ("today", "level"),
    [
        (date(2026, 11, 24), Severity.OK),
        (date(2026, 12, 1), Severity.OK),
        (date(2026, 12, 2), Severity.WARN),
        (date(2026, 12, 31), Severity.WARN),
        (date(2027, 1, 1), Severity.BAD),
    ],
)
def test_the_calendar_must_cover_today_and_should_cover_the_next_30_days(
    today: date, level: Severity, settings: Settings
) -> None:
    (finding,) = calendar(settings, today)
    assert finding.level is level
    assert ("CALENDAR_FILE" in finding.advice) == (level is not Severity.OK)


@pytest.mark.parametrize("text", ["", "{}", "\xff"])
def test_a_calendar_that_cannot_be_read_is_bad(text: str, settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "calendar.json"
    file.write_bytes(text.encode("latin-1"))
    (finding,) = calendar(replace(settings, calendar_file=file), date(2026, 11, 24))
    assert finding.level is Severity.BAD
    assert "CALENDAR_FILE" in finding.advice


def test_a_calendar_that_is_gone_is_bad(settings: Settings, tmp_path: Path) -> None:
    (finding,) = calendar(replace(settings, calendar_file=tmp_path / "gone.json"), date(2026, 11, 24))
    assert finding.level is Severity.BAD


@pytest.mark.parametrize(
    ("age_s", "level"),
    [
        (0.0, Severity.OK),
        (-60.0, Severity.OK),
        (FRESH_S, Severity.OK),
        (FRESH_S + 60, Severity.WARN),
        (USABLE_S + 60, Severity.BAD),
    ],
)
def test_the_list_of_instruments_should_be_of_today(age_s: float, level: Severity, settings: Settings) -> None:
    settings.namespace_dir.mkdir(parents=True)
    file = settings.namespace_dir / "instruments.db"
    file.touch()
    os.utime(file, (TIME_S - age_s, TIME_S - age_s))
    (finding,) = master(settings, TIME_S)
    assert finding.level is level
    assert ("topology instruments update" in finding.advice) == (level is not Severity.OK)


def test_without_a_list_of_instruments_of_this_namespace_it_is_bad(settings: Settings) -> None:
    settings.namespace_dir.mkdir(parents=True)
    (settings.namespace_dir / "instruments.db").touch()
    (finding,) = master(replace(settings, namespace=SIM), TIME_S)
    assert finding.level is Severity.BAD
