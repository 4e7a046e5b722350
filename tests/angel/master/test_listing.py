from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.masters import LISTED, NIFTY, RELIANCE, Row, future, index, option, row
from topology.angel.master.listing import Listing, ListingError, read_row
from topology.market.instruments import Instrument, default_class


def test_an_option_has_its_expiry_and_its_strike_in_paise() -> None:
    assert read_row(option("NFO", "60001", "NIFTY", "29DEC2026", "25000CE", kind="OPTIDX", lot="65")) == Listing(
        instrument=Instrument("NFO", "60001"),
        symbol="NIFTY29DEC2625000CE",
        name="NIFTY",
        expiry=date(2026, 12, 29),
        strike=25_000_00,
        lot_size=65,
        tick_size=5,
        instrument_type="OPTIDX",
        price_divisor=100,
        instrument_class="derivative",
    )


def test_a_stock_has_neither_expiry_nor_strike() -> None:
    listing = read_row(RELIANCE)
    assert (listing.expiry, listing.strike, listing.tick_size, listing.instrument_class) == (None, None, 10, "equity")


def test_an_index_is_known_by_its_type_and_has_no_tick() -> None:
    listing = read_row(index("NSE", "99926000", "Nifty 50", "NIFTY"))
    assert (listing.instrument_class, listing.tick_size) == ("index", None)
    assert read_row(index("BSE", "7", "SENSEX", "SENSEX")).instrument_class == "index"
    assert read_row(index("CDS", "2", "NIFTY", "NIFTY")).instrument_class == "currency"


def test_prices_of_the_currency_segment_are_in_ten_millionths_of_a_rupee() -> None:
    rest = {"strike": "832500000.000000", "instrumenttype": "OPTCUR", "expiry": "26NOV2026"}
    listing = read_row(row("CDS", "1284", "USDINR26NOV8325CE", "USDINR", tick_size="0.250000", **rest))
    assert str(listing.instrument) == "CDE:1284"
    assert listing.price_divisor == 10_000_000
    assert listing.strike == 83.25 * listing.price_divisor
    assert listing.tick_size == 0.0025 * listing.price_divisor
    assert read_row(row("CDS", "1", "USDINR", "USDINR", tick_size="25000.000000")).tick_size == 25_000


@pytest.mark.parametrize(
    ("segment", "expected"),
    [("NSE", "NSE"), ("NFO", "NFO"), ("BSE", "BSE"), ("BFO", "BFO"), ("MCX", "MCX"), ("NCDEX", "NCX"), ("CDS", "CDE")],
)
def test_segments_get_the_names_that_the_feed_has_for_them(segment: str, expected: str) -> None:
    assert read_row(row(segment, "12", "X", "X")).instrument.exchange == expected


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exch_seg": "NCO"}, "segment NCO"),
        ({"exch_seg": "nse"}, "segment nse"),
        ({"exch_seg": ""}, "broken row"),
        ({"exch_seg": None}, "broken row"),
        ({"token": "DHANIYA20NOV26"}, "token that is no number"),
        ({"token": ""}, "token that is no number"),
        ({"token": "1" * 26}, "token that is no number"),
        ({"symbol": ""}, "broken row"),
        ({"expiry": "31FEB2026"}, "broken row"),
        ({"expiry": "2026-11-24"}, "broken row"),
        ({"expiry": "24NOW2026"}, "broken row"),
        ({"strike": "much"}, "broken row"),
        ({"strike": "nan"}, "broken row"),
        ({"strike": "inf"}, "broken row"),
        ({"strike": "1e300"}, "broken row"),
        ({"lotsize": "x"}, "broken row"),
        ({"tick_size": "nan"}, "broken row"),
    ],
)
def test_a_row_that_is_no_listing_says_why(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(ListingError) as error:
        read_row(RELIANCE | changed)
    assert str(error.value) == reason


values: st.SearchStrategy[object] = (
    st.none() | st.integers() | st.floats() | st.text("0123456789.-+eE NOVinf", max_size=12) | st.just([])
)


@given(st.dictionaries(st.sampled_from(list(RELIANCE)), values))
def test_whatever_a_row_holds_it_is_a_listing_or_says_why(changed: dict[str, Any]) -> None:
    try:
        listing = read_row(RELIANCE | changed)
    except ListingError:
        return
    assert Instrument.parse(str(listing.instrument)) == listing.instrument
    assert listing.lot_size > 0


@pytest.mark.parametrize("given", LISTED, ids=lambda row: row["symbol"])
def test_classes_are_those_that_follow_from_the_token_but_for_indices_by_type(given: Row) -> None:
    listing = read_row(given)
    if given["instrumenttype"] == "AMXIDX" and listing.instrument.exchange in ("NSE", "BSE"):
        assert listing.instrument_class == "index"
    else:
        assert listing.instrument_class == default_class(str(listing.instrument))


@pytest.mark.parametrize(
    ("given", "stock"),
    [
        (RELIANCE, "RELIANCE"),
        (row("NSE", "1", "RELIANCE-BE", "RELIANCE"), "RELIANCE"),
        (row("NSE", "1", "BAJAJ-AUTO-EQ", "BAJAJ-AUTO"), "BAJAJ-AUTO"),
        (row("NSE", "1", "SMALLCO-SM", "SMALLCO"), "SMALLCO"),
        (row("NSE", "1", "RELIANCE-N1", "RELIANCE"), ""),
        (row("NSE", "1", "679AP34-SG", "679AP34"), ""),
        (row("NSE", "1", "RELIANCE", "RELIANCE"), ""),
        (row("BSE", "500325", "RELIANCE", "RELIANCE"), "RELIANCE"),
        (row("BSE", "500325", "RELIANCE", "RELIANCE INDUSTRIES"), ""),
        (NIFTY, ""),
        (future("NFO", "1", "RELIANCE", "24NOV2026"), ""),
    ],
)
def test_a_share_is_known_by_its_series_or_at_the_bse_by_its_name(given: Row, stock: str) -> None:
    assert read_row(given).stock == stock
