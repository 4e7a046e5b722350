"""What a reload requests, against what the log computes: the configuration it makes, and what stays, comes and goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from topology import indicators
from topology.log.frames import LONGEST_S, SHORTEST_S, Configure


class ConfigurationError(ValueError):
    """What is requested can't be computed; one line says which part and why."""


class ConfigurationDiff(NamedTuple):
    """What stays, comes and goes: ``"SMA_34:60"`` is an indicator, ``"candles:60"`` the candles of a timeframe."""

    preserved: list[str]
    created: list[str]
    removed: list[str]

    def __bool__(self) -> bool:
        """Whether anything else is computed."""
        return bool(self.created or self.removed)


def requested_configuration(current: Configure, requested: Iterable[tuple[int, Sequence[str]]]) -> Configure:
    """Return the configuration of a log with the requested timeframes (in seconds) and indicators (``"SMA:34"``).

    What is requested is all that is computed from then on: a timeframe that it doesn't name goes, with its indicators,
    and so does an indicator that isn't named with its timeframe. One that is there already stays, and a timeframe
    without indicators has candles only. Instrument classes, calendar and lateness stay as they are.

    Raises ConfigurationError for nothing at all, a timeframe out of bounds, an indicator that doesn't exist, and what
    is there twice.
    """
    timeframes: dict[int, list[str]] = {}
    for timeframe_s, specs in requested:
        if timeframe_s in timeframes:
            raise ConfigurationError(f"timeframe {timeframe_s} s is there twice: name each one once")
        timeframes[timeframe_s] = _specs(timeframe_s, specs)
    if not timeframes:
        raise ConfigurationError("no timeframe is named: name at least one")
    return msgspec.structs.replace(current, id=0, timeframes=dict(sorted(timeframes.items())))


def _specs(timeframe_s: int, specs: Sequence[str]) -> list[str]:
    if not SHORTEST_S <= timeframe_s <= LONGEST_S:
        raise ConfigurationError(f"timeframe {timeframe_s} s: from {SHORTEST_S} to {LONGEST_S} seconds")
    try:
        for spec in specs:
            indicators.name(spec)  # each is one, whatever commas it holds
        return indicators.parse_specs(",".join(specs))
    except indicators.IndicatorError as error:
        raise ConfigurationError(f"timeframe {timeframe_s} s: {error}") from error


def configuration_diff(current: Configure, wanted: Configure) -> ConfigurationDiff:
    """Compare what two configurations compute; each list in the order of the timeframes, candles first."""
    before, after = _computed(current), _computed(wanted)
    return ConfigurationDiff(
        preserved=[each for each in after if each in before],
        created=[each for each in after if each not in before],
        removed=[each for each in before if each not in after],
    )


def _computed(configuration: Configure) -> list[str]:
    return [
        f"{name}:{timeframe_s}"
        for timeframe_s, specs in sorted(configuration.timeframes.items())
        for name in ("candles", *map(indicators.name, specs))
    ]
