"""The broker's instrument master: fetched as a stream, checked, and kept for as long as there is no better one.

A JSON array of 30 to 40 MB that the broker writes each morning about 08:00. It is known to be empty, cut, or without
part of the instruments for hours: then the last good copy stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import ijson
import requests

from topology.angel.master import MasterError
from topology.angel.master.listing import Listing, ListingError, read_row
from topology.angel.master.listings import Listings, write
from topology.market.instruments import Instrument
from topology.market.times import IST

SMALLEST_PART = 0.5
"""Of the instruments of the last good copy: a master with fewer is a broken one."""

LARGEST_BYTES = 500_000_000
CHUNK_BYTES = 65_536
CONNECT_S, SILENCE_S = 10, 30

_SHOWN = 5


class _Refused(Exception):  # noqa: N818 - it reads as what it says
    """What was fetched is no good; the message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What became of a fetch that succeeded: the listings now and before (None: no copy), and the rows left out."""

    count: int
    count_before: int | None
    left_out: dict[str, int]


@contextmanager
def last_copy(path: Path) -> Iterator[Listings | None]:
    """Open the last copy at a path for as long as the block lasts; one that can't be read counts as none."""
    with ExitStack() as stack:
        try:
            copy = Listings.opened(path)
            if copy is not None:
                stack.enter_context(copy).verify()
        except MasterError:
            copy = None
        yield copy


def update(url: str, path: Path, *, before: Listings | None, wanted: Collection[Instrument], now: datetime) -> Update:
    """Fetch the master and keep it at ``path``, for `Listings` to read.

    ``before`` is the `last_copy`, ``wanted`` the subscribed instruments: those that the last copy has and that haven't
    expired since must be in the new one. Raises MasterError for anything else than a good master; then the last copy
    stays as it was.
    """
    left_out: Counter[str] = Counter()

    def accept(copy: Listings) -> None:
        if not copy.count:
            raise _Refused("holds no instruments")
        if before is not None:
            _compare(copy, before, wanted=wanted, today=now.astimezone(IST).date())

    try:
        count = write(
            path,
            _listings(_chunks(url), left_out),
            left_out=left_out,
            fetched_at_ms=int(now.timestamp() * 1000),
            source=url,
            accept=accept,
        )
    except (_Refused, ijson.JSONError) as error:
        reason = error if isinstance(error, _Refused) else f"is no JSON, or was cut ({_first_line(error)})"
        stays = f"the copy of {_when(before)} stays" if before else "there is no copy yet"
        raise MasterError(f"the instrument master of {url} {reason}; {stays}, try again later") from None
    return Update(count=count, count_before=before.count if before else None, left_out=dict(left_out))


def _chunks(url: str) -> Iterator[bytes]:
    size = 0
    try:
        with requests.get(url, stream=True, timeout=(CONNECT_S, SILENCE_S)) as response:
            if response.status_code != requests.codes.ok:
                raise _Refused(f"can't be had (HTTP {response.status_code})")
            for chunk in response.iter_content(CHUNK_BYTES):
                size += len(chunk)
                if size > LARGEST_BYTES:
                    raise _Refused(f"has more than {LARGEST_BYTES:,} bytes")
                yield chunk
    except requests.RequestException as error:
        raise _Refused(f"can't be had ({_cause(error)})") from None


def _listings(chunks: Iterator[bytes], left_out: Counter[str]) -> Iterator[Listing]:
    for row in ijson.items(ijson.from_iter(chunks), "item"):
        try:
            yield read_row(row if isinstance(row, dict) else {})
        except ListingError as error:
            left_out[str(error)] += 1


def _compare(copy: Listings, before: Listings, *, wanted: Collection[Instrument], today: date) -> None:
    """Refuse a copy that is worse than the last one."""
    if copy.count < before.count * SMALLEST_PART:
        raise _Refused(f"holds {copy.count:,} instruments, where the last one has {before.count:,}")
    had = [listing for instrument in wanted if (listing := before.get(instrument))]
    gone = [known for known in had if (known.expiry or today) >= today and not copy.get(known.instrument)]
    if gone:
        names = ", ".join(f"{listing.instrument} {listing.symbol}" for listing in gone[:_SHOWN])
        raise _Refused(f"lacks {len(gone)} that SUBSCRIBE_TOKENS names and the last one has ({names})")


def _when(copy: Listings) -> str:
    return f"{datetime.fromtimestamp(copy.fetched_at_ms / 1000, IST):%Y-%m-%d %H:%M} IST"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _cause(error: BaseException) -> str:
    """Return what lies at the bottom of an error of the HTTP client, without what it wraps around it."""
    while isinstance(inner := error.__cause__ or error.__context__, BaseException):
        error = inner
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
