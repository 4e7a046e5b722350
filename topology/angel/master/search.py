"""What a search of the instrument master finds, and in which order: the rule, and the SQL that follows it.

The rule. Case, spaces and dashes don't matter; several words must all match. Hits come in these tiers, each listing in
the best that it fits:

1. its token is what was typed;
2. its symbol is, or its symbol without the series (``RELIANCE`` for ``RELIANCE-EQ``), or, of an index, its name;
3. its name is, and it is no option (``RELIANCE``: the futures);
4. its symbol or name starts with what was typed;
5. each word that was typed is one of its words (``nifty 25000 ce``);
6. each starts one of its words (``reli fut``);
7. each of three and more letters stands anywhere in its words (``pharma`` in SUNPHARMA), and each of two starts one.

In a tier: indices, then NSE's shares of the main series, those of the BSE, the rest of the cash segments, futures,
options, the rest. Shorter symbols come before longer ones; of derivatives near expiries before far, then by name and
strike.

The words of a listing are those of symbol and name, and its exchange; of a derivative also type, expiry (``24NOV2026``,
``24NOV26``, ``NOV``), strike in rupees, and ``CE`` and ``CALL`` or ``PE`` and ``PUT``.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from datetime import date
from functools import cache

from topology.angel.master.listing import CASH, MONTHS, Listing, rupees

LONGEST_TEXT = 200
"""Characters; what follows them is not looked for."""

SHORTEST_PART = 3
"""Letters: the index of parts has every three characters that follow each other, spaces before words among them."""

_SEPARATORS = re.compile(r"[^A-Z0-9&.]+")
_NOT_IN_KEYS = re.compile(r"[^A-Z0-9&]")
_RIGHTS = {"CE": ("CE", "CALL"), "PE": ("PE", "PUT")}
_BY_KEY = """
    SELECT place FROM (
        SELECT place FROM listings WHERE symbol_key = :key
        UNION SELECT place FROM listings WHERE stock_key = :key AND stock_key <> ''
        UNION SELECT place FROM listings WHERE name_key = :key AND NOT option AND instrument_class = 'index'
    ) ORDER BY place LIMIT :limit"""
_BY_START = """
    SELECT place FROM (
        SELECT place FROM listings WHERE symbol_key >= :key AND symbol_key < :key || '~'
        UNION SELECT place FROM listings WHERE name_key >= :key AND name_key < :key || '~' AND NOT option
    ) ORDER BY place LIMIT :limit"""
# An option's symbol starts with its name: to look at thousands of them twice is of no use.


def key_of(text: str) -> str:
    """Return a text as searches compare it.

    >>> key_of("Bajaj-Auto EQ")
    'BAJAJAUTOEQ'
    """
    return _NOT_IN_KEYS.sub("", text.upper())


def words_of(text: str) -> list[str]:
    """Return the words of a text, each as a key.

    >>> words_of("M&M-EQ 83.25 ce")
    ['M&M', 'EQ', '8325', 'CE']
    """
    return [word for part in _SEPARATORS.split(text.upper()) if (word := part.replace(".", ""))]


def words_of_listing(listing: Listing) -> str:
    """Return the words by which a listing is found, separated by spaces."""
    words = [*words_of(listing.symbol), key_of(listing.symbol), *words_of(listing.name), key_of(listing.name)]
    words += [listing.instrument.exchange, *words_of(listing.instrument_type)]
    if listing.instrument_type.startswith("FUT"):
        words.append("FUT")
    if listing.instrument_type.startswith("OPT"):
        words += _RIGHTS.get(listing.symbol[-2:].upper(), ())
    if listing.expiry:
        words += _words_of_expiry(listing.expiry)
    if listing.strike:
        words += words_of(rupees(listing.strike, listing.price_divisor))
    return " ".join(dict.fromkeys(words))


@cache
def _words_of_expiry(expiry: date) -> list[str]:
    month = MONTHS[expiry.month - 1]
    return [f"{expiry.day:02}{month}{expiry.year}", f"{expiry.day:02}{month}{expiry.year % 100:02}", month]


def order_of(listing: Listing) -> str:
    """Return a text by which the listings of a tier are sorted."""
    expiry = str(listing.expiry or "")
    length = 0 if expiry else len(listing.symbol)
    return f"{_group(listing)} {expiry:10} {length:03} {listing.name} {listing.strike or 0:018} {listing.symbol}"


def _group(listing: Listing) -> int:
    kind = listing.instrument_type
    if listing.instrument.exchange in CASH:
        if listing.instrument_class == "index" and kind:
            return 0
        if listing.stock and listing.symbol.endswith("-EQ"):
            return 1
        return 2 if listing.stock and listing.instrument.exchange == "BSE" else 3
    if kind.startswith("FUT"):
        return 4
    return 5 if kind.startswith("OPT") else 6


def find(database: sqlite3.Connection, text: str, limit: int) -> list[int]:
    """Return the places of what a text finds, the best first. Nothing is found by a text without letters and digits."""
    found: dict[int, None] = {}
    for statement, parameters in _tiers(text[:LONGEST_TEXT]):
        if len(found) >= limit:
            break
        # The tier may begin with what better ones have found already.
        rows = database.execute(statement, parameters | {"limit": limit + len(found)})
        found.update(dict.fromkeys(place for (place,) in rows))
    return list(found)[:limit]


def find_alike(database: sqlite3.Connection, text: str, limit: int) -> list[int]:
    """Return the places of what shares most with a text that finds nothing, by every three characters of it."""
    key = key_of(text[:LONGEST_TEXT])
    parts = {key[start : start + SHORTEST_PART] for start in range(len(key) - SHORTEST_PART + 1)}
    if not parts:
        return []
    any_part = " OR ".join(f'"{part}"' for part in sorted(parts))
    rows = database.execute("SELECT rowid FROM parts WHERE parts MATCH ? ORDER BY rank LIMIT ?", [any_part, limit])
    return [place for (place,) in rows]


def _tiers(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    key, words = key_of(text), words_of(text)
    if not key:
        return
    yield "SELECT place FROM listings WHERE token = :key ORDER BY place LIMIT :limit", {"key": key}
    yield _BY_KEY, {"key": key}
    yield "SELECT place FROM listings WHERE name_key = :key AND NOT option ORDER BY place LIMIT :limit", {"key": key}
    yield _BY_START, {"key": key}
    yield _matching("words"), {"match": " AND ".join(f'"{word}"' for word in words)}
    starts = [f'"{word}"*' for word in words]
    yield _matching("words"), {"match": " AND ".join(starts)}
    if all(len(word) >= 2 for word in words):
        inside = " AND ".join(f'"{word}"' if len(word) >= SHORTEST_PART else f'" {word}"' for word in words)
        yield _matching("parts"), {"match": inside}


def _matching(index: str) -> str:
    return f"SELECT rowid FROM {index} WHERE {index} MATCH :match ORDER BY rowid LIMIT :limit"
