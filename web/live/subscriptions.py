"""SUBSCRIBE and UNSUBSCRIBE: what a client is answered, and which lines it hears from then on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from topology.market import CalendarError
from topology.sinks.channel_name import ChannelName
from topology.sinks.cursor import SinkError
from topology.sinks.mirror.mirror import MirrorAwayError
from web.http.problem import Problem, unavailable
from web.live.channel import NOWHERE, Channel, ConfirmedMessage, PositionGroup, key, position_groups
from web.live.channel_history import MissedMessages, Rows, laid_over
from web.live.charts import Chart, channels_of, chart_of, symbol_of
from web.live.client import Client, ClientSubscription, ClientSubscriptions
from web.live.firehose import Firehose
from web.live.message_header import message_header
from web.live.redis_link import RedisLink
from web.live.requests import MOST_CHANNELS, Request, Resume

logger = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode


@dataclass
class Read:
    """What a chart shows, read once for all who ask at the same time. ``text`` was made of it at some ``numbers``."""

    lines: list[Channel]
    rows: list[Rows]
    numbers: list[int]
    text: bytes = b""


class Subscriptions:
    """Answers requests of clients."""

    def __init__(self, link: RedisLink) -> None:
        self.hub, self._link, self._gateway = link.hub, link, link.hub.gateway
        self._reads: dict[Chart, asyncio.Task[Read]] = {}
        self._repeating: set[asyncio.Task[None]] = set()
        link.repeat = self._repeat
        self.everything = Firehose(link)

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

    def _repeat(self, client: Client, subscriptions: ClientSubscriptions) -> None:
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
            gone = [(symbol_of(request.symbol), request.tf)]
        else:
            gone = [(channel, 0) for channel in request.channels]
        for one in gone:
            self._drop(client, one)
        client.tell(_encode({"type": "UNSUBSCRIBED", "reqId": request.req_id}))

    async def _chart(self, client: Client, request: Request, chart: Chart) -> None:
        channels = frozenset(map(str, chart.channels))
        limit(client, channels)
        missed = await self._missed(client, request.resume, chart.channels)
        while not is_whole(read := await self._read(chart)):
            pass  # much was said meanwhile
        if client not in self.hub.clients:
            return
        missed = {name: one for name, one in missed.items() if goes_on(self.hub.lines[name], one.until, one.told)}
        limit(client, channels)
        subscribed = chart.instrument, chart.timeframe_s
        self._drop(client, subscribed, kept=channels)
        client.subscriptions[subscribed] = ClientSubscription(request, channels)
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
            lines = await self._link.open(chart.channels)
            rows = await asyncio.gather(*(self._link.past.rows(line, max(chart.length, 1)) for line in lines))
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
        self, client: Client, resume: Mapping[str, Resume], channels: Sequence[ChannelName]
    ) -> dict[str, MissedMessages]:
        """Return what was said on channels after the positions that are asked for, as far as that can be told."""
        held = client.channels  # it misses nothing there
        wanted = [one for one in channels if one.stage and str(one) in resume.keys() - held]
        if not wanted:
            return {}
        while True:
            heard = self.hub.heard
            lines = await self._link.open(wanted)
            found = await asyncio.gather(*(self._after(line, resume[line.name]) for line in lines))
            if await self._is_still(heard):
                return {line.name: one for line, one in zip(lines, found, strict=True) if one is not None}

    async def _after(self, line: Channel, last: Resume) -> MissedMessages | None:
        try:
            return await self._link.past.after(line, last.position, last.partition)
        except MirrorAwayError:
            return None

    def _join(self, client: Client, line: Channel, until: int, missed: MissedMessages | None = None) -> None:
        """Let a client hear a line, after what it has missed."""
        if missed is not None:
            for group in self._resumed(line, missed):
                client.confirmed(line.name, group)
            until = missed.until
        self.hub.join(line, client, until=until)

    def _resumed(self, line: Channel, missed: MissedMessages) -> list[PositionGroup]:
        """Return the messages that a client gets in place of history."""
        known = set(map(key, missed.told))
        newer = [one for one in line.beyond(missed.until) if key(one) not in known]
        told = [self.hub.repeated(line, one.marks, one.data) for one in missed.told] + newer
        return position_groups(sorted(told, key=key))

    async def _channels(self, client: Client, request: Request, channels: list[ChannelName]) -> None:
        limit(client, map(str, channels))
        missed = await self._missed(client, request.resume, channels)
        while True:
            heard = self.hub.heard
            lines = await self._link.open(channels)
            latest = await self._latest(channels)
            rows = await asyncio.gather(*(self._newest(line) for line in lines))
            if await self._is_still(heard):
                break
        missed = {name: one for name, one in missed.items() if goes_on(self.hub.lines[name], one.until, one.told)}
        if client not in self.hub.clients:
            return
        limit(client, map(str, channels))
        told: dict[str, msgspec.Raw] = {}
        positions: dict[str, Resume] = {}
        for line, row in zip(lines, rows, strict=True):
            client.subscriptions[line.name, 0] = ClientSubscription(request, frozenset([line.name]))
            data = latest.get((line.channel.name, line.channel.instrument))
            if not line.channel.stage and data is not None:
                told[line.name] = msgspec.Raw(data)
            elif line.channel.stage and line.name not in missed:
                found = laid_over(row, line, [] if data is None else [ConfirmedMessage(message_header(data), data)])
                if found:
                    told[line.name] = msgspec.Raw(found[max(found)].data)
                    positions[line.name] = last_of(found, line)
        body = {"channels": [line.name for line in lines], "latest": told, "positions": positions}
        body["resumed"] = list(missed)
        client.tell(b'{"type":"SNAPSHOT","reqId":%b,%b' % (_encode(request.req_id), _encode(body)[1:]))
        for line, row in zip(lines, rows, strict=True):
            self._join(client, line, row.until, missed.get(line.name))

    async def _newest(self, line: Channel) -> Rows:
        return await self._link.past.newest(line) if line.channel.stage else Rows({}, NOWHERE)

    async def _latest(self, channels: Sequence[ChannelName]) -> dict[tuple[str, str], bytes]:
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


def goes_on(line: Channel, until: int, told: Iterable[ConfirmedMessage]) -> bool:
    """Whether a line still remembers all beyond what was read of it up to a position."""
    return line.trimmed <= max([until, *(one.marks.position for one in told)])


def is_whole(read: Read) -> bool:
    """Whether what was read can be gone on from."""
    return all(goes_on(line, rows.until, rows.told.values()) for line, rows in zip(read.lines, read.rows, strict=True))


def last_of(found: Mapping[int, ConfirmedMessage], line: Channel) -> Resume:
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
