"""`topology configure`: the log's configuration against that of the environment, and the command that applies it."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import msgspec

from topology import indicators, topics
from topology.cli.calendar import label
from topology.log.frames import Configure
from topology.market import Calendar
from topology.settings import Settings

EXAMPLE = """example:
  INDICATOR_CONFIGS=SMA:20,EMA:21,RSI:14,SMMA:14 topology configure"""


def add(subparsers: Any) -> None:
    """Describe the command."""
    subparsers.add_parser(
        "configure",
        description="Compares what the environment asks for (ENABLED_TFS, INDICATOR_CONFIGS, ALLOWED_LATENESS_MS, "
        "CALENDAR_FILE) with what the log computes, and appends a command to the log where they differ. The feed "
        "copies it into every partition: one that runs within a second or two, one that doesn't when it is started. "
        "The stages follow it from the frame that carries it on; an indicator that is new starts with the closes "
        "that are known.",
        epilog=EXAMPLE,
    )


def run(_: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code."""
    asyncio.run(_configure(settings))
    return 0


def from_settings(settings: Settings) -> Configure:
    """Return the configuration that the environment asks for. Its id is 0: the log gives it one.

    Raises CalendarError for a calendar that can't be used, OSError for one that can't be read.
    """
    return Configure(
        id=0,
        timeframes={seconds: list(settings.indicators) for seconds in settings.enabled_tfs},
        classes={},
        calendar=Calendar.parse(settings.calendar_text()).text,
        lateness_ms=settings.allowed_lateness_ms,
    )


def differences(current: Configure, wanted: Configure) -> list[str]:
    """Say line by line what ``wanted`` would change, nothing where it changes nothing. Classes are not compared."""
    lines = _timeframes(current.timeframes, wanted.timeframes)
    if current.lateness_ms != wanted.lateness_ms:
        lines.append(f"allowed lateness: {current.lateness_ms} ms -> {wanted.lateness_ms} ms")
    if current.calendar != wanted.calendar:
        lines.append(f"calendar: {label(current.calendar)} -> {label(wanted.calendar)}")
    return lines


def _timeframes(current: dict[int, list[str]], wanted: dict[int, list[str]]) -> list[str]:
    """Describe timeframes that come, go or change; those that change alike share a line."""
    changed: dict[str, list[int]] = {}
    for seconds in sorted(current.keys() | wanted.keys()):
        if seconds not in wanted:
            change = "removed"
        elif seconds not in current:
            change = f"added, with {_names(wanted[seconds]) or 'no indicators'}"
        else:
            change = _indicators(current[seconds], wanted[seconds])
        if change:
            changed.setdefault(change, []).append(seconds)
    return [f"timeframe {', '.join(f'{s} s' for s in seconds)}: {change}" for change, seconds in changed.items()]


def _indicators(current: list[str], wanted: list[str]) -> str:
    added = _names([spec for spec in wanted if spec not in current])
    removed = _names([spec for spec in current if spec not in wanted])
    return "; ".join([*([f"{added} added"] if added else []), *([f"{removed} removed"] if removed else [])])


def _names(specs: list[str]) -> str:
    return ", ".join(indicators.name(spec) for spec in specs)


async def _configure(settings: Settings) -> None:
    log = await topics.read(settings.bootstrap, settings.namespace)
    # The environment names no instrument classes: those of the log stay.
    wanted = msgspec.structs.replace(from_settings(settings), classes=log.configuration.classes)
    lines = differences(log.configuration, wanted)
    if not lines:
        print(f"nothing to do: log {log.header.log} computes what the environment asks for")
        return
    print(f"log {log.header.log}, from the next frame of the feed on:")
    for line in lines:
        print(f"  {line}")
    await topics.command(settings.bootstrap, settings.namespace, wanted)
    print("written to the log; a feed that runs copies it into every partition, one that doesn't when it is started")
