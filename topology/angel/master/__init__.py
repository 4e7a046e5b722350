"""The broker's instrument master: a row of it, the last good copy on disk, search, symbols, and fetching it."""

from __future__ import annotations


class MasterError(Exception):
    """The instrument master can't be had, read or written. The message is one line that says what to do."""
