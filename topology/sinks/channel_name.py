"""What values are called in Redis, built and read in one place.

A value is named ``tick``, ``candle:60s`` or ``ind:SMA_20:60s``; with its instrument it is a channel:
``pub:tick:NSE:2885``, ``pub:candle:60s:NSE:2885``, ``pub:ind:SMA_20:60s:NSE:2885``. Streams and keys of latest values
have the same name and instrument.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from topology.log.frames import CANDLES, INDICATORS, TIMEFRAMES

TICK = "tick"

_SHAPE = re.compile(
    r"pub:(?P<name>tick|candle:(?P<candle_s>[1-9]\d{0,4})s|ind:(?P<indicator>[A-Z]{1,12}_\d{1,3}):(?P<value_s>[1-9]\d{0,4})s)"
    r":(?P<instrument>[A-Z]{2,4}:\d{1,25})",
    re.ASCII,
)


class ChannelName(NamedTuple):
    """A channel of an instrument. ``stage`` is the topic that its values come from.

    That of ticks is "": they are no stage's, and only the newest counts. ``name`` is that of the value alone.
    """

    name: str
    instrument: str
    stage: str
    timeframe_s: int
    indicator: str

    @classmethod
    def parse(cls, text: str) -> ChannelName | None:
        """Read a channel; None for what is none. A name that can be read is safe in JSON.

        >>> ChannelName.parse("pub:candle:60s:NSE:2885")
        ChannelName(name='candle:60s', instrument='NSE:2885', stage='candles_tf', timeframe_s=60, indicator='')
        """
        match = _SHAPE.fullmatch(text)
        if match is None:
            return None
        if match["candle_s"]:
            return cls.of_candles(match["instrument"], int(match["candle_s"]))
        if match["indicator"]:
            return cls.of_indicator(match["instrument"], match["indicator"], int(match["value_s"]))
        return cls.of_ticks(match["instrument"])

    @classmethod
    def of_ticks(cls, instrument: str) -> ChannelName:
        """Return the channel of an instrument's ticks."""
        return cls(TICK, instrument, "", 0, "")

    @classmethod
    def of_candles(cls, instrument: str, timeframe_s: int) -> ChannelName:
        """Return the channel of an instrument's candles."""
        stage = CANDLES if timeframe_s == 1 else TIMEFRAMES
        return cls(candle_name(timeframe_s), instrument, stage, timeframe_s, "")

    @classmethod
    def of_indicator(cls, instrument: str, indicator: str, timeframe_s: int) -> ChannelName:
        """Return the channel of an indicator's values."""
        return cls(indicator_name(indicator, timeframe_s), instrument, INDICATORS, timeframe_s, indicator)

    def __str__(self) -> str:
        """Return its name in Redis."""
        return channel(self.name, self.instrument)


def candle_name(timeframe_s: int) -> str:
    """Return what candles of a timeframe are called, ``candle:60s``."""
    return f"candle:{timeframe_s}s"


def indicator_name(indicator: str, timeframe_s: int) -> str:
    """Return what values of an indicator are called, ``ind:SMA_20:60s``."""
    return f"ind:{indicator}:{timeframe_s}s"


def channel(name: str, instrument: str) -> str:
    """Return the channel on which a value of this name is published."""
    return f"pub:{name}:{instrument}"
