"""How the configuration that is asked for differs from the one that stands in the log, in words."""

from __future__ import annotations

from functools import lru_cache

from topology import indicators
from topology.log.frames import Configure
from topology.market import Calendar, CalendarError
from topology.market.instruments import default_class


@lru_cache
def label(text: str) -> str:
    """Return name and version of a calendar in place of its text."""
    try:
        calendar = Calendar.parse(text)
    except CalendarError:
        return "a calendar that can't be read"
    return f"{calendar.name}, version {calendar.version}"


def differences(current: Configure, wanted: Configure) -> list[str]:
    """Say line by line what ``wanted`` would change, nothing where it changes nothing."""
    lines = _timeframes(current.timeframes, wanted.timeframes)
    for instrument, of_class in wanted.classes.items():
        if (before := current.classes.get(instrument) or default_class(instrument)) != of_class:
            lines.append(f"{instrument}: class {before} -> {of_class}")
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
