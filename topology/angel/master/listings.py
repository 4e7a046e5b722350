"""The instrument master as kept on disk: an SQLite file that is written once and read until a newer one replaces it."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from topology.angel.master import MasterError
from topology.angel.master.listing import Listing
from topology.angel.master.search import find, find_alike, key_of, order_of, words_of_listing
from topology.market.instruments import Instrument

FILE_NAME = "instruments.db"
"""The file's name in the folder of the namespace: a simulator's instruments are none of the broker's."""

SCHEMA_VERSION = 1
NEAREST = 3

_CANDIDATES = 50

_COLUMNS = (
    "exchange, token, symbol, name, expiry, strike, lot_size, tick_size, instrument_type, price_divisor, "
    "instrument_class"
)
_STORED = f"{_COLUMNS}, symbol_key, stock_key, name_key, option"
_STAGED = f"{_STORED}, words, sorted_by"
_NAMED = """
    (
        symbol_key = :key
        OR stock_key = :key AND stock_key <> ''
        OR name_key = :key AND NOT option AND instrument_class = 'index'
    ) AND (exchange = :exchange OR :exchange IS NULL)"""
# The files are thrown away unless all of it succeeds: one transaction that reaches the disk, without a way back.
_PREPARE = "PRAGMA journal_mode = OFF; PRAGMA temp_store = MEMORY;"
_STAGING = f"""
    PRAGMA staging.journal_mode = OFF;
    PRAGMA staging.cache_size = -32768;
    BEGIN;
    CREATE TABLE staging.rows ({_STAGED}, UNIQUE (token, exchange));
    CREATE INDEX staging.in_order ON rows (sorted_by);"""
_WITH_DERIVATIVES = """
    UPDATE rows SET instrument_class = 'equity_cas'
    WHERE instrument_class = 'equity' AND stock_key IN (
        SELECT name_key FROM rows WHERE exchange IN ('NFO', 'BFO') AND instrument_type IN ('OPTSTK', 'FUTSTK')
    )"""


class Listings:
    """The last good copy of the master, read from ``path``. ``count`` is how many listings it has.

    ``source`` is where they came from, ``fetched_at_ms`` when, in milliseconds since the epoch, UTC, and ``left_out``
    counts the rows that are no listing of ours, by reason. Methods raise MasterError for a file that can't be read.
    Use it in the thread that opened it. Who keeps it open keeps reading the copy that was there then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            self._database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                self.fetched_at_ms, self.source, self.left_out, self.count = self._origin()
            except BaseException:
                self._database.close()
                raise

    @classmethod
    def opened(cls, path: Path) -> Listings | None:
        """Open the copy at a path; None where there has been none yet."""
        return cls(path) if path.exists() else None

    def __enter__(self) -> Listings:
        """Close the file when the block is left."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def verify(self) -> None:
        """Read the whole file, which takes about a second. Raises MasterError where a part of it is damaged."""
        with self._explained():
            (found,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)

    def get(self, instrument: Instrument) -> Listing | None:
        """Return the listing of an instrument; None where the master has none."""
        found = self._where(
            "token = :token AND exchange = :exchange", token=instrument.token, exchange=instrument.exchange
        )
        return found[0] if found else None

    def named(self, symbol: str, exchange: str | None = None) -> list[Listing]:
        """Return the listings with this symbol, with or without its series, and the indices of this name.

        Case, spaces and dashes don't matter. Where an index is among them, what only repeats its name is left out: the
        cash segment lists the indices once more, under tokens without a feed, and the currency segment some of them.
        """
        found = self._where(_NAMED, key=key_of(symbol), exchange=exchange)
        indices = [listing for listing in found if listing.instrument_class == "index" and listing.instrument_type]
        return indices or found

    def search(self, text: str, limit: int = 20) -> list[Listing]:
        """Return what a text finds, the best first: the rule stands in `topology.angel.master.search`."""
        with self._explained():
            places = find(self._database, text, limit)
        return [self._at(place) for place in places]

    def nearest(self, symbol: str, exchange: str | None = None) -> list[Listing]:
        """Return up to three listings that may be meant by a symbol that isn't there, the likeliest first."""
        with self._explained():
            places = find(self._database, symbol, _CANDIDATES) or find_alike(self._database, symbol, _CANDIDATES)
        found = map(self._at, places)
        return [listing for listing in found if exchange in (None, listing.instrument.exchange)][:NEAREST]

    def _at(self, place: int) -> Listing:
        (listing,) = self._where("place = :place", place=place)
        return listing

    def _where(self, condition: str, **parameters: str | int | None) -> list[Listing]:
        with self._explained():
            rows = self._database.execute(
                f"SELECT {_COLUMNS} FROM listings WHERE {condition} ORDER BY place", parameters
            )
            return [_listing(*row) for row in rows]

    def _origin(self) -> tuple[int, str, dict[str, int], int]:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"its format is {version}, this program's {SCHEMA_VERSION}")
        fetched_at_ms, source, left_out, count = self._database.execute("SELECT * FROM origin").fetchone()
        return fetched_at_ms, source, json.loads(left_out), count

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise MasterError(
                f"{self.path} can't be read ({error}): `topology instruments update` makes it anew"
            ) from error


def write(
    path: Path,
    listings: Iterable[Listing],
    *,
    left_out: Mapping[str, int],
    fetched_at_ms: int,
    source: str,
    accept: Callable[[Listings], None],
) -> int:
    """Make a new copy from listings in any order, and put it in the place of the one at ``path`` if it is accepted.

    ``left_out`` is asked when the last listing has been taken. ``accept`` is given the new copy before anybody else
    sees it, and refuses it by raising. Whatever is raised, the old copy stays as it was. The first of several listings
    of an instrument counts. Memory doesn't grow with their number. Returns how many they are. Raises MasterError
    while another copy is being made, and where it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new, staging = path.with_suffix(".new"), path.with_suffix(".rows")
    with _alone(path), ExitStack() as made:
        for file in (new, staging):
            file.unlink(missing_ok=True)
            made.callback(file.unlink, missing_ok=True)
        try:
            with closing(sqlite3.connect(new, isolation_level=None)) as database:
                _prepare(database, staging)
                count = _fill(database, listings)
                origin = [fetched_at_ms, source, json.dumps(left_out), count]
                database.execute("INSERT INTO origin VALUES (?, ?, ?, ?)", origin)
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise MasterError(f"{path} can't be written ({error}): see to it that there is room") from error
        with Listings(new) as copy:
            accept(copy)
        new.replace(path)
    return count


def _prepare(database: sqlite3.Connection, staging: Path) -> None:
    database.executescript(_PREPARE)
    database.executescript(resources.files(__package__).joinpath("instruments.sql").read_text(encoding="utf-8"))
    database.execute("ATTACH ? AS staging", [str(staging)])
    database.executescript(_STAGING)


def _fill(database: sqlite3.Connection, listings: Iterable[Listing]) -> int:
    """Write the listings; return how many they are."""
    database.executemany(f"INSERT OR IGNORE INTO rows VALUES ({_marks(_STAGED)})", map(_staged, listings))
    database.execute(_WITH_DERIVATIVES)
    # Places are given in the order of the rows, so that a search which asks for the first few needs not sort them all.
    rows = database.execute(f"SELECT {_STORED}, words FROM rows ORDER BY sorted_by")
    place = 0
    for place, (*row, words) in enumerate(rows, 1):
        database.execute(f"INSERT INTO listings VALUES (?, {_marks(_STORED)})", [place, *row])
        database.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", [place, words])
        database.execute("INSERT INTO parts (rowid, text) VALUES (?, ?)", [place, f" {words}"])
    for index in ("words", "parts"):
        database.execute(f"INSERT INTO {index} ({index}) VALUES ('optimize')")
    return place


def _marks(columns: str) -> str:
    return ", ".join("?" for _ in columns.split(","))


def _staged(listing: Listing) -> tuple[str | int | None, ...]:
    return (
        listing.instrument.exchange,
        listing.instrument.token,
        listing.symbol,
        listing.name,
        listing.expiry.isoformat() if listing.expiry else None,
        listing.strike,
        listing.lot_size,
        listing.tick_size,
        listing.instrument_type,
        listing.price_divisor,
        listing.instrument_class,
        key_of(listing.symbol),
        key_of(listing.stock),
        key_of(listing.name),
        listing.instrument_type.startswith("OPT"),
        words_of_listing(listing),
        order_of(listing),
    )


def _listing(exchange: str, token: str, symbol: str, name: str, expiry: str | None, *rest: Any) -> Listing:
    strike, lot_size, tick_size, instrument_type, price_divisor, instrument_class = rest
    return Listing(
        instrument=Instrument(exchange, token),
        symbol=symbol,
        name=name,
        expiry=date.fromisoformat(expiry) if expiry else None,
        strike=strike,
        lot_size=lot_size,
        tick_size=tick_size,
        instrument_type=instrument_type,
        price_divisor=price_divisor,
        instrument_class=instrument_class,
    )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of those that make a copy; the system lets go of it when a process dies."""
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MasterError(f"{path} is being made anew by another process: wait until it is done") from None
        yield
