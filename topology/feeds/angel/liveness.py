"""What is known of a connection's health, from when something last came over it. Pure: times are passed in."""

from __future__ import annotations

from enum import StrEnum

DEAD_S = 30.0  # three heartbeats of the broker: any message counts, a pong too
SILENT_S = 30.0  # without data, on a connection that is alive while the market is open,
USUAL_TIMES = 20  # and this many times longer than is usual for its instruments
BURST_MS = 5000  # of snapshots, after a connection was made: they say nothing about what is usual
LEARNING = 0.02  # the weight of a new distance between packets in the usual one
INDEX_MS, OTHERS_MS = 1_000.0, 15_000.0
"""What is taken for usual at first: an index has a packet a second, of others nothing is known."""


class Liveness(StrEnum):
    """How a connection is."""

    LIVE = "live"
    QUIET = "quiet"  # no data, and none is expected: the market is closed, or these instruments trade seldom
    SILENT = "silent"  # alive, but no data where there should be some
    DEAD = "dead"  # nothing at all, not even a pong


class LivenessMonitor:
    """Watches one connection from ``opened_ms`` on. Times are milliseconds since the epoch.

    ``usual_ms`` is how far its packets are usually apart; what is learned of it serves the next connection.
    """

    def __init__(self, opened_ms: int, usual_ms: float) -> None:
        self.usual_ms = usual_ms
        self._opened_ms = self._alive_ms = self._packet_ms = opened_ms

    def alive(self, now_ms: int) -> None:
        """Note that anything came: a packet, a text, a pong."""
        self._alive_ms = max(self._alive_ms, now_ms)

    def packets(self, now_ms: int, count: int) -> None:
        """Note that packets came."""
        self.alive(now_ms)
        if now_ms - self._opened_ms > BURST_MS:
            apart_ms = (now_ms - self._packet_ms) / count
            self.usual_ms += (apart_ms - self.usual_ms) * LEARNING
        self._packet_ms = max(self._packet_ms, now_ms)

    def health(self, now_ms: int, *, open_since_ms: int | None) -> Liveness:
        """Say how the connection is. ``open_since_ms`` is when the market opened for its instruments; None: closed."""
        if now_ms - self._alive_ms > DEAD_S * 1000:
            return Liveness.DEAD
        if open_since_ms is None:
            return Liveness.QUIET
        silent_ms = now_ms - max(self._packet_ms, open_since_ms)
        if silent_ms <= SILENT_S * 1000:
            return Liveness.LIVE
        return Liveness.SILENT if silent_ms > USUAL_TIMES * self.usual_ms else Liveness.QUIET
