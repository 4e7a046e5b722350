"""Lines of timeframes that are not stored: folded out of a line that is, once for all who hear them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

import msgspec

from topology.market import CalendarError
from topology.market.history import candle_interval
from topology.market.times import Interval
from topology.sinks.archive.reader import PageQuery
from topology.sinks.channel_name import ChannelName
from topology.sinks.cursor import SinkError
from topology.sinks.values import CandleJson
from web.gateway import Gateway
from web.http.problem import Problem
from web.live.channel import Channel, ConfirmedMessage, PositionGroup
from web.live.message_header import message_header
from web.queries.resampling import resample, stored_for

logger = logging.getLogger(__name__)

_CANDLE = msgspec.json.Decoder(CandleJson)
_encode = msgspec.json.Encoder().encode
_FAR_MS = 1 << 62


def base_of(gateway: Gateway, channel: ChannelName) -> ChannelName | None:
    """Return the channel that one is folded out of; None for one that is said itself, or can't be."""
    stored = gateway.log.configuration.timeframes
    if channel.indicator or channel.timeframe_s < 2 or channel.timeframe_s in stored:
        return None
    base_s = stored_for(channel.timeframe_s, stored)
    return None if base_s is None else ChannelName.of_candles(channel.instrument, base_s)


class ResampledChannel:
    """Hears the line of the shorter candles and tells those of the longer ones. It implements `Listener`.

    A candle is told as closed when the shorter one that ends with it closes, or a later one comes. A shorter candle
    that is corrected later has its longer one told again.
    """

    def __init__(
        self, gateway: Gateway, line: Channel, base: Channel, *, tell: Callable[[Channel, ConfirmedMessage], None],
        show: Callable[[Channel, bytes], None],
    ) -> None:  # fmt: skip
        self.base = base
        self._gateway, self._line, self._tell, self._show = gateway, line, tell, show
        self._interval = Interval(0, 0)
        self._parts: dict[int, CandleJson] = {}
        self._told = False  # whether the candle of this interval was told as closed
        self._mending: set[asyncio.Task[None]] = set()

    def begin(self, rows: Iterable[ConfirmedMessage]) -> None:
        """Take shorter candles that have closed, oldest first: what they make is in the stores."""
        for row in rows:
            self._add(_CANDLE.decode(row.data), tell=False)

    def confirmed(self, channel: str, group: PositionGroup) -> None:  # noqa: ARG002 - it hears one
        """Take shorter candles."""
        for message in group.messages:
            self._add(_CANDLE.decode(message.data), tell=True)

    def newest(self, channel: str, data: bytes, text: bytes) -> None:  # noqa: ARG002 - it hears one
        """Show what the longer candle is as long as it forms."""
        part = _CANDLE.decode(data)
        interval = self._around(part)
        if interval is None or interval < self._interval:
            return
        parts = self._parts if interval == self._interval else {}
        for candle in self._folded([*parts.values(), part]):
            self._show(self._line, _encode(msgspec.structs.replace(candle, forming=True)))

    def _add(self, part: CandleJson, *, tell: bool) -> None:
        interval = self._around(part)
        if interval is None:
            return
        if interval < self._interval:
            if tell:
                task = asyncio.create_task(self._mend(interval, part))
                self._mending.add(task)
                task.add_done_callback(self._mending.discard)
            return
        if interval > self._interval:
            self._close(tell=tell)
            self._interval, self._parts, self._told = interval, {}, False
        self._parts[part.ts] = part
        if self._told or (part.ts + part.tf) * 1000 >= interval.to_ms:
            self._told = False
            self._close(tell=tell)

    def _close(self, *, tell: bool) -> None:
        if self._parts and not self._told:
            self._told = True
            if tell:
                self._say(self._parts.values())

    async def _mend(self, interval: Interval, part: CandleJson) -> None:
        """Tell a candle of before again, of which a part has been corrected."""
        first_s, end_s = interval.from_ms // 1000, -(-interval.to_ms // 1000)
        try:
            rows = await self._gateway.reading.candles(
                part.exchange + ":" + part.token, part.tf, PageQuery(end_s - first_s, before_s=end_s, since_s=first_s)
            )
        except (SinkError, Problem) as error:
            logger.warning("%s is not told anew: %s", self._line.name, error)
            return
        parts = {row.ts: row for row in rows if isinstance(row, CandleJson)}
        for message in self.base.memory:
            known = parts.get(message.marks.ts)
            if first_s <= message.marks.ts < end_s and (known is None or known.position <= message.position):
                parts[message.marks.ts] = _CANDLE.decode(message.data)
        self._say(parts.values())

    def _say(self, parts: Iterable[CandleJson]) -> None:
        for candle in self._folded(parts):
            data = _encode(candle)
            self._tell(self._line, ConfirmedMessage(message_header(data), data))

    def _folded(self, parts: Iterable[CandleJson]) -> list[CandleJson]:
        newest_first = sorted(parts, key=lambda part: part.ts, reverse=True)
        calendar, instrument_class = self._gateway.calendar, self._gateway.class_of(self._line.channel.instrument)
        return resample(newest_first, calendar, instrument_class, self._line.channel.timeframe_s, _FAR_MS)

    def _around(self, part: CandleJson) -> Interval | None:
        instrument_class = self._gateway.class_of(self._line.channel.instrument)
        try:
            return candle_interval(
                self._gateway.calendar, instrument_class, self._line.channel.timeframe_s, part.ts * 1000
            )
        except CalendarError as error:
            logger.warning("%s can't be folded: %s", self._line.name, error)
            return None
