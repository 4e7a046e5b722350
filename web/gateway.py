"""What the endpoints work with: the two stores, the log as it stands, and what instruments are called."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from topology.market.calendar import Calendar
from topology.market.instruments import Instrument, InstrumentError, default_class
from topology.sinks.cursor import SinkError
from web.http.problem import invalid, unavailable, unknown
from web.ports import LogView, Names
from web.queries.store import Store

KNOWN_FOR_MS, LOOKED_UP_MS = 5_000, 500
"""How old what is known of instruments may be, also where one is asked for that isn't known."""

RATE_OVER_S = 10.0


class Rate:
    """How fast a count grows: over the last seconds, whoever asks. ``clock`` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: deque[tuple[float, int]] = deque()

    def of(self, count: int) -> float | None:
        """Take the count of now; return how much it has grown a second, None where that isn't known yet."""
        now_s = self._clock()
        self._counts.append((now_s, count))
        while now_s - self._counts[0][0] > RATE_OVER_S and len(self._counts) > 2:
            self._counts.popleft()
        since_s, before = self._counts[0]
        return round((count - before) / (now_s - since_s), 1) if now_s - since_s >= 1 else None


class Replay(NamedTuple):
    """What was pushed on a channel: the messages asked for, the newest number; whether these are all there were."""

    messages: list[bytes]
    current: int
    epoch: str
    complete: bool


class PushMemory(Protocol):
    """Remembers what was pushed."""

    def replay(self, channel: str, *, first: int, last: int, epoch: str) -> Replay:
        """Return what was pushed for good on a channel from one of its numbers to another."""
        ...


@dataclass
class Gateway:
    """One gateway. ``simulated`` says that none of its values is real; ``now_ms`` is the time of day.

    ``pushes`` is asked at each request: None where no WebSocket is served.
    """

    simulated: bool
    store: Store
    log: LogView
    names: Names
    now_ms: Callable[[], int]
    pushes: Callable[[], PushMemory | None] = lambda: None

    def __post_init__(self) -> None:
        """Begin knowing nothing."""
        self._known: frozenset[str] = frozenset()
        self._known_at_ms = -KNOWN_FOR_MS
        self.rate = Rate(time.monotonic)
        self._calendar = ("", Calendar.parse(self.log.configuration.calendar))

    @property
    def calendar(self) -> Calendar:
        """The calendar of the configuration in force."""
        text = self.log.configuration.calendar
        if self._calendar[0] != text:
            self._calendar = text, Calendar.parse(text)
        return self._calendar[1]

    def class_of(self, instrument: str) -> str:
        """Return the instrument class whose sessions an instrument trades in."""
        return self.log.configuration.classes.get(instrument) or default_class(instrument)

    async def instruments(self, *, at_most_ms: int = KNOWN_FOR_MS) -> frozenset[str]:
        """Return the instruments that there are values of; asked anew where the answer is older than that.

        Raises Problem where neither store can be asked.
        """
        if not 0 <= self.now_ms() - self._known_at_ms < at_most_ms:
            store = self.store
            answers = await asyncio.gather(
                store.mirror.instruments(), asyncio.to_thread(store.archive.instruments), return_exceptions=True
            )
            errors = [error for error in answers if isinstance(error, BaseException)]
            for error in errors:
                if not isinstance(error, SinkError):
                    raise error
            if len(errors) == len(answers):
                raise unavailable("data", f"{errors[0]}; {errors[1]}")
            self._known = frozenset(name for names in answers if not isinstance(names, BaseException) for name in names)
            self._known_at_ms = self.now_ms()
        return self._known

    async def is_known(self, instrument: str) -> bool:
        """Whether there are values of an instrument: one that has just got its first is known within a moment."""
        return instrument in await self.instruments() or instrument in await self.instruments(at_most_ms=LOOKED_UP_MS)

    async def instrument(self, token: str, exchange: str = "") -> str:
        """Return the instrument that a request names by token and exchange, or by both as ``NSE:99926000``.

        Raises Problem for a token that isn't one, and for one of which there is nothing.
        """
        text = token if ":" in token else f"{exchange or 'NSE'}:{token}"
        try:
            instrument = str(Instrument.parse(text))
        except InstrumentError as error:
            raise invalid(str(error)) from None
        if not await self.is_known(instrument):
            raise unknown("token", f"there is nothing of {instrument}; /tokens lists what there is")
        return instrument
