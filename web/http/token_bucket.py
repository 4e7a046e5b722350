"""A bucket of requests, which fills with time."""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    """Requests that a client may still make: ``burst`` at once, then ``rate_per_s``.

    Those that are refused count too: beyond what there is a client gets into ``debt`` up to so many, which fills first.
    ``clock`` gives monotonic seconds.
    """

    __slots__ = ("_at_s", "_burst", "_clock", "_debt", "_left", "_rate_per_s")

    def __init__(self, clock: Callable[[], float], *, burst: float, rate_per_s: float, debt: float = 0.0) -> None:
        self._clock, self._burst, self._rate_per_s, self._debt = clock, burst, rate_per_s, debt
        self._left, self._at_s = burst, clock()

    def take(self) -> bool:
        """Take one request; whether there was one."""
        now_s = self._clock()
        left = min(self._burst, self._left + (now_s - self._at_s) * self._rate_per_s)
        self._left, self._at_s = max(left - 1, -self._debt), now_s
        return left >= 1

    @property
    def overdrawn(self) -> bool:
        """Whether the client goes on although it was refused as often as its debt may grow."""
        return self._left <= -self._debt
