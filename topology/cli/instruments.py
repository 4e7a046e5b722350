"""`topology instruments`: the broker's instrument master, fetched and looked things up in."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from topology.angel.master import MasterError
from topology.angel.master.listing import Listing, rupees
from topology.angel.master.listings import FILE_NAME, Listings
from topology.angel.master.symbols import resolve
from topology.cli import aligned, at_least_one
from topology.feeds import subscriptions
from topology.market.instruments import InstrumentError
from topology.market.times import IST
from topology.settings import Settings

UPDATE_EXAMPLE = """example:
  topology instruments update"""
SEARCH_EXAMPLE = """examples:
  topology instruments search reliance
  topology instruments search nifty 25000 ce --limit 5
  topology instruments search bank --json | jq -r '.listings[].instrument'"""
SHOW_EXAMPLE = """examples:
  topology instruments show RELIANCE-EQ
  topology instruments show 1:99926000"""
EXAMPLE = """examples:
  topology instruments update
  topology instruments search nifty 25000 ce
  topology instruments show RELIANCE-EQ"""

LIMIT = 20
NOTHING_FOUND = 1
_COLUMNS = ("instrument", "symbol", "name", "class", "expiry", "strike", "lot")


def add(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "instruments",
        description="Looks after the broker's instrument master, which tells symbols, tokens, lots and expiries. "
        "The last good copy is kept in DATA_DIR, one for each namespace.",
        epilog=EXAMPLE,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser(
        "update",
        help="fetch the master",
        description="Fetches the master from ANGEL_MASTER_URL and puts it in the place of the last good copy, unless "
        "it is broken, has less than half of its instruments, or lacks one of SUBSCRIBE_TOKENS that it has. The broker "
        "writes a new one each morning about 08:00.",
        epilog=UPDATE_EXAMPLE,
    )
    search = actions.add_parser(
        "search",
        help="find instruments by symbol, name or token",
        description="Finds instruments by token, symbol, name, strike, expiry (24NOV, NOV), exchange, FUT, CE or PE. "
        "Several words must all match; case, spaces and dashes don't matter. What was typed in full comes first, then "
        "what starts with it, then what contains it; indices and stocks before derivatives, near expiries before far.",
        epilog=SEARCH_EXAMPLE,
    )
    search.add_argument("text", nargs="+", metavar="TEXT", help="what to look for")
    search.add_argument("--limit", type=at_least_one, default=LIMIT, metavar="N", help=f"at most N (default {LIMIT})")
    search.add_argument("--json", action="store_true", help="print one JSON object; prices in 1/price_divisor rupee")
    show = actions.add_parser(
        "show",
        help="show all that is known of an instrument",
        description="Shows all that the master says of an instrument, named by exchange and token or by its symbol.",
        epilog=SHOW_EXAMPLE,
    )
    show.add_argument("instrument", metavar="INSTRUMENT", help="NSE:2885, 1:2885, RELIANCE-EQ or NSE:RELIANCE")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code. Raises MasterError, FeedError, InstrumentError."""
    path = settings.namespace_dir / FILE_NAME
    now = datetime.now(IST)
    if arguments.action == "update":
        _update(settings, path, now)
        return 0
    listings = Listings.opened(path)
    if listings is None:
        raise MasterError(f"there is no instrument master in {path.parent} yet: run `topology instruments update`")
    with listings:
        if arguments.action == "show":
            return _show(listings, arguments.instrument, now)
        return _search(listings, " ".join(arguments.text), arguments, now=now)


def described(listing: Listing) -> dict[str, str]:
    """Return all that is known of a listing as text, by what it is; prices in rupees."""
    fields = {
        "instrument": str(listing.instrument),
        "symbol": listing.symbol,
        "name": listing.name,
        "class": listing.instrument_class,
        "type": listing.instrument_type or "cash",
        "expiry": str(listing.expiry or ""),
        "strike": _price(listing.strike, listing.price_divisor),
        "lot": str(listing.lot_size),
        "tick": _price(listing.tick_size, listing.price_divisor),
        "prices": f"1/{listing.price_divisor:,} rupee",
    }
    return {what: value for what, value in fields.items() if value}


def age(fetched_at_ms: int, now: datetime) -> str:
    """Say how old a copy is, by its largest unit.

    >>> age(0, datetime.fromtimestamp(90_000, IST))
    '1 day old'
    """
    passed = now - datetime.fromtimestamp(fetched_at_ms / 1000, IST)
    for unit, name in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute")):
        if passed >= unit:
            number = passed // unit
            return f"{number} {name}{'s' if number > 1 else ''} old"
    return "less than a minute old"


def _update(settings: Settings, path: Path, now: datetime) -> None:
    # To fetch takes an HTTP client: every search would wait for it to be loaded.
    from topology.angel.master.download import last_copy, update  # noqa: PLC0415

    with last_copy(path) as before:
        wanted = subscriptions.named(settings.subscribe_tokens, before)
        done = update(settings.account.master_url, path, before=before, wanted=wanted, now=now)
    was = f" (before: {done.count_before:,})" if done.count_before is not None else ""
    print(f"{done.count:,} instruments{was} from {settings.account.master_url}")
    if done.left_out:
        print(f"left out: {_counted(done.left_out)}")
    with Listings(path) as listings:
        try:
            subscriptions.read(settings.subscribe_tokens, listings, standby=settings.feed_standby, warn=_warn)
        except subscriptions.SubscriptionError as error:
            _warn(str(error))


def _warn(line: str) -> None:
    print(f"WARNING: {line}")


def _search(listings: Listings, text: str, arguments: argparse.Namespace, *, now: datetime) -> int:
    found = listings.search(text, arguments.limit)
    if arguments.json:
        rows = [msgspec.to_builtins(listing) | {"instrument": str(listing.instrument)} for listing in found]
        fetched_at = datetime.fromtimestamp(listings.fetched_at_ms / 1000, IST)
        print(msgspec.json.encode({"fetched_at": fetched_at, "source": listings.source, "listings": rows}).decode())
        return 0 if found else NOTHING_FOUND
    if not found:
        raise InstrumentError(f"nothing in {_copy(listings, now)} matches {text!r}: try fewer or shorter words")
    for line in _table([described(listing) for listing in found]):
        print(line)
    print(_copy(listings, now))
    return 0


def _show(listings: Listings, text: str, now: datetime) -> int:
    instrument = resolve(text, listings)
    listing = listings.get(instrument)
    if listing is None:
        raise InstrumentError(f"{instrument} is not in {_copy(listings, now)}")
    for what, value in described(listing).items():
        print(f"{what:<12}{value}")
    print(_copy(listings, now))
    return 0


def _table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    cells = [_COLUMNS, *([row.get(column, "") for column in _COLUMNS] for row in rows)]
    return aligned(cells)


def _copy(listings: Listings, now: datetime) -> str:
    return f"the master of {listings.count:,} instruments, {age(listings.fetched_at_ms, now)}, from {listings.source}"


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(
        f"{number:,} {reason}" for reason, number in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    )


def _price(price: int | None, divisor: int) -> str:
    return "" if price is None else f"₹{rupees(price, divisor)}"
