"""Snapshots: what a client is shown of channels that it subscribes, before it listens to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from web.live.channel import Channel
from web.live.channel_history import Rows
from web.live.channel_state import ConfirmedMessage
from web.live.charts import Chart
from web.live.message_header import message_header
from web.live.requests import Resume

_encode = msgspec.json.Encoder().encode


class ChartRows:
    """What a chart shows, read once for all who ask at the same time."""

    def __init__(self, chart: Chart, channels: Sequence[Channel], rows: Sequence[Rows]) -> None:
        self.chart, self.channels, self.rows = chart, channels, rows
        self._body, self._made_at = b"", list[int]()  # a body without resumed channels, and their numbers then

    @property
    def is_whole(self) -> bool:
        """Whether what was read can be gone on from."""
        pairs = zip(self.channels, self.rows, strict=True)
        return all(channel.goes_on(rows.until, rows.messages.values()) for channel, rows in pairs)

    def body(self, resumed: Collection[str]) -> bytes:
        """Return the fields of a snapshot as JSON, without the brace that opens it and rows of resumed channels."""
        if resumed:
            return _chart_body(self, resumed)
        numbers = [channel.number for channel in self.channels]
        if not self._body or self._made_at != numbers:
            self._body, self._made_at = _chart_body(self, ()), numbers
        return self._body


def _chart_body(read: ChartRows, resumed: Collection[str]) -> bytes:
    chart = read.chart
    columns: list[list[msgspec.Raw]] = []
    positions: dict[str, Resume] = {}
    for channel, rows in zip(read.channels, read.rows, strict=True):
        messages = {} if channel.key in resumed else channel.laid_over(rows.messages, rows.until)
        newest = sorted(messages)[-chart.length :] if chart.length else []
        columns.append([msgspec.Raw(messages[ts].data) for ts in newest])
        if messages:
            positions[channel.key] = _last_of(messages, channel)
    names = [f"{name.indicator}:{name.timeframe_s}" for name in chart.values]
    body = {
        "symbol": chart.instrument,
        "tf": chart.timeframe_s,
        "candles": columns[0],
        "indicators": dict(zip(names, columns[1:], strict=True)),
        "positions": positions,
        "resumed": list(resumed),
    }
    return _encode(body)[1:]


def latest_body(
    channels: Sequence[Channel],
    rows: Sequence[Rows],
    latest: Mapping[tuple[str, str], bytes],
    resumed: Collection[str],
) -> dict[str, object]:
    """Return the fields of a snapshot of channels that are asked for by name."""
    values: dict[str, msgspec.Raw] = {}
    positions: dict[str, Resume] = {}
    for channel, row in zip(channels, rows, strict=True):
        name = channel.name
        data = latest.get((name.name, name.instrument))
        if not name.stage and data is not None:
            values[channel.key] = msgspec.Raw(data)
        elif name.stage and channel.key not in resumed:
            mirrored = [] if data is None else [ConfirmedMessage(message_header(data), data)]
            messages = channel.laid_over(row.messages, row.until, mirrored)
            if messages:
                values[channel.key] = msgspec.Raw(messages[max(messages)].data)
                positions[channel.key] = _last_of(messages, channel)
    keys = [channel.key for channel in channels]
    return {"channels": keys, "latest": values, "positions": positions, "resumed": list(resumed)}


def _last_of(messages: Mapping[int, ConfirmedMessage], channel: Channel) -> Resume:
    """Return the position up to which a client has a channel of which it is shown these messages."""
    newest = max((message.header for message in messages.values()), key=lambda header: header.position)
    return Resume(newest.partition, max(newest.position, channel.progress.confirmed))
