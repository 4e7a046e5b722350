"""The configuration that the environment asks for, and how it differs from the one that stands in the log."""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache

from topology import indicators
from topology.angel.master.listings import FILE_NAME, Listings
from topology.feeds.subscriptions import named
from topology.log.frames import Configure
from topology.market import Calendar, CalendarError
from topology.market.instruments import default_class
from topology.settings import Settings


@lru_cache
def label(text: str) -> str:
    """Return name and version of a calendar in place of its text."""
    try:
        calendar = Calendar.parse(text)
    except CalendarError:
        return "a calendar that can't be read"
    return f"{calendar.name}, version {calendar.version}"


def from_settings(settings: Settings) -> Configure:
    """Return the configuration that the environment asks for. Its id is 0: the log gives it one.

    Raises CalendarError for a calendar that can't be used, OSError for one that can't be read.
    """
    return Configure(
        id=0,
        timeframes={seconds: list(settings.indicators) for seconds in settings.enabled_tfs},
        classes=_classes(settings),
        calendar=Calendar.parse(settings.calendar_text()).text,
        lateness_ms=settings.allowed_lateness_ms,
    )


def _classes(settings: Settings) -> dict[str, str]:
    """Return the classes of the subscribed instruments that the instrument master knows better than the exchange does.

    Without a copy of the master there are none: it is fetched before the first start by who needs it.
    """
    with Listings.opened(settings.namespace_dir / FILE_NAME) or nullcontext() as listings:
        if listings is None:
            return {}
        wanted = named(settings.subscribe_tokens, listings)
        found = [listing for instrument in wanted if (listing := listings.get(instrument)) is not None]
    classes = {str(listing.instrument): listing.instrument_class for listing in found}
    return {name: of_class for name, of_class in classes.items() if of_class != default_class(name)}


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
