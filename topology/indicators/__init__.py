"""Indicators by spec: ``SMA:20`` is the simple moving average of 20 closes, published as ``SMA_20``. Pure.

Each module here that defines an `Indicator` defines one. A new one is one new file: it is found by its ``TYPE``.
"""

from __future__ import annotations

from collections.abc import Sequence

from topology.indicators.indicator import KEPT_CLOSES, Indicator, Pane
from topology.indicators.spec import TYPES, IndicatorError, IndicatorSpec

__all__ = [
    "KEPT_CLOSES",
    "TYPES",
    "Indicator",
    "IndicatorError",
    "IndicatorSpec",
    "Pane",
    "create",
    "name",
    "parse_specs",
    "restore",
]


def create(spec: str) -> Indicator:
    """Make the indicator that ``spec`` names, with no candle seen. Raises `IndicatorError`."""
    return IndicatorSpec.parse(spec).create()


def restore(spec: str, state: Sequence[float], closes: Sequence[int]) -> Indicator:
    """Make the indicator that ``spec`` names as it was, see `Indicator.restore`. Raises `IndicatorError`."""
    return IndicatorSpec.parse(spec).restore(state, closes)


def name(spec: str) -> str:
    """Give the name under which values are published: ``SMA_20`` for ``SMA:20``. Raises `IndicatorError`."""
    return IndicatorSpec.parse(spec).name


def parse_specs(text: str) -> list[str]:
    """Read a list like ``"SMA:9, ema:21"`` into specs (``["SMA:9", "EMA:21"]``), in its order; blank text has none.

    Raises `IndicatorError` for a part that names no indicator, and for one that is there twice.
    """
    specs: list[str] = []
    for part in text.split(",") if text.strip() else ():
        spec = str(IndicatorSpec.parse(part))
        if spec in specs:
            raise IndicatorError(f"indicator {spec!r} is there twice; name each one once")
        specs.append(spec)
    return specs
