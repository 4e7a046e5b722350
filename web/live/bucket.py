"""A bucket of requests, which fills with time."""

from __future__ import annotations

from collections.abc import Callable

BURST, RATE_PER_S = 50.0, 20.0
PATIENCE = 100.0
"""Requests beyond what is allowed, after which a client is closed."""


class Bucket:
    """Requests that a client may still make. ``now_ms`` is the time of day."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms, self._left, self._at_ms = now_ms, BURST, now_ms()

    def take(self) -> bool:
        """Take one; whether there was one. What is asked for in vain counts too."""
        now_ms = self._now_ms()
        self._left = min(BURST, self._left + max(now_ms - self._at_ms, 0) / 1000 * RATE_PER_S)
        self._at_ms = now_ms
        self._left = max(self._left - 1, -PATIENCE)
        return self._left >= 0

    @property
    def overdrawn(self) -> bool:
        """Whether the client goes on although it was told."""
        return self._left <= -PATIENCE
