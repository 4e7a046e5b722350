"""The broker's rate limits: how often each endpoint may be called, over several windows of time at once.

The limits are those of the broker's forum, topic 4387 (per user), getCandleData as an admin corrected it there. A
bucket that fills again would let twice as many through in a window that begins with a full one. So the times of the
calls themselves are kept: there are never more than allowed in any window.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from typing import NamedTuple

SECOND, MINUTE, HOUR = 1.0, 60.0, 3600.0
MARGIN_S = 0.1
"""Calls that we make a second apart arrive a little less apart; so windows are longer here than with the broker."""
REST_S = (2.0, 60.0)
"""After a refusal an endpoint rests two seconds; after another within a minute twice as long, at most a minute.
The rule is the broker's, and without jitter: there is one caller."""
SHORTEST_S = 0.001


class Window(NamedTuple):
    """At most this many calls in any ``seconds``."""

    calls: int
    seconds: float


LIMITS: Mapping[str, Sequence[Window]] = {
    "login": [Window(1, SECOND)],
    "generateTokens": [Window(1, SECOND), Window(1_000, HOUR)],
    "getProfile": [Window(3, SECOND), Window(1_000, HOUR)],
    "logout": [Window(1, SECOND)],
    "getCandleData": [Window(3, SECOND), Window(180, MINUTE), Window(5_000, HOUR)],
    "quote": [Window(10, SECOND), Window(500, MINUTE), Window(5_000, HOUR)],
}
"""By endpoint. What the SDK calls generateSession is two calls: login and getProfile."""


def is_refusal(text: str, *, code: str = "", status: int = 200) -> bool:
    """Whether an answer says that a limit was exceeded: in its body, by its error code, or by its HTTP status."""
    return status == 429 or code == "AB1021" or "exceeding access rate" in text.lower()


class EndpointLimit:
    """The limit of one endpoint, over ``windows``. Times are monotonic seconds. Pure."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = windows
        self._calls: deque[float] = deque(maxlen=max(window.calls for window in windows))
        self._rests_until_s = -inf
        self._rest_s = 0.0

    def wait_s(self, now_s: float) -> float:
        """Return how long to wait until a call may be made, zero where one may now."""
        return max(0.0, self._rests_until_s - now_s, *(self._free_s(window) - now_s for window in self._windows))

    def called(self, now_s: float) -> None:
        """Note a call; `wait_s` was zero."""
        self._calls.append(now_s)

    def refused(self, now_s: float) -> float:
        """Note that the broker refused a call, and let the endpoint rest. Return how long, in seconds, from now.

        What is refused while it rests was called before that, and makes the rest no longer.
        """
        if now_s >= self._rests_until_s:
            shortest_s, longest_s = REST_S
            again = now_s - self._rests_until_s < longest_s
            self._rest_s = min(2 * self._rest_s, longest_s) if again else shortest_s
            self._rests_until_s = now_s + self._rest_s
        return self._rests_until_s - now_s

    def _free_s(self, window: Window) -> float:
        """Return when the oldest call that counts leaves the window."""
        if len(self._calls) < window.calls:
            return -inf
        return self._calls[-window.calls] + window.seconds + MARGIN_S


class RateLimits:
    """Every endpoint's limit, for callers that wait for their turn. They get it in the order in which they came.

    ``now_s`` gives monotonic seconds, ``sleep`` waits by the same clock.
    """

    def __init__(
        self, now_s: Callable[[], float], *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._now_s, self._sleep = now_s, sleep
        self._limits = {endpoint: EndpointLimit(windows) for endpoint, windows in LIMITS.items()}
        self._queues = {endpoint: asyncio.Lock() for endpoint in LIMITS}

    async def turn(self, endpoint: str) -> None:
        """Wait until this endpoint may be called, and count the call that follows. An unknown one is a KeyError."""
        limit = self._limits[endpoint]
        async with self._queues[endpoint]:
            while (wait_s := limit.wait_s(self._now_s())) > 0:
                await self._sleep(max(wait_s, SHORTEST_S))
            limit.called(self._now_s())

    def refused(self, endpoint: str) -> float:
        """Note that the broker refused a call (`is_refusal`). Return how long this endpoint will rest, in seconds."""
        return self._limits[endpoint].refused(self._now_s())
