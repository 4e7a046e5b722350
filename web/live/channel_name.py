"""Channels by name: ``pub:tick:NSE:2885``, ``pub:candle:60s:NSE:2885``, ``pub:ind:SMA_20:60s:NSE:2885``."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from topology.log.frames import CANDLES, INDICATORS, TIMEFRAMES

_SHAPE = re.compile(
    r"pub:(?P<name>tick|candle:(?P<candle_s>[1-9]\d{0,4})s|ind:(?P<indicator>[A-Z]{1,12}_\d{1,3}):(?P<value_s>[1-9]\d{0,4})s)"
    r":(?P<instrument>[A-Z]{2,4}:\d{1,25})",
    re.ASCII,
)


class ChannelName(NamedTuple):
    """What a channel tells: ``stage`` is the topic that it comes from, "" for ticks, which are only the newest."""

    name: str
    instrument: str
    stage: str
    timeframe_s: int
    indicator: str

    def __str__(self) -> str:
        """Return its name in Redis."""
        return f"pub:{self.name}:{self.instrument}"


def channel(text: str) -> ChannelName | None:
    """Read the name of a channel; None for what is none. A name that can be read is safe in JSON.

    >>> channel("pub:candle:60s:NSE:2885")
    Channel(name='candle:60s', instrument='NSE:2885', stage='candles_tf', timeframe_s=60, indicator='')
    """
    found = _SHAPE.fullmatch(text)
    if found is None:
        return None
    name, instrument = found["name"], found["instrument"]
    if found["candle_s"]:
        timeframe_s = int(found["candle_s"])
        return ChannelName(name, instrument, CANDLES if timeframe_s == 1 else TIMEFRAMES, timeframe_s, "")
    if found["indicator"]:
        return ChannelName(name, instrument, INDICATORS, int(found["value_s"]), found["indicator"])
    return ChannelName(name, instrument, "", 0, "")


def candles(instrument: str, timeframe_s: int) -> ChannelName:
    """Return the channel of an instrument's candles."""
    stage = CANDLES if timeframe_s == 1 else TIMEFRAMES
    return ChannelName(f"candle:{timeframe_s}s", instrument, stage, timeframe_s, "")


def values(instrument: str, indicator: str, timeframe_s: int) -> ChannelName:
    """Return the channel of an indicator's values."""
    return ChannelName(f"ind:{indicator}:{timeframe_s}s", instrument, INDICATORS, timeframe_s, indicator)


class MessageHeader(msgspec.Struct, frozen=True, gc=False):
    """Of a message what the gateway has to know: a confirmed one is known by its position, ``ts`` and revision.

    ``tick_ts`` is the time of a tick in milliseconds.
    """

    position: int
    partition: int
    ts: int = 0
    tick_ts: int = 0
    forming: bool = False
    live: bool = False
    revision: int = -1


message_header = msgspec.json.Decoder(MessageHeader).decode
"""Read the marks of a message."""
