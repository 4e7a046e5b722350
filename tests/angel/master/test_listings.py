from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.masters import LISTED, NIFTY, RELIANCE, Row, future, index, keep, option, row
from topology.angel.master import MasterError
from topology.angel.master.listing import Listing, read_row
from topology.angel.master.listings import Listings, write
from topology.market.instruments import Instrument


def classes(path: Path, rows: list[dict[str, str]]) -> dict[str, str]:
    with Listings(keep(path, rows)) as listings:
        found = [listings.get(read_row(row).instrument) for row in rows]
        return {str(listing.instrument): listing.instrument_class for listing in found if listing}


@given(st.sampled_from(LISTED))
def test_a_listing_is_kept_as_it_was_read_but_for_what_the_whole_master_tells_of_it(
    listings: Listings, given: Row
) -> None:
    read = read_row(given)
    kept = listings.get(read.instrument)
    assert kept is not None
    if kept.instrument_class == "equity_cas":
        assert read.instrument_class == "equity"
        assert given["name"] in {"RELIANCE", "M&M", "BAJAJ-AUTO", "SUNPHARMA"}
    else:
        assert kept == read


def test_a_stock_with_derivatives_closes_with_an_auction_wherever_it_is_listed(tmp_path: Path) -> None:
    rows = [
        RELIANCE,
        row("BSE", "500325", "RELIANCE", "RELIANCE"),
        row("NSE", "1", "RELIANCE-BE", "RELIANCE"),
        row("NSE", "2", "RELIANCE-N1", "RELIANCE"),
        row("NSE", "3", "RELIANCEPP-EQ", "RELIANCEPP"),
        row("NSE", "4", "NIFTY-EQ", "NIFTY"),
        row("NSE", "5", "GOLD-EQ", "GOLD"),
        NIFTY,
        future("NFO", "11", "RELIANCE", "24NOV2026"),
        option("NFO", "12", "NIFTY", "24NOV2026", "25000CE", kind="OPTIDX"),
        future("MCX", "13", "GOLD", "24NOV2026", kind="FUTSTK"),
    ]
    assert classes(tmp_path / "instruments.db", rows) == {
        "NSE:2885": "equity_cas",
        "BSE:500325": "equity_cas",
        "NSE:1": "equity_cas",
        "NSE:2": "equity",
        "NSE:3": "equity",
        "NSE:4": "equity",
        "NSE:5": "equity",
        "NSE:99926000": "index",
        "NFO:11": "derivative",
        "NFO:12": "derivative",
        "MCX:13": "commodity",
    }


def test_an_option_of_the_bse_makes_its_stock_one_with_derivatives_too(tmp_path: Path) -> None:
    rows = [RELIANCE, option("BFO", "12", "RELIANCE", "24NOV2026", "1400CE")]
    assert classes(tmp_path / "instruments.db", rows)["NSE:2885"] == "equity_cas"


def test_what_is_not_there_is_none(listings: Listings) -> None:
    assert listings.get(Instrument("NSE", "1")) is None
    assert listings.get(Instrument("BSE", "2885")) is None
    assert listings.named("ZOMATO") == []


def test_a_copy_says_where_and_when_it_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "new" / "instruments.db"
    left_out = {"segment NCO": 3}
    count = write(
        path, [read_row(NIFTY)], left_out=left_out, fetched_at_ms=7, source="somewhere", accept=lambda copy: None
    )
    with Listings(path) as listings:
        assert (
            (listings.count, listings.fetched_at_ms, listings.source) == (count, 7, "somewhere") == (1, 7, "somewhere")
        )
        assert listings.left_out == left_out


def test_no_copy_is_none(tmp_path: Path) -> None:
    assert Listings.opened(tmp_path / "instruments.db") is None


def test_the_first_listing_of_an_instrument_counts(tmp_path: Path) -> None:
    with Listings(keep(tmp_path / "instruments.db", [RELIANCE, RELIANCE | {"symbol": "OTHER-EQ"}])) as listings:
        assert listings.count == 1
        assert [listing.symbol for listing in listings.search("2885")] == ["RELIANCE-EQ"]


def test_a_listing_that_was_renamed_goes_by_its_new_name_only(tmp_path: Path) -> None:
    path = keep(tmp_path / "instruments.db", [RELIANCE, NIFTY])
    with Listings(path) as before:
        keep(path, [RELIANCE | {"symbol": "JIO-EQ", "name": "JIO"}])
        assert len(before.search("reliance")) == 1  # who has it open goes on with what it has
    with Listings(path) as after:
        assert after.search("reliance") == []
        assert [str(listing.instrument) for listing in after.search("jio")] == ["NSE:2885"]


class BrokenError(Exception):
    pass


def broken_rows() -> Iterator[Listing]:
    yield read_row(RELIANCE)
    raise BrokenError


def refuse(_: Listings) -> None:
    raise BrokenError


@pytest.mark.parametrize(("rows", "accept"), [(broken_rows, print), (lambda: [read_row(RELIANCE)], refuse)])
def test_whatever_goes_wrong_the_last_copy_stays_and_nothing_else(
    tmp_path: Path, rows: Callable[[], Iterable[Listing]], accept: Callable[[Listings], None]
) -> None:
    path = keep(tmp_path / "instruments.db", [NIFTY])
    before, files = path.read_bytes(), set(tmp_path.iterdir())
    with pytest.raises(BrokenError):
        write(path, rows(), left_out={}, fetched_at_ms=1, source="", accept=accept)
    assert path.read_bytes() == before
    assert set(tmp_path.iterdir()) == files


def test_what_an_update_left_that_was_killed_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "instruments.db"
    for suffix in (".new", ".rows"):
        path.with_suffix(suffix).write_bytes(b"half of it")
    with Listings(keep(path, [NIFTY])) as listings:
        assert listings.count == 1
    assert {file.name for file in tmp_path.iterdir()} == {"instruments.db", "instruments.lock"}


def test_two_updates_at_once_do_not_mix(tmp_path: Path) -> None:
    path = keep(tmp_path / "instruments.db", [NIFTY])
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MasterError, match="another process"):
            keep(path, [RELIANCE])
    assert Listings(keep(path, [RELIANCE])).count == 1


def of_another_format(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")


def no_database(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be one " * 100)


def an_empty_file(path: Path) -> None:
    path.write_bytes(b"")


def half_a_database(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:6_000])


@pytest.mark.parametrize("spoil", [of_another_format, no_database, an_empty_file, half_a_database])
def test_a_file_that_cannot_be_read_is_one_line_that_says_what_to_do(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = keep(tmp_path / "instruments.db", LISTED)
    spoil(path)
    with pytest.raises(MasterError, match="topology instruments update") as error, Listings(path) as listings:
        listings.search("reliance")
    assert str(path) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_an_index_hides_what_only_repeats_its_name(listings: Listings) -> None:
    assert [str(listing.instrument) for listing in listings.named("NIFTY")] == ["NSE:99926000"]
    assert [str(listing.instrument) for listing in listings.named("nifty-50")] == ["NSE:99926000"]
    assert [str(listing.instrument) for listing in listings.named("NIFTY", "CDE")] == ["CDE:2"]
    assert [str(listing.instrument) for listing in listings.named("SENSEX")] == ["BSE:99919000"]


def test_an_index_of_another_segment_is_not_one_of_the_cash_segment(tmp_path: Path) -> None:
    with Listings(keep(tmp_path / "instruments.db", [index("CDS", "2", "NIFTY", "NIFTY")])) as listings:
        assert [str(listing.instrument) for listing in listings.named("NIFTY")] == ["CDE:2"]
