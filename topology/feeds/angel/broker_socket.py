"""One connection to the broker's socket: its thread, and what comes over it, brought to the event loop in batches."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from topology.angel.client import ConnectionEnd, EndKind, SocketClient
from topology.angel.login import SessionTokens
from topology.settings import Account


class RawPacket(NamedTuple):
    """A packet as it came, and when: milliseconds since the epoch."""

    received_ms: int
    data: bytes


class BrokerSocket:
    """A connection that is made once. Made and used in the event loop; `news` is set when something has come.

    ``packets`` and ``texts`` hold what has come and is not processed yet. `end` is why the connection is over, None
    while it is not; ``alive_ms`` is when anything came last.
    """

    def __init__(self, account: Account, tokens: SessionTokens, *, now_ms: Callable[[], int]) -> None:
        self.tokens = tokens
        self.packets: deque[RawPacket] = deque()
        self.texts: deque[str] = deque()
        self.news = asyncio.Event()
        self.opened = False
        self.end: ConnectionEnd | None = None
        self.alive_ms = now_ms()
        self._now_ms, self._loop = now_ms, asyncio.get_running_loop()
        self._waking = False
        self._socket = SocketClient(
            account,
            {"jwt": tokens.jwt, "feed": tokens.feed},
            on_packet=self._on_packet,
            on_text=self._on_text,
            on_alive=self._on_alive,
            on_open=self._on_open,
            on_end=self._on_end,
        )
        self._thread = threading.Thread(target=self._socket.connect, name="angel-socket", daemon=True)
        self._thread.start()

    async def subscribe(self, mode: int, tokens: Mapping[int, Iterable[str]]) -> None:
        """Ask for the packets of these tokens, by exchange number. `end` says if the connection ends meanwhile."""
        await self._send(self._socket.subscribe_all, mode, tokens)

    async def ping(self) -> None:
        """Send a heartbeat; ``alive_ms`` says when it is answered."""
        await self._send(self._socket.ping)

    async def _send(self, send: Callable[..., None], *what: Any) -> None:
        try:
            await asyncio.to_thread(send, *what)
        except Exception as error:  # the client raises whatever it meets
            self.end = self.end or ConnectionEnd(EndKind.ERROR, type(error).__name__)

    def drain(self) -> list[RawPacket]:
        """Return every packet that has come since the last time."""
        drained = []
        while self.packets:
            drained.append(self.packets.popleft())
        return drained

    def close(self) -> None:
        """End the connection. Its thread ends by itself, and so does that of the farewell, which may take seconds."""
        self.end = self.end or ConnectionEnd(EndKind.CLOSED_BY_US)
        threading.Thread(target=self._socket.close_connection, name="angel-close", daemon=True).start()

    # In the thread of the socket:

    def _on_packet(self, data: bytes) -> None:
        self.packets.append(RawPacket(self._now_ms(), data))
        self._wake()

    def _on_text(self, text: str) -> None:
        self.texts.append(text)
        self._wake()

    def _on_alive(self) -> None:
        self.alive_ms = self._now_ms()

    def _on_open(self) -> None:
        self.opened = True
        self._wake()

    def _on_end(self, end: ConnectionEnd) -> None:
        self.end = self.end or end
        self._wake()

    def _wake(self) -> None:
        """Wake the event loop, once for all that comes until it wakes."""
        if not self._waking:
            self._waking = True
            self._loop.call_soon_threadsafe(self._on_wake)

    def _on_wake(self) -> None:
        self._waking = False
        self.news.set()
