"""What to subscribe to, as `SUBSCRIBE_TOKENS` says it, and how that is spread over the broker's sockets.

``1:99926000,1:2885:snap,RELIANCE-EQ:ltp,@more.txt``: an instrument (exchange and token, or a symbol where there is an
instrument master), then, if wanted, a mode: ``ltp``, ``quote`` (the default) or ``snap``. A file has entries separated
by lines or commas, and comments from ``#`` to the end of a line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import NamedTuple

from topology.angel.master.listings import Listings
from topology.angel.master.symbols import UnknownSymbolError, resolve
from topology.feeds import FeedError
from topology.feeds.angel.packets import MODES, QUOTE
from topology.market.instruments import EXCHANGES_BY_TEXT, Instrument, InstrumentError

logger = logging.getLogger(__name__)

VARIABLE = "SUBSCRIBE_TOKENS"
SOCKETS = 3
SOCKET_SIZE = 1_000
MOST, MOST_TWICE = SOCKETS * SOCKET_SIZE, SOCKETS // 2 * SOCKET_SIZE
"""Instruments: the broker takes 1,000 on a socket, and three sockets of an account. With a standby each is on two."""

_NAMES = {mode: name for name, mode in MODES.items()}


class SubscriptionError(FeedError):
    """`SUBSCRIBE_TOKENS` can't be used; the message is one line that names the entry and says what is wrong with it."""


class _UnknownError(SubscriptionError):
    """A symbol that the instrument master doesn't have."""


class Subscription(NamedTuple):
    """An instrument and the mode of its packets, one of `packets.MODES`."""

    instrument: Instrument
    mode: int


class _Entry(NamedTuple):
    text: str
    where: str


def read(
    text: str,
    listings: Listings | None,
    *,
    standby: bool = False,
    seen: MutableMapping[str, str] | None = None,
    warn: Callable[[str], None] = logger.warning,
) -> list[Subscription]:
    """Return what the text of the variable asks for, each instrument once, in its order.

    Contracts expire, and are not in the master then. So a token that it lacks is subscribed nevertheless: the broker
    sends nothing for it. A symbol that it doesn't have is left out where it is in ``seen``, the entries that were found
    at an earlier start and what they stood for; those that are found now are added. ``warn`` is called for both.

    Raises SubscriptionError: for what is no instrument, an unknown mode, a symbol that was never found or has several
    matches, an instrument that stands there in two modes, a file that can't be read, nothing that is left, or more than
    3,000 instruments (1,000 with a standby).
    """
    modes: dict[Instrument, int] = {}
    seen = {} if seen is None else seen
    for entry in _entries(text):
        try:
            instrument, mode = _subscription(entry, listings)
        except _UnknownError:
            if entry.text not in seen:
                raise
            gone = f"the instrument master no longer has {entry.text!r}, which was {seen[entry.text]}"
            warn(f"{entry.where}: {gone}: it is left out, and can be taken out there")
            continue
        seen[entry.text] = str(instrument)
        if listings is not None and listings.get(instrument) is None:
            warn(f"{entry.where}: {entry.text!r} is not in the instrument master: it may have expired")
        if modes.setdefault(instrument, mode) != mode:
            both = f"{_NAMES[modes[instrument]]} and {_NAMES[mode]}"
            raise SubscriptionError(f"{entry.where}: {instrument} stands there twice, as {both}: leave one out")
    if not modes:
        raise SubscriptionError(f"{VARIABLE} names no instrument: write one, such as 1:99926000")
    if len(modes) > MOST:
        raise SubscriptionError(f"{VARIABLE} names {len(modes):,} instruments: the broker sends {MOST:,} at most")
    if standby and len(modes) > MOST_TWICE:
        raise SubscriptionError(
            f"{VARIABLE} names {len(modes):,} instruments: with FEED_STANDBY=1 the broker sends {MOST_TWICE:,} at "
            "most, each on two of its three sockets"
        )
    return [Subscription(instrument, mode) for instrument, mode in modes.items()]


def named(text: str, listings: Listings | None) -> list[Instrument]:
    """Return the instruments that the text of the variable names, without the entries that `read` would refuse.

    Raises SubscriptionError for a file that can't be read.
    """
    instruments = []
    for entry in _entries(text):
        try:
            instruments.append(_subscription(entry, listings).instrument)
        except SubscriptionError:
            continue  # `read` says why
    return instruments


def spread(subscriptions: Sequence[Subscription]) -> list[list[Subscription]]:
    """Deal subscriptions out to as few sockets as hold them, in turn: no socket has over one more than another.

    The same list is always spread the same way. Raises ValueError for more than 3,000.
    """
    if len(subscriptions) > MOST:
        raise ValueError(f"{len(subscriptions)} subscriptions are more than {MOST}")
    sockets = -(-len(subscriptions) // SOCKET_SIZE)
    return [list(subscriptions[first::sockets]) for first in range(sockets)]


def _entries(text: str) -> Iterator[_Entry]:
    for part in map(str.strip, text.split(",")):
        if part.startswith("@"):
            yield from _entries_of_file(part[1:].strip())
        elif part:
            yield _Entry(part, VARIABLE)


def _entries_of_file(name: str) -> Iterator[_Entry]:
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SubscriptionError(f"{VARIABLE}: the file of '@{name}' can't be read: {reason}") from None
    for number, line in enumerate(lines, 1):
        for part in map(str.strip, line.partition("#")[0].split(",")):
            if part:
                yield _Entry(part, f"{name}, line {number}")


def _subscription(entry: _Entry, listings: Listings | None) -> Subscription:
    instrument, colon, last = entry.text.rpartition(":")
    mode = MODES.get(last.strip().lower()) if colon else None
    if colon and mode is None and not last.strip().isdigit() and instrument.strip().upper() not in EXCHANGES_BY_TEXT:
        raise SubscriptionError(
            f"{entry.where}: {entry.text!r} has an unknown mode {last.strip()!r}: it must be {', '.join(MODES)}"
        )
    try:
        return Subscription(resolve(instrument if mode else entry.text, listings), mode or QUOTE)
    except InstrumentError as error:
        refused = _UnknownError if isinstance(error, UnknownSymbolError) else SubscriptionError
        raise refused(f"{entry.where}: {error}") from None
