"""The broker's instrument master: fetched as a stream, checked, and kept for as long as there is no better one.

A JSON array of 30 to 40 MB that the broker writes each morning about 08:00. It is known to be empty, cut, or without
part of the instruments for hours: then the last good copy stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import ijson
import requests

from topology.feeds import FeedError
from topology.feeds.angel.listing import Listing, ListingError, read_row
from topology.feeds.angel.listings import Listings, write
from topology.market.calendar import IST
from topology.market.instruments import Instrument

SMALLEST_PART = 0.5
"""Of the instruments of the last good copy: a master with fewer is a broken one."""

LARGEST_BYTES = 500_000_000
CHUNK_BYTES = 65_536
CONNECT_S, SILENCE_S = 10, 30

_SHOWN = 5


class Refused(Exception):  # noqa: N818 - it reads as what it says; nobody outside sees it
    """What was fetched is no good; the message is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What became of a fetch that succeeded: the listings now and before (None: no copy), and the rows left out."""

    count: int
    count_before: int | None
    left_out: dict[str, int]


def update(url: str, path: Path, *, wanted: Iterable[Instrument], now: datetime) -> Update:
    """Fetch the master and keep it at ``path``, for `Listings` to read.

    ``wanted`` are the subscribed instruments: one that the last copy has and that hasn't expired since must be there.
    Raises FeedError for anything else than a good master; then the last copy stays as it was.
    """
    before = _before(path)
    try:
        return _update(url, path, before=before, wanted=list(wanted), now=now)
    except (Refused, ijson.JSONError) as error:
        reason = (
            f"is no JSON, or was cut ({str(error).splitlines()[0]})" if isinstance(error, ijson.JSONError) else error
        )
        stays = f"the last good copy stays, fetched {_when(before)}" if before else "and there is no copy yet"
        raise FeedError(f"the instrument master of {url} {reason}: {stays}; try again later") from None
    finally:
        if before:
            before.close()


def _update(url: str, path: Path, *, before: Listings | None, wanted: list[Instrument], now: datetime) -> Update:
    left_out: Counter[str] = Counter()

    def accept(copy: Listings) -> None:
        _check(copy, before=before, wanted=wanted, now=now)

    write(
        path,
        _listings(_chunks(url), left_out),
        left_out=left_out,
        fetched_at_ms=int(now.timestamp() * 1000),
        source=url,
        accept=accept,
    )
    with Listings(path) as kept:
        return Update(count=kept.count, count_before=before.count if before else None, left_out=kept.left_out)


def _chunks(url: str) -> Iterator[bytes]:
    size = 0
    try:
        with requests.get(url, stream=True, timeout=(CONNECT_S, SILENCE_S)) as response:
            if response.status_code != requests.codes.ok:
                raise Refused(f"can't be had (HTTP {response.status_code})")
            for chunk in response.iter_content(CHUNK_BYTES):
                size += len(chunk)
                if size > LARGEST_BYTES:
                    raise Refused(f"has more than {LARGEST_BYTES:,} bytes")
                yield chunk
    except requests.RequestException as error:
        raise Refused(f"can't be had ({_cause(error)})") from None


def _listings(chunks: Iterator[bytes], left_out: Counter[str]) -> Iterator[Listing]:
    for row in ijson.items(ijson.from_iter(chunks), "item"):
        try:
            yield read_row(row if isinstance(row, dict) else {})
        except ListingError as error:
            left_out[str(error)] += 1


def _check(copy: Listings, *, before: Listings | None, wanted: list[Instrument], now: datetime) -> None:
    """Raise Refused for a copy that is no good."""
    if not copy.count:
        raise Refused("holds no instruments")
    if before is None:
        return
    if copy.count < before.count * SMALLEST_PART:
        raise Refused(f"holds {copy.count:,} instruments, where the last one has {before.count:,}")
    today = now.astimezone(IST).date()
    had = [listing for instrument in wanted if (listing := before.get(instrument))]
    gone = [known for known in had if (known.expiry or today) >= today and not copy.get(known.instrument)]
    if gone:
        names = ", ".join(f"{listing.instrument} {listing.symbol}" for listing in gone[:_SHOWN])
        raise Refused(f"lacks {len(gone)} that SUBSCRIBE_TOKENS names and the last one has ({names})")


def _before(path: Path) -> Listings | None:
    """Open the last copy; one that can't be read is replaced like none."""
    try:
        return Listings.opened(path)
    except FeedError:
        return None


def _when(copy: Listings) -> str:
    return f"{datetime.fromtimestamp(copy.fetched_at_ms / 1000, IST):%Y-%m-%d %H:%M} IST"


def _cause(error: BaseException) -> str:
    """Return what lies at the bottom of an error of the HTTP client, without what it wraps around it."""
    while isinstance(inner := error.__cause__ or error.__context__, BaseException):
        error = inner
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
