"""All lines and all clients of a gateway, and its connection to Redis' pub/sub."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from typing import NoReturn

import msgspec

from topology.market import CalendarError
from topology.sinks.applied import SinkError
from topology.sinks.heard import Heard, Said
from web.gateway import Gateway, Replay
from web.live import names
from web.live.client import GOES_AWAY, Client, Subscriptions
from web.live.folds import Fold, base_of
from web.live.line import Group, Line, Listener, Message, Told, groups, key
from web.live.measures import CLIENTS, LINES
from web.live.names import Channel, Marks, marks
from web.live.past import Past, laid_over
from web.outside import Clock
from web.problem import Problem
from web.rest.indicators import ACTIVE_KEY

logger = logging.getLogger(__name__)

ACTIVE_CHANNEL = f"pub:{ACTIVE_KEY}"
"""Where gateways tell each other which indicators are shown."""

KEPT_MS = 120_000
"""How long a line is kept that nobody hears any more."""

SWEEP_S = 10.0
PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)
ALIVE_S = 5.0
"""How often a silent connection is asked whether it lives."""

Connect = Callable[[Callable[[list[Said]], None]], Awaitable[Heard]]


class Hub:
    """``connect`` makes the connection to Redis. What is said goes to whoever hears its line."""

    def __init__(self, gateway: Gateway, connect: Connect, clock: Clock) -> None:
        self.gateway, self.clock = gateway, clock
        self.clients: set[Client] = set()
        self.lines: dict[str, Line] = {}
        self.epoch = secrets.token_hex(6)
        self.heard: Heard | None = None
        self.past = Past(gateway, clock)
        self.repeat: Callable[[Client, Subscriptions], None] = lambda client, subscriptions: None  # noqa: ARG005
        self.on_active: Callable[[bytes], None] = lambda data: None  # noqa: ARG005
        self.on_return: Callable[[], None] = lambda: None
        self._returns = False  # whether Redis has been connected before
        self.everything: dict[Listener, None] = {}
        self._others: dict[str, Line] = {}
        self._hears_all = asyncio.Lock()
        gateway.pushed = self
        self._connect = connect
        self._seq = 0
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._stamp = (0, b"")

    def admit(self, client: Client) -> None:
        """Let a client in, and greet it."""
        self.clients.add(client)
        CLIENTS.set(len(self.clients))
        client.tell(self.hello())
        if self.heard is None:
            client.tell(source(redis=False))

    def dismiss(self, client: Client) -> None:
        """Forget a client."""
        self.clients.discard(client)
        CLIENTS.set(len(self.clients))
        for channel in client.channels:
            self.leave(channel, client)

    def hello(self) -> bytes:
        """Return what a client is told first, and again when the epoch changes."""
        gateway = self.gateway
        return msgspec.json.encode(
            {
                "type": "hello",
                "epoch": self.epoch,
                "log": gateway.log.id,
                "simulated": gateway.simulated,
                "server_ts": self.clock.now_ms(),
            }
        )

    def tell_all(self, text: bytes) -> None:
        """Tell every client something that is no push."""
        for client in self.clients:
            client.tell(text)

    async def run(self) -> NoReturn:
        """Stay connected to Redis, for as long as the gateway runs."""
        failed = 0
        while True:
            try:
                await self._listen()
            except SinkError as error:
                logger.warning("live values are away: %s", error)
            if self.heard is not None:
                failed = 0
                self._lose()
            await self.clock.sleep(PAUSES_S[min(failed, len(PAUSES_S) - 1)])
            failed += 1

    async def _listen(self) -> None:
        """Connect, tell what was said meanwhile, and listen until the connection is lost."""
        heard = await self._connect(self.take)
        try:
            self.heard = heard
            self.tell_all(source(redis=True))
            await heard.subscribe([ACTIVE_CHANNEL])
            await self.hear_everything()
            await self.open([line.channel for line in self.lines.values()])
            if self._returns:
                self.on_return()
            self._returns = True
            while not heard.ended.done():
                await heard.caught_up()
                await asyncio.wait({heard.ended}, timeout=ALIVE_S)
        finally:
            heard.close()

    def _lose(self) -> None:
        self.heard = None
        for line in self.lines.values():
            line.lose()
        self.tell_all(source(redis=False))

    async def open(self, channels: Iterable[Channel]) -> list[Line]:
        """Return the lines of channels, as soon as they are heard; those that aren't now will be later."""
        lines = [self.lines.get(str(channel)) or self._new(channel) for channel in channels]
        lacking = [line for line in lines if line.heard_from is None and line.name not in self._opening]
        folded = {line: base for line in lacking if (base := base_of(self.gateway, line.channel)) is not None}
        said = [line for line in lacking if line not in folded]
        if said and self.heard is not None:
            self._start(self._open(self.heard, said), said)
        for line, base in folded.items():
            self._start(self._fold(line, base), [line])
        while opening := {self._opening[line.name] for line in lines if line.name in self._opening}:
            await asyncio.wait(opening)
        return lines

    def _start(self, opening: Coroutine[None, None, None], lines: list[Line]) -> None:
        task = asyncio.create_task(opening)
        self._opening |= {line.name: task for line in lines}
        task.add_done_callback(lambda _: self._opened(lines))

    async def _fold(self, line: Line, of: Channel) -> None:
        """Hear the line that one is folded out of."""
        (base,) = await self.open([of])
        if line.base is not base:
            fold = Fold(self.gateway, line, base, tell=self._tell_folded, show=self._show)
            count = -(-line.channel.timeframe_s // of.timeframe_s) + 1
            try:
                rows = await self.past.rows(base, count)
            except (SinkError, Problem, CalendarError) as error:
                logger.warning("%s can't be folded: %s", line.name, error)
                return
            known = laid_over(rows, base)
            fold.begin([known[ts] for ts in sorted(known)])
            self.join(base, fold, until=rows.until)
            line.base, line.fold = base, fold
        line.heard_from = base.heard_from

    def _unfold(self, line: Line) -> None:
        if line.base is not None and line.fold is not None:
            self.leave(line.base.name, line.fold)
            line.base = line.fold = None

    def _tell_folded(self, line: Line, told: Told) -> None:
        message = self._message(line, told.marks, told.data)
        line.remember(message)
        self._pass_on(line, groups([message]))

    def _opened(self, lines: Iterable[Line]) -> None:
        for line in lines:
            del self._opening[line.name]

    async def _open(self, heard: Heard, lines: list[Line]) -> None:
        """Hear lines from now on. Those who hear them are told what was said meanwhile."""
        for line in lines:
            line.held = []
            if not line.listeners:
                line.forget()
        try:
            await heard.subscribe([line.name for line in lines])
            applied = await self.gateway.reading.mirror.positions()
            for line in lines:
                line.heard_from = applied.get(line.channel.stage, {})
            await asyncio.gather(*(self._catch_up(line) for line in lines if line.listeners))
            await heard.caught_up()
        except SinkError as error:
            logger.warning("%d channels can't be heard: %s", len(lines), error)
            for line in lines:
                line.lose()
            return heard.close()  # and again from the beginning
        for line in lines:
            held, line.held = line.held or [], None
            self._tell(line, held)
        if any(line.lost for line in lines):
            self._renew()
        return None

    async def _catch_up(self, line: Line) -> None:
        missed = await self.past.after(line, max(line.told, line.reached))
        if missed is None or line.held is None:
            line.lost = True
        else:
            line.held += missed.told

    def _renew(self) -> None:
        """Begin a new epoch: not all that was said while Redis was away can be told."""
        self.epoch = secrets.token_hex(6)
        for line in self.lines.values():
            line.lost = False
            line.forget()
            self._unfold(line)
            line.heard_from = None if base_of(self.gateway, line.channel) else line.heard_from
        for client in self.clients:
            subscriptions, client.subscriptions = client.subscriptions, {}
            for line in self.lines.values():
                self.leave(line.name, client)
            client.tell(self.hello())
            self.repeat(client, subscriptions)

    async def hear_everything(self) -> None:
        """Listen to all channels, or no longer, as somebody wants it. Raises MirrorAwayError."""
        async with self._hears_all:
            if self.heard is not None and self.heard.hears_everything != bool(self.everything):
                await self.heard.listen_to_everything(bool(self.everything))
            if not self.everything:
                self._others.clear()

    def _new(self, channel: Channel) -> Line:
        line = self.lines[str(channel)] = self._others.pop(str(channel), Line(channel))
        line.left_ms = self.clock.now_ms()
        LINES.set(len(self.lines))
        return line

    def join(self, line: Line, client: Listener, *, until: int) -> None:
        """Let a client hear a line; it has all up to a position. What the line is given from now on is passed on."""
        if line.heard_from is None and not line.listeners:
            line.told = max(line.told, until)
        line.listeners[client] = until
        line.left_ms = None

    def leave(self, channel: str, client: Listener) -> None:
        """Let a client hear a line no longer."""
        line = self.lines.get(channel)
        if line is not None and line.listeners.pop(client, None) is not None:
            if isinstance(client, Client):
                client.forget(channel)
            if not line.listeners:
                line.left_ms = self.clock.now_ms()

    def take(self, said: list[Said]) -> None:
        """Pass on what was said, whole runs of the mirror's script."""
        told: dict[str, list[bytes]] = {}
        for channel, data in said:
            told.setdefault(channel, []).append(data)
        for channel, values in told.items():
            line = self.lines.get(channel) or self._other(channel)
            if line is not None:
                self._take(line, values)
            elif channel == ACTIVE_CHANNEL:
                self.on_active(values[-1])

    def _other(self, channel: str) -> Line | None:
        """Return the line of a channel that only those hear who hear everything."""
        if not self.everything:
            return None
        found = self._others.get(channel)
        if found is None and (read := names.channel(channel)) is not None:
            found = self._others[channel] = Line(read)
        return found

    def _take(self, line: Line, values: list[bytes]) -> None:
        """Pass on values of a line: confirmed ones, and the newest of those that are not."""
        newest: bytes | None = None
        confirmed: list[Told] = []
        for data in values:
            try:
                mark = marks(data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                logger.warning("what was said on %s is none of the mirror's values", line.name)
                continue
            if not line.channel.stage or mark.forming or mark.live:
                newest = data
            elif line.is_news(mark):
                newest = None
                confirmed.append(Told(mark, data))
        if line.held is not None:
            line.held += confirmed
            return
        self._tell(line, confirmed)
        if newest is not None:
            self._show(line, newest)

    def _show(self, line: Line, data: bytes) -> None:
        """Pass on a value that is not confirmed."""
        line.number += 1
        text = self.envelope(line, data)
        for listener in (*line.listeners, *self.everything):
            listener.newest(line.name, data, text)

    def _tell(self, line: Line, told: Iterable[Told]) -> None:
        """Pass on confirmed messages as far as they are news."""
        news = []
        for one in sorted(told, key=key):
            if line.is_news(one.marks):
                news.append(self._message(line, one.marks, one.data))
                line.remember(news[-1])
        self._pass_on(line, groups(news))

    def _pass_on(self, line: Line, told: Iterable[Group]) -> None:
        for group in told:
            for listener, until in line.listeners.items():
                if group.position > until:
                    listener.confirmed(line.name, group)
            for everyone in self.everything:
                everyone.confirmed(line.name, group)

    def _message(self, line: Line, mark: Marks, data: bytes) -> Message:
        line.number += 1
        return Message(mark, data, self.envelope(line, data), line.number)

    def repeated(self, line: Line, mark: Marks, data: bytes) -> Message:
        """Return a message that was said before for one client: it has the number of the newest push of its line."""
        return Message(mark, data, self.envelope(line, data), line.number)

    def envelope(self, line: Line, data: bytes) -> bytes:
        """Wrap a value for clients. It has the line's newest number."""
        self._seq += 1
        return b'{"channel":"%b","data":%b,"ts":"%b","seq":%d,"channel_seq":%d,"epoch":"%b"}' % (
            line.name.encode(), data, self.now(), self._seq, line.number, self.epoch.encode(),
        )  # fmt: skip

    def initial(self, channel: str, data: bytes) -> bytes:
        """Wrap the newest value of a channel for a client that hears everything."""
        line = self.lines.get(channel) or self._others.get(channel)
        self._seq += 1
        return b'{"channel":"%b","data":%b,"ts":"%b","seq":%d,"channel_seq":%d,"epoch":"%b","initial":true}' % (
            channel.encode(), data, self.now(), self._seq, 0 if line is None else line.number, self.epoch.encode(),
        )  # fmt: skip

    def now(self) -> bytes:
        """Return the time of day as clients read it."""
        now_ms = self.clock.now_ms()
        if self._stamp[0] != now_ms:
            text = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
            self._stamp = now_ms, text.replace("+00:00", "Z").encode()
        return self._stamp[1]

    def replay(self, channel: str, *, first: int, last: int, epoch: str) -> Replay:
        """Return what was pushed for good on a channel from one of its numbers to another, as far as it is known."""
        line = self.lines.get(channel)
        if line is None or epoch not in ("", self.epoch):
            return Replay([], 0 if line is None else line.number, self.epoch, complete=False)
        texts = [message.text for message in line.memory if first <= message.number <= last]
        return Replay(texts, line.number, self.epoch, complete=first > line.forgotten and last <= line.number)

    async def sweep(self) -> NoReturn:
        """Let go of lines that nobody has heard for a while."""
        while True:
            await self.clock.sleep(SWEEP_S)
            before_ms = self.clock.now_ms() - KEPT_MS
            left = [line for line in self.lines.values() if line.left_ms is not None and line.left_ms < before_ms]
            for line in left:
                if line.name not in self._opening:
                    del self.lines[line.name]
                    self._unfold(line)
                    if self.everything:
                        self._others[line.name] = line
            if self.heard is not None:
                self.heard.unsubscribe([line.name for line in left if line.name not in self.lines])
            LINES.set(len(self.lines))

    def close(self) -> None:
        """Have every client closed: the gateway stops."""
        for client in self.clients:
            client.end(GOES_AWAY)


def source(*, redis: bool) -> bytes:
    """Return what tells clients whether live values come."""
    return msgspec.json.encode({"type": "source", "redis": redis})
