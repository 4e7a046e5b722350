"""What a trader types, and what comes first."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.masters import LISTED, Row
from topology.angel.master.listings import Listings
from topology.angel.master.search import key_of

TYPED = [
    # An exact symbol, with or without its series; the NSE before the BSE.
    ("RELIANCE", ["RELIANCE-EQ", "RELIANCE", "RELIANCE-N1", "RELIANCE24NOV26FUT", "RELIANCE29DEC26FUT"]),
    ("reliance", ["RELIANCE-EQ", "RELIANCE"]),
    ("RELIANCE-EQ", ["RELIANCE-EQ"]),
    ("reliance eq", ["RELIANCE-EQ"]),
    ("m&m", ["M&M-EQ", "M&M24NOV26FUT"]),
    ("bajaj auto", ["BAJAJ-AUTO-EQ", "BAJAJ-AUTO24NOV26FUT"]),
    ("bajaj-auto", ["BAJAJ-AUTO-EQ"]),
    ("NIFTY24NOV2625000CE", ["NIFTY24NOV2625000CE"]),
    # Indices by symbol and by name, before what the cash segment calls the same.
    ("NIFTY", ["Nifty 50", "NIFTY", "NIFTY", "NIFTY24NOV26FUT", "Nifty 500", "Nifty Bank"]),
    ("nifty 50", ["Nifty 50", "Nifty 500"]),
    ("Nifty50", ["Nifty 50", "Nifty 500"]),
    ("bank nifty", ["Nifty Bank", "BANKNIFTY", "BANKNIFTY24NOV26FUT"]),
    ("BANKNIFTY", ["Nifty Bank", "BANKNIFTY", "BANKNIFTY24NOV26FUT"]),
    ("nifty bank", ["Nifty Bank"]),
    ("finnifty", ["Nifty Fin Service", "FINNIFTY24NOV2625000CE"]),
    ("india vix", ["India VIX"]),
    ("vix", ["India VIX"]),
    ("sensex", ["SENSEX", "SENSEX26NOV26FUT"]),
    # A token.
    ("2885", ["RELIANCE-EQ"]),
    ("99926000", ["Nifty 50"]),
    ("26000", ["NIFTY", "NIFTY24NOV2626000CE"]),
    # The start of a symbol, the start of a word, a part of a word.
    ("reli", ["RELIANCE-EQ", "RELINFRA-EQ", "RELIANCE"]),
    ("nift", ["Nifty 50", "Nifty 500", "Nifty Bank", "Nifty Fin Service", "NIFTYBEES-EQ"]),
    ("pharma", ["SUNPHARMA-EQ", "SUNPHARMA24NOV26FUT"]),
    ("bank", ["Nifty Bank", "BANKNIFTY", "BANKNIFTY24NOV26FUT", "BANKNIFTY24NOV2655000CE", "HDFCBANK-EQ"]),
    ("gold", ["GOLD", "GOLD04DEC26FUT"]),
    # Several words, in any order; near expiries first.
    ("reliance fut", ["RELIANCE24NOV26FUT", "RELIANCE29DEC26FUT"]),
    ("fut reliance dec", ["RELIANCE29DEC26FUT"]),
    ("nifty fut", ["NIFTY24NOV26FUT", "BANKNIFTY24NOV26FUT"]),
    ("nifty 25000", ["NIFTY24NOV2625000CE", "NIFTY24NOV2625000PE", "NIFTY29DEC2625000CE", "FINNIFTY24NOV2625000CE"]),
    ("nifty 25000 ce", ["NIFTY24NOV2625000CE", "NIFTY29DEC2625000CE", "FINNIFTY24NOV2625000CE"]),
    ("25000 put nifty", ["NIFTY24NOV2625000PE"]),
    ("nifty 29dec 25000 ce", ["NIFTY29DEC2625000CE"]),
    ("nifty 29dec26 ce", ["NIFTY29DEC2625000CE"]),
    ("reliance bse", ["RELIANCE"]),
    ("bank fut", ["BANKNIFTY24NOV26FUT"]),
    ("usdinr 83.25", ["USDINR26NOV8325CE"]),
    # Nothing.
    ("zomato", []),
    ("nifty zomato", []),
    ("nifty 25000 xx", []),
    ("", []),
    (" -- ", []),
    ("निफ्टी", []),
    ('"', []),
    ("reliance OR x", []),
    ("%", []),
]


@pytest.mark.parametrize(("typed", "expected"), TYPED, ids=[typed or "nothing" for typed, _ in TYPED])
def test_what_a_trader_types_finds_what_is_meant_first(listings: Listings, typed: str, expected: list[str]) -> None:
    found = [listing.symbol for listing in listings.search(typed)]
    assert found[: len(expected)] == expected
    assert bool(found) == bool(expected)


@pytest.mark.parametrize(("typed", "expected"), [("NIFTY", "NSE:99926000"), ("reliance", "NSE:2885")])
def test_of_listings_with_the_same_symbol_the_one_with_a_feed_comes_first(
    listings: Listings, typed: str, expected: str
) -> None:
    assert str(listings.search(typed)[0].instrument) == expected


@given(st.sampled_from(LISTED), st.sampled_from([str.upper, str.lower, str.title]))
def test_every_listing_is_found_by_its_own_symbol_and_its_own_token(
    listings: Listings, row: Row, written: Callable[[str], str]
) -> None:
    for typed in (written(row["symbol"]), row["token"], row["symbol"].replace("-", " ")):
        assert row["symbol"] in [listing.symbol for listing in listings.search(typed, limit=6)]


@given(st.text(st.sampled_from("NIFTYREL 0258-CE&"), min_size=1, max_size=12), st.integers(1, 10))
def test_a_smaller_limit_cuts_the_end_off_and_nothing_is_found_twice(
    listings: Listings, typed: str, limit: int
) -> None:
    everything = listings.search(typed, limit=100)
    assert listings.search(typed, limit=limit) == everything[:limit]
    assert len({listing.instrument for listing in everything}) == len(everything)


def test_a_long_text_is_cut_and_not_an_error(listings: Listings) -> None:
    assert listings.search("nifty " * 10_000)
    assert listings.search("qx " * 10_000) == []
    assert listings.nearest("qwertz" * 10_000) == []


@given(st.text())
def test_any_text_can_be_searched_for(listings: Listings, typed: str) -> None:
    assert isinstance(listings.search(typed, limit=3), list)
    assert key_of(key_of(typed)) == key_of(typed)
