"""Channels of timeframes that are not stored: resampled out of one that is, once for all their listeners."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

import msgspec

from topology.market import CalendarError
from topology.market.history import candle_interval
from topology.market.times import FAR, Interval
from topology.sinks.archive.reader import PageQuery
from topology.sinks.channel_name import ChannelName
from topology.sinks.cursor import SinkError
from topology.sinks.values import CandleJson
from web.gateway import Gateway
from web.http.problem import Problem
from web.live.channel import Channel, PositionGroup
from web.live.channel_state import ConfirmedMessage
from web.live.message_header import message_header
from web.queries.resampling import resample, stored_for

logger = logging.getLogger(__name__)

_CANDLE = msgspec.json.Decoder(CandleJson)
_encode = msgspec.json.Encoder().encode


def base_of(gateway: Gateway, channel: ChannelName) -> ChannelName | None:
    """Return the channel that one is resampled out of; None for one that is published itself, or can't be."""
    stored = gateway.log.configuration.timeframes
    if channel.indicator or channel.timeframe_s < 2 or channel.timeframe_s in stored:
        return None
    base_s = stored_for(channel.timeframe_s, stored)
    return None if base_s is None else ChannelName.of_candles(channel.instrument, base_s)


class ResampledChannel:
    """Makes the candles of a channel out of the shorter ones of its base. It implements `Listener`.

    A candle is published as closed when the shorter one that ends with it closes, or a later one comes. One whose part
    is corrected later is published again.
    """

    def __init__(
        self, gateway: Gateway, channel: Channel, base: Channel, *,
        publish: Callable[[Channel, ConfirmedMessage], None], publish_newest: Callable[[Channel, bytes], None],
    ) -> None:  # fmt: skip
        self._gateway, self._channel, self._base = gateway, channel, base
        self._publish, self._publish_newest = publish, publish_newest
        self._interval = Interval(0, 0)
        self._parts: dict[int, CandleJson] = {}
        self._is_closed = False  # whether the candle of this interval was published as closed
        self._corrections: set[asyncio.Task[None]] = set()

    def begin(self, rows: Iterable[ConfirmedMessage]) -> None:
        """Take shorter candles that have closed, oldest first: what they make is in the stores."""
        for row in rows:
            self._add(_CANDLE.decode(row.data), publish=False)

    def confirmed(self, channel: str, group: PositionGroup) -> None:  # noqa: ARG002 - it has one base
        """Take shorter candles."""
        for message in group.messages:
            self._add(_CANDLE.decode(message.data), publish=True)

    def newest(self, channel: str, data: bytes, text: bytes) -> None:  # noqa: ARG002 - it has one base
        """Show what the longer candle is as long as it forms."""
        part = _CANDLE.decode(data)
        interval = self._interval_of(part)
        if interval is None or interval < self._interval:
            return
        parts = self._parts if interval == self._interval else {}
        for candle in self._resample([*parts.values(), part]):
            self._publish_newest(self._channel, _encode(msgspec.structs.replace(candle, forming=True)))

    def _add(self, part: CandleJson, *, publish: bool) -> None:
        interval = self._interval_of(part)
        if interval is None:
            return
        if interval < self._interval:
            if publish:
                task = asyncio.create_task(self._correct(interval, part))
                self._corrections.add(task)
                task.add_done_callback(self._corrections.discard)
            return
        if interval > self._interval:
            self._close(publish=publish)
            self._interval, self._parts, self._is_closed = interval, {}, False
        self._parts[part.ts] = part
        if self._is_closed or (part.ts + part.tf) * 1000 >= interval.to_ms:
            self._is_closed = False
            self._close(publish=publish)

    def _close(self, *, publish: bool) -> None:
        if self._parts and not self._is_closed:
            self._is_closed = True
            if publish:
                self._publish_closed(self._parts.values())

    async def _correct(self, interval: Interval, part: CandleJson) -> None:
        """Publish a candle of before again, of which a part has been corrected."""
        first_s, end_s = interval.from_ms // 1000, -(-interval.to_ms // 1000)
        try:
            rows = await self._gateway.store.candles(
                part.exchange + ":" + part.token, part.tf, PageQuery(end_s - first_s, before_s=end_s, since_s=first_s)
            )
        except (SinkError, Problem) as error:
            logger.warning("%s is not corrected: %s", self._channel.key, error)
            return
        parts = {row.ts: row for row in rows if isinstance(row, CandleJson)}
        for message in self._base.memory:
            row = parts.get(message.header.ts)
            if first_s <= message.header.ts < end_s and (row is None or row.position <= message.position):
                parts[message.header.ts] = _CANDLE.decode(message.data)
        self._publish_closed(parts.values())

    def _publish_closed(self, parts: Iterable[CandleJson]) -> None:
        for candle in self._resample(parts):
            data = _encode(candle)
            self._publish(self._channel, ConfirmedMessage(message_header(data), data))

    def _resample(self, parts: Iterable[CandleJson]) -> list[CandleJson]:
        newest_first = sorted(parts, key=lambda part: part.ts, reverse=True)
        name = self._channel.name
        calendar, instrument_class = self._gateway.calendar, self._gateway.class_of(name.instrument)
        return resample(newest_first, calendar, instrument_class, name.timeframe_s, FAR)

    def _interval_of(self, part: CandleJson) -> Interval | None:
        name = self._channel.name
        instrument_class = self._gateway.class_of(name.instrument)
        try:
            return candle_interval(self._gateway.calendar, instrument_class, name.timeframe_s, part.ts * 1000)
        except CalendarError as error:
            logger.warning("%s can't be resampled: %s", self._channel.key, error)
            return None
