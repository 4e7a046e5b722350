"""How long to wait before the next try of what has failed: longer each time, and never the same for all. Pure.

The one policy of the project. Schedules that somebody else sets are not it: when the broker may have a candle, how long
it wants an endpoint to rest, how long a circuit breaker stays open.
"""

from __future__ import annotations

from random import Random

JITTER = 0.25
"""A wait is up to a quarter longer than it need be, so that those who lost a server together don't come together."""


class Backoff:
    """The waits between tries that fail: each is twice the one before, from the shortest to the longest of ``span_s``.

    >>> backoff = Backoff((5.0, 60.0), Random(1))
    >>> [round(backoff.next_s()) for _ in range(6)]
    [5, 12, 24, 43, 54, 53]
    """

    def __init__(self, span_s: tuple[float, float], random: Random) -> None:
        self._shortest_s, self._longest_s = span_s
        self._random = random
        self._base_s = self._shortest_s

    def next_s(self) -> float:
        """Return the wait before the next try, in seconds; the one after it will be longer."""
        wait_s = self._base_s * (1 + JITTER * self._random.random())
        self._base_s = min(2 * self._base_s, self._longest_s / (1 + JITTER))
        return wait_s

    def reset(self) -> None:
        """A try worked: the next wait is the shortest again."""
        self._base_s = self._shortest_s
