"""Indicators by spec: ``SMA:20`` is the simple moving average of 20 closes, published as ``SMA_20``. Pure.

Each module here, `indicator` aside, defines one indicator. A new one is one new file: it is found by its ``TYPE``.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Sequence

from topology.indicators.indicator import KEPT_CLOSES, Indicator

__all__ = ["KEPT_CLOSES", "TYPES", "Indicator", "IndicatorError", "create", "name", "parse_specs", "restore"]


class IndicatorError(ValueError):
    """A spec that names no indicator; its one line says which part is wrong and what is allowed."""


def create(spec: str) -> Indicator:
    """Make the indicator that ``spec`` names, with no candle seen. Raises `IndicatorError`."""
    kind, period = _parse(spec)
    return TYPES[kind](period)


def restore(spec: str, state: Sequence[float], closes: Sequence[int]) -> Indicator:
    """Make the indicator that ``spec`` names as it was, see `Indicator.restore`. Raises `IndicatorError`."""
    kind, period = _parse(spec)
    return TYPES[kind].restore(period, state, closes)


def name(spec: str) -> str:
    """Give the name under which values are published: ``SMA_20`` for ``SMA:20``. Raises `IndicatorError`."""
    kind, period = _parse(spec)
    return f"{kind}_{period}"


def parse_specs(text: str) -> list[str]:
    """Read a list like ``"SMA:9, ema:21"`` into specs (``["SMA:9", "EMA:21"]``), in its order; blank text has none.

    Raises `IndicatorError` for a part that names no indicator, and for one that is there twice.
    """
    specs: list[str] = []
    for part in text.split(",") if text.strip() else ():
        kind, period = _parse(part)
        spec = f"{kind}:{period}"
        if spec in specs:
            raise IndicatorError(f"indicator {spec!r} is there twice; name each one once")
        specs.append(spec)
    return specs


def _parse(spec: str) -> tuple[str, int]:
    kind, colon, digits = (part.strip() for part in spec.upper().partition(":"))
    if not colon:
        raise IndicatorError(f"indicator {spec.strip()!r}: write TYPE:PERIOD, as in SMA:20")
    if kind not in TYPES:
        raise IndicatorError(f"indicator {spec.strip()!r}: no type {kind!r}; there are {', '.join(TYPES)}")
    longest = TYPES[kind].MAX_PERIOD
    if not re.fullmatch("[0-9]{1,3}", digits) or not 1 <= int(digits) <= longest:
        raise IndicatorError(f"indicator {spec.strip()!r}: the period of {kind} is a whole number from 1 to {longest}")
    return kind, int(digits)


def _discover(module_names: Iterable[str]) -> dict[str, type[Indicator]]:
    """Import the modules and give their indicators by type; one that defines none, or a type twice, is an error."""
    types: dict[str, type[Indicator]] = {}
    for module_name in module_names:
        importlib.import_module(module_name)
        found = [cls for cls in Indicator.__subclasses__() if cls.__module__ == module_name]
        if len(found) != 1 or found[0].TYPE in types:
            raise ImportError(f"{module_name} must define one Indicator, of a TYPE that no other module has")
        types[found[0].TYPE] = found[0]
    return types


TYPES = _discover(
    f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__) if module.name != "indicator"
)
"""Every indicator there is, by its type, in alphabetical order."""
