"""A circuit breaker: after some failures in a row, nothing is tried for a while, then one trial decides."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum


class Circuit(IntEnum):
    """The states of a breaker; the numbers are what metrics show."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Closed until ``failures`` calls in a row fail; open for ``rest_s`` seconds; then half open for a single trial.

    ``clock`` gives monotonic seconds. Every call that ``allows`` let through must be followed by ``succeeded`` or
    ``failed``. ``trips`` counts how often it opened from closed.
    """

    def __init__(self, clock: Callable[[], float], *, failures: int = 3, rest_s: float = 1.0) -> None:
        self.circuit = Circuit.CLOSED
        self.trips = 0
        self._clock = clock
        self._failures = failures
        self._rest_s = rest_s
        self._failed = 0
        self._opened_at = 0.0

    def allows(self) -> bool:
        """Whether a call may be made now; in an open circuit that has rested, the caller gets the trial."""
        if self.circuit is Circuit.OPEN and self.retry_after_s() <= 0:
            self.circuit = Circuit.HALF_OPEN
            return True
        return self.circuit is Circuit.CLOSED

    def retry_after_s(self) -> float:
        """How long a caller should wait before it asks again, in seconds."""
        match self.circuit:
            case Circuit.CLOSED:
                return 0.0
            case Circuit.HALF_OPEN:
                return self._rest_s
            case Circuit.OPEN:
                return max(0.0, self._opened_at + self._rest_s - self._clock())

    def succeeded(self) -> None:
        """A call worked: the circuit closes."""
        self.circuit = Circuit.CLOSED
        self._failed = 0

    def failed(self) -> None:
        """A call failed: the circuit opens if it was the trial, or one failure too many in a row."""
        self._failed += 1
        if self.circuit is Circuit.CLOSED and self._failed < self._failures:
            return
        if self.circuit is Circuit.CLOSED:
            self.trips += 1
        self.circuit = Circuit.OPEN
        self._opened_at = self._clock()
