"""What frames become in Redis: entries of streams, latest values and messages, and how long the streams are.

A value of ``name`` (``candle:60s``, ``ind:SMA_20:60s``, ``tick``) and instrument lives in the stream
``{name}:{instrument}``, the key ``{name}:latest:{instrument}`` and the channel ``pub:{name}:{instrument}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from math import ceil
from typing import Literal, NamedTuple

from topology.log.frames import CandleFrame, IndicatorFrame, IndicatorValue, TickFrame, TimeframeFrame
from topology.market.candle import Candle
from topology.market.history import History
from topology.market.quotes import Quote
from topology.market.ticks import Tick
from topology.sinks.channel_name import ChannelName, candle_name, indicator_name
from topology.sinks.cursor import StoredFrame
from topology.sinks.values import candle_json, indicator_json, tick_json

SECONDS_LENGTH = 12_000
ENTRIES_PER_MB = 5_000
"""An entry takes about 0.2 KB."""
HISTORY_PUBLISHED = 1_000
"""Candles of one piece of history; a warm-up may bring more, which readers find in the archive."""


class Command(NamedTuple):
    """An order to ``mirror.lua``: add to the stream, set the latest value, publish on the channel; each with the next.

    ``say`` is to publish alone, ``keep`` to set and not to publish. ``id`` and ``length`` belong to the stream.
    ``position`` is that of the frame; the script doesn't need it.
    """

    how: Literal["add", "set", "keep", "say"]
    name: str
    instrument: str
    data: bytes
    id: str = ""
    length: int = 0
    position: int = -1


ListenedChannels = Mapping[str, Set[str]]
"""Instruments that somebody listens to, with the names of what they listen to of them."""


def listened_channels(channels: Iterable[str]) -> ListenedChannels:
    """What is listened to on these channels, which may be others than ours.

    >>> listened_channels(["pub:tick:NSE:2885", "pub:ind:SMA_9:60s:BSE:1", "pub:other"])
    {'NSE:2885': {'tick'}, 'BSE:1': {'ind:SMA_9:60s'}}
    """
    listened: dict[str, set[str]] = {}
    for name in map(ChannelName.parse, channels):
        if name is not None:
            listened.setdefault(name.instrument, set()).add(name.name)
    return listened


def stream_lengths(instruments: int, indicators: Mapping[int, int], *, budget_mb: int) -> dict[int, int]:
    """Entries to keep in each stream, by timeframe in seconds; all are cut by the same ratio to fit the budget.

    ``indicators`` maps each timeframe above a second to the number of its indicators.

    >>> stream_lengths(1, {60: 7, 300: 7}, budget_mb=2048)
    {1: 12000, 60: 280, 300: 200}
    """
    lengths = {1: SECONDS_LENGTH} | {seconds: max(10_800 // seconds + 100, 200) for seconds in indicators}
    entries = instruments * sum(length * (1 + indicators.get(seconds, 0)) for seconds, length in lengths.items())
    ratio = min(1.0, budget_mb * ENTRIES_PER_MB / max(entries, 1))
    return {seconds: max(int(length * ratio), 1) for seconds, length in lengths.items()}


class StreamCommands:
    """Turns frames into commands. It sizes the streams by what it has seen so far, all together ``budget_mb``.

    ``partitions`` is how many the topics have: from the instruments of those seen it estimates the number of all.
    """

    def __init__(self, *, partitions: int, budget_mb: int) -> None:
        self._partitions, self._budget_mb = partitions, budget_mb
        self._seen_partitions: set[int] = set()
        self._instruments: set[str] = set()
        self._indicators: dict[int, set[str]] = {}
        self._sized_for: tuple[int, ...] = ()
        self._lengths: dict[int, int] = {}

    def commands(
        self, frames: list[StoredFrame], *, live: bool, listened: ListenedChannels | None = None
    ) -> list[Command]:
        """The commands of frames of one source: every final row in order, then the newest of what is for eyes only.

        The rows that a frame has of a channel follow each other, so that they can be published in one go.
        What history fills in or corrects is published after the rows of its frame, and stored nowhere.
        Ticks are for eyes only, as are the ``live`` rows; with ``live`` false those rows are left out. What is for
        eyes only is published where it is ``listened``, with None everywhere.
        """
        for stored in frames:
            self._see(stored)
        self._resize()
        rows = [command for stored in frames for command in sorted(self._rows(stored), key=_channel)]
        return rows + _newest_ticks(frames, listened) + (_newest_live(frames, listened) if live else [])

    def _see(self, stored: StoredFrame) -> None:
        self._seen_partitions.add(stored.partition)
        match stored.frame:
            case CandleFrame() | TimeframeFrame() as frame:
                self._instruments.update(candle.instrument for candle in frame.rows)
                for candle in frame.rows:
                    self._indicators.setdefault(candle.timeframe_s, set())
            case IndicatorFrame() as frame:
                for value in frame.rows:
                    self._indicators.setdefault(value.timeframe_s, set()).add(value.name)

    def _resize(self) -> None:
        timeframes = {seconds: len(names) for seconds, names in self._indicators.items() if seconds > 1}
        instruments = ceil(len(self._instruments) * self._partitions / len(self._seen_partitions))
        seen = (instruments, *timeframes, *timeframes.values())
        if seen != self._sized_for:
            self._lengths = stream_lengths(instruments, timeframes, budget_mb=self._budget_mb)
            self._sized_for = seen

    def _rows(self, stored: StoredFrame) -> Iterator[Command]:
        match stored.frame:
            case CandleFrame() | TimeframeFrame() as frame:
                for candle in frame.rows:
                    command = _candle(candle, stored, forming=False)
                    yield self._added(command, candle.timeframe_s, candle.start_ms)
            case IndicatorFrame() as frame:
                for value in frame.rows:
                    command = _indicator(value, stored, live=False)
                    yield self._added(command, value.timeframe_s, value.start_ms)
        if isinstance(stored.frame, TimeframeFrame):
            for history in stored.frame.history:
                yield from _of_history(history, stored)

    def _added(self, command: Command, timeframe_s: int, start_ms: int) -> Command:
        return command._replace(how="add", id=f"{start_ms}-0", length=self._lengths[timeframe_s])


def _channel(command: Command) -> tuple[str, str]:
    return command.name, command.instrument


def _of_history(history: History, stored: StoredFrame) -> list[Command]:
    """The newest candles of history, to be published only. Where more start afresh, readers look at all of them."""
    if history.reset and len(history.candles) > HISTORY_PUBLISHED:
        return []
    newest = history.candles[-HISTORY_PUBLISHED:]
    return [_candle(candle, stored, forming=False, revision=history.revision) for candle in newest]


def _newest_ticks(frames: Iterable[StoredFrame], listened: ListenedChannels | None) -> list[Command]:
    """The newest tick of each instrument and its newest quote, which is also there when nothing was traded."""
    ticks: dict[str, tuple[Tick, StoredFrame]] = {}
    quotes: dict[str, tuple[Quote, StoredFrame]] = {}
    for stored in frames:
        if isinstance(stored.frame, TickFrame):
            ticks |= {tick.instrument: (tick, stored) for tick in sorted(stored.frame.ticks, key=_time)}
            quotes |= {quote.instrument: (quote, stored) for quote in sorted(stored.frame.quotes, key=_time)}
    return [_tick(ticks.get(name), quotes.get(name), listened) for name in {**ticks, **quotes}]


def _newest_live(frames: Iterable[StoredFrame], listened: ListenedChannels | None) -> list[Command]:
    newest: dict[tuple[str, str], tuple[Candle | IndicatorValue, StoredFrame]] = {}
    for stored in frames:
        for value in () if isinstance(stored.frame, TickFrame) else stored.frame.live:
            if listened is not None and value.instrument not in listened:  # first, since it is so of nearly all
                continue
            name = _name(value)
            if listened is None or name in listened[value.instrument]:
                newest[name, value.instrument] = value, stored
    return [
        _candle(value, stored, forming=True) if isinstance(value, Candle) else _indicator(value, stored, live=True)
        for value, stored in newest.values()
    ]


def _name(value: Candle | IndicatorValue) -> str:
    if isinstance(value, Candle):
        return candle_name(value.timeframe_s)
    return indicator_name(value.name, value.timeframe_s)


def _time(row: Tick | Quote) -> int:
    return row.time_ms


def _tick(
    tick: tuple[Tick, StoredFrame] | None, quote: tuple[Quote, StoredFrame] | None, listened: ListenedChannels | None
) -> Command:
    either = tick or quote
    assert either is not None
    newest, stored = either
    data = tick_json(tick and tick[0], quote and quote[0], position=stored.position, partition=stored.partition)
    is_listened = listened is None or "tick" in listened.get(newest.instrument, ())
    return Command("set" if is_listened else "keep", "tick", newest.instrument, data)


def _candle(candle: Candle, stored: StoredFrame, *, forming: bool, revision: int | None = None) -> Command:
    data = candle_json(candle, forming=forming, position=stored.position, partition=stored.partition, revision=revision)
    return Command("say", _name(candle), candle.instrument, data, position=stored.position)


def _indicator(value: IndicatorValue, stored: StoredFrame, *, live: bool) -> Command:
    data = indicator_json(value, live=live, position=stored.position, partition=stored.partition)
    return Command("say", _name(value), value.instrument, data, position=stored.position)
