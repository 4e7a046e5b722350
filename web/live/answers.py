"""SUBSCRIBE and UNSUBSCRIBE: what a client is answered, and which lines it hears from then on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from topology import indicators
from topology.market import CalendarError
from topology.market.instruments import Instrument, InstrumentError
from topology.sinks.applied import SinkError
from topology.sinks.redis import MirrorAwayError
from web.folding import stored_for
from web.gateway import Gateway
from web.live import names
from web.live.client import Client, Subscription, Subscriptions
from web.live.everything import Everything
from web.live.hub import Hub
from web.live.line import NOWHERE, Group, Line, Told, groups, key
from web.live.names import Channel
from web.live.past import Missed, Rows, laid_over
from web.live.requests import MOST_CANDLES, MOST_CHANNELS, Request, Resume, indicator
from web.problem import Problem, unavailable, unknown

logger = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode


class Chart(NamedTuple):
    """What is subscribed by symbol: its candles, and values of indicators by name and timeframe."""

    instrument: str
    timeframe_s: int
    length: int
    values: tuple[Channel, ...]

    @property
    def channels(self) -> list[Channel]:
        """Its channels; the first is that of its candles."""
        return [names.candles(self.instrument, self.timeframe_s), *self.values]


@dataclass
class Read:
    """What a chart shows, read once for all who ask at the same time. ``text`` was made of it at some ``numbers``."""

    lines: list[Line]
    rows: list[Rows]
    numbers: list[int]
    text: bytes = b""


class Answers:
    """Answers requests of clients."""

    def __init__(self, hub: Hub) -> None:
        self.hub, self._gateway = hub, hub.gateway
        self._reads: dict[Chart, asyncio.Task[Read]] = {}
        self._repeating: set[asyncio.Task[None]] = set()
        hub.repeat = self._repeat
        self.everything = Everything(hub)

    async def answer(self, client: Client, request: Request) -> None:
        """Answer a request, be it with an error."""
        try:
            if request.type == "UNSUBSCRIBE":
                self._unsubscribe(client, request)
            elif request.channels is None:
                await self._chart(client, request, await chart_of(self._gateway, request))
            else:
                await self._channels(client, request, await channels_of(self._gateway, request.channels))
        except Problem as problem:
            refuse(client, request.req_id, problem)
        except SinkError as error:
            refuse(client, request.req_id, unavailable("data", str(error)))
        except CalendarError as error:
            refuse(client, request.req_id, unavailable("calendar", str(error)))
        except Exception:
            logger.exception("a request of a client failed")
            refuse(client, request.req_id, Problem(500, "internal", "this is a defect: see the log of the gateway"))

    def _repeat(self, client: Client, subscriptions: Subscriptions) -> None:
        """Give a client what it had subscribed anew."""
        wanted: dict[tuple[str, int, str], Request] = {}
        for (name, timeframe_s), (request, _) in subscriptions.items():
            again = wanted.setdefault(
                (name if timeframe_s else "", timeframe_s, request.req_id), replace(request, resume={})
            )
            if not timeframe_s:
                again.channels = [name] if again.channels == request.channels else [*(again.channels or []), name]
        for request in wanted.values():
            task = asyncio.create_task(self.answer(client, request))
            self._repeating.add(task)
            task.add_done_callback(self._repeating.discard)

    def _unsubscribe(self, client: Client, request: Request) -> None:
        if request.channels is None:
            gone = [(_symbol(request.symbol), request.tf)]
        else:
            gone = [(channel, 0) for channel in request.channels]
        for one in gone:
            self._drop(client, one)
        client.tell(_encode({"type": "UNSUBSCRIBED", "reqId": request.req_id}))

    async def _chart(self, client: Client, request: Request, chart: Chart) -> None:
        channels = frozenset(map(str, chart.channels))
        limit(client, channels)
        missed = await self._missed(client, request.resume, chart.channels)
        read = await self._read(chart)
        if client not in self.hub.clients:
            return
        limit(client, channels)
        subscribed = chart.instrument, chart.timeframe_s
        self._drop(client, subscribed, kept=channels)
        client.subscriptions[subscribed] = Subscription(request, channels)
        body = chart_body(chart, read, missed) if missed else self._body(chart, read)
        client.tell(b'{"type":"SNAPSHOT","reqId":%b,%b' % (_encode(request.req_id), body))
        for line, rows in zip(read.lines, read.rows, strict=True):
            self._join(client, line, rows.until, missed.get(line.name))

    def _body(self, chart: Chart, read: Read) -> bytes:
        numbers = [line.number for line in read.lines]
        if not read.text or read.numbers != numbers:
            read.text, read.numbers = chart_body(chart, read), numbers
        return read.text

    async def _read(self, chart: Chart) -> Read:
        task = self._reads.get(chart)
        if task is None:
            task = self._reads[chart] = asyncio.create_task(self._read_alone(chart))
            task.add_done_callback(lambda _: self._reads.pop(chart, None))
        return await asyncio.shield(task)

    async def _read_alone(self, chart: Chart) -> Read:
        while True:
            heard = self.hub.heard
            lines = await self.hub.open(chart.channels)
            rows = await asyncio.gather(*(self.hub.past.rows(line, max(chart.length, 1)) for line in lines))
            if await self._is_still(heard):
                return Read(lines, rows, [])

    async def _is_still(self, heard: object) -> bool:
        """Whether the connection stands with which reading began, and what was read has been heard too."""
        if self.hub.heard is not heard:
            return False
        if self.hub.heard is None:
            return True
        try:
            await self.hub.heard.caught_up()
        except MirrorAwayError:
            return False
        return self.hub.heard is heard

    async def _missed(
        self, client: Client, resume: Mapping[str, Resume], channels: Sequence[Channel]
    ) -> dict[str, Missed]:
        """Return what was said on channels after the positions that are asked for, as far as that can be told."""
        held = client.channels  # it misses nothing there
        wanted = [one for one in channels if one.stage and str(one) in resume.keys() - held]
        if not wanted:
            return {}
        while True:
            heard = self.hub.heard
            lines = await self.hub.open(wanted)
            found = await asyncio.gather(
                *(self.hub.past.after(line, resume[line.name].position, resume[line.name].partition) for line in lines)
            )
            if await self._is_still(heard):
                return {line.name: one for line, one in zip(lines, found, strict=True) if one is not None}

    def _join(self, client: Client, line: Line, until: int, missed: Missed | None = None) -> None:
        """Let a client hear a line, after what it has missed."""
        if missed is not None:
            for group in self._resumed(line, missed):
                client.confirmed(line.name, group)
            until = missed.until
        self.hub.join(line, client, until=until)

    def _resumed(self, line: Line, missed: Missed) -> list[Group]:
        """Return the messages that a client gets in place of history."""
        known = set(map(key, missed.told))
        newer = [one for one in line.beyond(missed.until) if key(one) not in known]
        told = [self.hub.repeated(line, one.marks, one.data) for one in missed.told] + newer
        return groups(sorted(told, key=key))

    async def _channels(self, client: Client, request: Request, channels: list[Channel]) -> None:
        limit(client, map(str, channels))
        missed = await self._missed(client, request.resume, channels)
        while True:
            heard = self.hub.heard
            lines = await self.hub.open(channels)
            latest = await self._latest(channels)
            rows = await asyncio.gather(*(self._newest(line) for line in lines))
            if await self._is_still(heard):
                break
        if client not in self.hub.clients:
            return
        limit(client, map(str, channels))
        told: dict[str, msgspec.Raw] = {}
        positions: dict[str, Resume] = {}
        for line, row in zip(lines, rows, strict=True):
            client.subscriptions[line.name, 0] = Subscription(request, frozenset([line.name]))
            data = latest.get((line.channel.name, line.channel.instrument))
            if not line.channel.stage and data is not None:
                told[line.name] = msgspec.Raw(data)
            elif line.channel.stage and line.name not in missed:
                found = laid_over(row, line, [] if data is None else [Told(names.marks(data), data)])
                if found:
                    told[line.name] = msgspec.Raw(found[max(found)].data)
                    positions[line.name] = last_of(found, line)
        body = {"channels": [line.name for line in lines], "latest": told, "positions": positions}
        body["resumed"] = list(missed)
        client.tell(b'{"type":"SNAPSHOT","reqId":%b,%b' % (_encode(request.req_id), _encode(body)[1:]))
        for line, row in zip(lines, rows, strict=True):
            self._join(client, line, row.until, missed.get(line.name))

    async def _newest(self, line: Line) -> Rows:
        return await self.hub.past.newest(line) if line.channel.stage else Rows({}, NOWHERE)

    async def _latest(self, channels: Sequence[Channel]) -> dict[tuple[str, str], bytes]:
        if self.hub.heard is None:
            return {}
        try:
            return await self._gateway.reading.mirror.latest_of([(one.name, one.instrument) for one in channels])
        except MirrorAwayError:
            return {}

    def _drop(self, client: Client, subscribed: tuple[str, int], *, kept: Iterable[str] = ()) -> None:
        """Take a subscription back: its channels are heard no longer but for those that others have too."""
        gone = client.subscriptions.pop(subscribed, None)
        if gone is not None:
            for channel in gone.channels - client.channels - set(kept):
                self.hub.leave(channel, client)


def limit(client: Client, channels: Iterable[str]) -> None:
    """Refuse to let a client hear too many channels. Raises Problem."""
    if len(client.channels | set(channels)) > MOST_CHANNELS:
        raise Problem(400, "too_many_channels", f"a client has at most {MOST_CHANNELS} channels")


def refuse(client: Client, req_id: str, problem: Problem) -> None:
    """Tell a client what is wrong with its request."""
    client.tell(_encode({"type": "ERROR", "reqId": req_id, "error": problem.error, "detail": problem.detail}))


def last_of(found: Mapping[int, Told], line: Line) -> Resume:
    """Return the position up to which a client has a line that is shown these rows."""
    newest = max((told.marks for told in found.values()), key=lambda one: one.position)
    return Resume(newest.partition, max(newest.position, line.reached))


def chart_body(chart: Chart, read: Read, resumed: Collection[str] = ()) -> bytes:
    """Return the fields of a snapshot as JSON, without the brace that opens it."""
    shown: list[list[msgspec.Raw]] = []
    positions: dict[str, Resume] = {}
    for line, rows in zip(read.lines, read.rows, strict=True):
        found = {} if line.name in resumed else laid_over(rows, line)
        newest = sorted(found)[-chart.length :] if chart.length else []
        shown.append([msgspec.Raw(found[ts].data) for ts in newest])
        if found:
            positions[line.name] = last_of(found, line)
    names_ = [f"{channel.indicator}:{channel.timeframe_s}" for channel in chart.values]
    body = {
        "symbol": chart.instrument,
        "tf": chart.timeframe_s,
        "candles": shown[0],
        "indicators": dict(zip(names_, shown[1:], strict=True)),
        "positions": positions,
        "resumed": list(resumed),
    }
    return _encode(body)[1:]


async def chart_of(gateway: Gateway, request: Request) -> Chart:
    """Return the chart that is asked for. Raises Problem for what isn't there."""
    instrument = await _known(gateway, _symbol(request.symbol))
    _require_timeframe(gateway, request.tf)
    values = []
    for wanted in request.indicators:
        value = names.values(instrument, indicator(wanted), wanted.tf or request.tf)
        _require_indicator(gateway, value)
        values.append(value)
    return Chart(instrument, request.tf, min(request.history.candles, MOST_CANDLES), tuple(dict.fromkeys(values)))


async def channels_of(gateway: Gateway, texts: Iterable[str]) -> list[Channel]:
    """Return the channels that are asked for, each once. Raises Problem for one that there isn't."""
    found = {}
    for text in texts:
        one = found[text] = names.channel(text)
        if one is None:
            raise unknown(
                "channel", f"{text!r} is no channel: there are pub:tick:NSE:2885, pub:candle:60s:NSE:2885, ..."
            )
        await _known(gateway, one.instrument)
        if one.indicator:
            _require_indicator(gateway, one)
        elif one.stage:
            _require_timeframe(gateway, one.timeframe_s)
    return [one for one in found.values() if one is not None]


def _symbol(text: str) -> str:
    try:
        return str(Instrument.parse(text if ":" in text else f"NSE:{text}"))
    except InstrumentError as error:
        raise unknown("symbol", str(error)) from None


async def _known(gateway: Gateway, instrument: str) -> str:
    if instrument not in await gateway.instruments():
        raise unknown("symbol", f"there is nothing of {instrument}; /tokens lists what there is")
    return instrument


def _require_timeframe(gateway: Gateway, timeframe_s: int) -> None:
    stored = gateway.log.configuration.timeframes
    if timeframe_s != 1 and stored_for(timeframe_s, stored) is None:
        there = ", ".join(map(str, sorted(stored)))
        raise unknown("timeframe", f"tf={timeframe_s}: there are 1, {there} and multiples of them")


def _require_indicator(gateway: Gateway, channel: Channel) -> None:
    specs = gateway.log.configuration.timeframes.get(channel.timeframe_s, [])
    if channel.indicator not in map(indicators.name, specs):
        raise unknown("indicator", f"{channel.indicator} of {channel.timeframe_s} s is not computed")
