"""What can be wrong with the log on the broker."""

from __future__ import annotations


class LogError(Exception):
    """The log can't be used: no broker, no topics, or other ones than this system makes. One line says what to do."""


class NoBrokerError(LogError):
    """No broker answers: it may do so later."""
