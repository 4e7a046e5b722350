"""SUBSCRIBE and UNSUBSCRIBE: what a client is answered, and which channels it listens to from then on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from topology.market import CalendarError
from topology.sinks.channel_name import ChannelName
from topology.sinks.cursor import SinkError
from topology.sinks.mirror.mirror import MirrorAwayError
from web.gateway import Gateway
from web.http.problem import Problem, unavailable
from web.live.channel import Channel, PositionGroup, position_groups
from web.live.channel_history import ChannelHistory, MissedMessages, Rows
from web.live.channel_state import NOWHERE, message_key
from web.live.charts import Chart, channels_of, chart_of, symbol_of
from web.live.client import Client, ClientSubscription
from web.live.hub import Hub
from web.live.redis_link import RedisLink
from web.live.requests import MOST_CHANNELS, Request, Resume
from web.live.snapshots import ChartRows, latest_body

logger = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode


class Subscriptions:
    """Answers requests of clients."""

    def __init__(self, gateway: Gateway, hub: Hub, link: RedisLink, history: ChannelHistory) -> None:
        self._gateway, self._hub, self._link, self._history = gateway, hub, link, history
        self._reads: dict[Chart, asyncio.Task[ChartRows]] = {}
        self._renewals: set[asyncio.Task[None]] = set()

    async def answer(self, client: Client, request: Request) -> None:
        """Answer a request, be it with an error."""
        try:
            if request.type == "UNSUBSCRIBE":
                self._unsubscribe(client, request)
            elif request.channels is None:
                await self._subscribe_chart(client, request, await chart_of(self._gateway, request))
            else:
                await self._subscribe_channels(client, request, await channels_of(self._gateway, request.channels))
        except Problem as problem:
            refuse(client, request.req_id, problem)
        except SinkError as error:
            refuse(client, request.req_id, unavailable("data", str(error)))
        except CalendarError as error:
            refuse(client, request.req_id, unavailable("calendar", str(error)))
        except Exception:
            logger.exception("a request of a client failed")
            refuse(client, request.req_id, Problem(500, "internal", "this is a defect: see the log of the gateway"))

    def renew(self) -> None:
        """Begin a new epoch: every client gets what it has subscribed anew."""
        requests = {client: self._withdraw_all(client) for client in self._hub.clients}
        self._hub.begin_epoch()
        for client, of_client in requests.items():
            for request in of_client:
                task = asyncio.create_task(self.answer(client, request))
                self._renewals.add(task)
                task.add_done_callback(self._renewals.discard)

    def _withdraw_all(self, client: Client) -> list[Request]:
        """Take all subscriptions of a client back; return the requests that ask for them again."""
        requests: dict[tuple[str, int, str], Request] = {}
        for (name, timeframe_s), (request, _) in client.subscriptions.items():
            again = requests.setdefault(
                (name if timeframe_s else "", timeframe_s, request.req_id), replace(request, resume={})
            )
            if not timeframe_s:
                again.channels = [name] if again.channels == request.channels else [*(again.channels or []), name]
        for channel in client.withdraw_all():
            self._hub.leave(channel, client)
        return list(requests.values())

    def _unsubscribe(self, client: Client, request: Request) -> None:
        if request.channels is None:
            subscribed = [(symbol_of(request.symbol), request.tf)]
        else:
            subscribed = [(channel, 0) for channel in request.channels]
        for one in subscribed:
            self._withdraw(client, one)
        client.answer(_encode({"type": "UNSUBSCRIBED", "reqId": request.req_id}))

    async def _subscribe_chart(self, client: Client, request: Request, chart: Chart) -> None:
        keys = frozenset(map(str, chart.channels))
        limit(client, keys)
        missed = await self._missed(client, request.resume, chart.channels)
        while not (read := await self._read(chart)).is_whole:
            pass  # much was published meanwhile
        if client not in self._hub.clients:
            return
        missed = _still_whole(read.channels, missed)
        limit(client, keys)
        subscribed = chart.instrument, chart.timeframe_s
        self._withdraw(client, subscribed, keep=keys)
        client.subscribe(subscribed, ClientSubscription(request, keys))
        client.answer(b'{"type":"SNAPSHOT","reqId":%b,%b' % (_encode(request.req_id), read.body(missed)))
        for channel, rows in zip(read.channels, read.rows, strict=True):
            self._join(client, channel, rows.until, missed.get(channel.key))

    async def _read(self, chart: Chart) -> ChartRows:
        task = self._reads.get(chart)
        if task is None:
            task = self._reads[chart] = asyncio.create_task(self._read_alone(chart))
            task.add_done_callback(lambda _: self._reads.pop(chart, None))
        return await asyncio.shield(task)

    async def _read_alone(self, chart: Chart) -> ChartRows:
        while True:
            connection = self._link.connection
            channels = await self._link.open(chart.channels)
            rows = await asyncio.gather(*(self._history.rows(channel, max(chart.length, 1)) for channel in channels))
            if await self._link.is_unbroken(connection):
                return ChartRows(chart, channels, rows)

    async def _missed(
        self, client: Client, resume: Mapping[str, Resume], names: Sequence[ChannelName]
    ) -> dict[str, MissedMessages]:
        """Return what was published on channels after the positions that are asked for, as far as that can be told."""
        resumable = resume.keys() - client.channels  # it misses nothing on its own
        resumed = [name for name in names if name.stage and str(name) in resumable]
        if not resumed:
            return {}
        while True:
            connection = self._link.connection
            channels = await self._link.open(resumed)
            missed = await asyncio.gather(*(self._after(channel, resume[channel.key]) for channel in channels))
            if await self._link.is_unbroken(connection):
                pairs = zip(channels, missed, strict=True)
                return {channel.key: one for channel, one in pairs if one is not None}

    async def _after(self, channel: Channel, last: Resume) -> MissedMessages | None:
        try:
            return await self._history.after(channel, last.position, last.partition)
        except MirrorAwayError:
            return None

    def _join(self, client: Client, channel: Channel, until: int, missed: MissedMessages | None) -> None:
        """Let a client listen to a channel, after what it has missed."""
        if missed is not None:
            for group in self._resumed(channel, missed):
                client.confirmed(channel.key, group)
            until = missed.until
        channel.join(client, until=until)

    def _resumed(self, channel: Channel, missed: MissedMessages) -> list[PositionGroup]:
        """Return the messages that a client gets in place of history."""
        keys = set(map(message_key, missed.messages))
        repeated = [self._hub.repeated(channel, one) for one in missed.messages]
        newer = [one for one in channel.beyond(missed.until) if message_key(one.confirmed) not in keys]
        return position_groups(sorted(repeated + newer, key=lambda one: message_key(one.confirmed)))

    async def _subscribe_channels(self, client: Client, request: Request, names: list[ChannelName]) -> None:
        limit(client, map(str, names))
        missed = await self._missed(client, request.resume, names)
        while True:
            connection = self._link.connection
            channels = await self._link.open(names)
            latest = await self._latest(names)
            rows = await asyncio.gather(*(self._newest(channel) for channel in channels))
            if await self._link.is_unbroken(connection):
                break
        missed = _still_whole(channels, missed)
        if client not in self._hub.clients:
            return
        limit(client, map(str, names))
        for channel in channels:
            client.subscribe((channel.key, 0), ClientSubscription(request, frozenset([channel.key])))
        body = _encode(latest_body(channels, rows, latest, missed))[1:]
        client.answer(b'{"type":"SNAPSHOT","reqId":%b,%b' % (_encode(request.req_id), body))
        for channel, row in zip(channels, rows, strict=True):
            self._join(client, channel, row.until, missed.get(channel.key))

    async def _newest(self, channel: Channel) -> Rows:
        return await self._history.newest(channel) if channel.name.stage else Rows({}, NOWHERE)

    async def _latest(self, names: Sequence[ChannelName]) -> dict[tuple[str, str], bytes]:
        if self._link.connection is None:
            return {}
        try:
            return await self._gateway.store.mirror.latest_of([(one.name, one.instrument) for one in names])
        except MirrorAwayError:
            return {}

    def _withdraw(self, client: Client, subscribed: tuple[str, int], *, keep: Iterable[str] = ()) -> None:
        """Take a subscription back: its channels are left but for those that others have too."""
        for channel in client.withdraw(subscribed) - set(keep):
            self._hub.leave(channel, client)


def limit(client: Client, channels: Iterable[str]) -> None:
    """Refuse to let a client listen to too many channels. Raises Problem."""
    if len(client.channels | set(channels)) > MOST_CHANNELS:
        raise Problem(400, "too_many_channels", f"a client has at most {MOST_CHANNELS} channels")


def refuse(client: Client, req_id: str, problem: Problem) -> None:
    """Tell a client what is wrong with its request."""
    client.answer(_encode({"type": "ERROR", "reqId": req_id, "error": problem.error, "detail": problem.detail}))


def _still_whole(channels: Iterable[Channel], missed: Mapping[str, MissedMessages]) -> dict[str, MissedMessages]:
    """Return what was missed of channels that still remember what comes after it."""
    pairs = [(one.key, one, missed[one.key]) for one in channels if one.key in missed]
    return {key: read for key, channel, read in pairs if channel.goes_on(read.until, read.messages)}
