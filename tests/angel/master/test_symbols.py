from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.masters import LISTED, Row, keep
from topology.angel.master.listing import SEGMENTS
from topology.angel.master.listings import Listings
from topology.angel.master.symbols import resolve, resolve_at
from topology.market.instruments import EXCHANGES, Instrument, InstrumentError

NUMBERS = {name: number for number, name in EXCHANGES.items()}
REPEATED = {"26000", "26009"}  # the indices once more
listed = st.sampled_from([row for row in LISTED if row["token"] not in REPEATED])


@given(listed, st.sampled_from([str, str.lower]))
def test_exchange_and_symbol_of_a_listing_give_it_back(
    listings: Listings, row: Row, written: Callable[[str], str]
) -> None:
    exchange = SEGMENTS[row["exch_seg"]]
    for before in (exchange, NUMBERS[exchange]):
        assert resolve(written(f"{before}:{row['symbol']}"), listings) == Instrument(exchange, row["token"])


@given(listed)
def test_a_symbol_that_is_the_only_one_gives_its_listing_back(listings: Listings, row: Row) -> None:
    assume(row["symbol"] not in {"RELIANCE", "NIFTY", "GOLD"})
    assert resolve(row["symbol"], listings) == Instrument(SEGMENTS[row["exch_seg"]], row["token"])


@given(st.sampled_from(sorted(EXCHANGES.values())), st.from_regex(r"[0-9]{1,25}", fullmatch=True), st.booleans())
def test_a_token_is_taken_as_it_is_with_a_master_or_without(
    listings: Listings, exchange: str, token: str, with_master: bool
) -> None:
    for before in (exchange, NUMBERS[exchange]):
        assert resolve(f"{before}:{token}", listings if with_master else None) == Instrument(exchange, token)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RELIANCE-EQ", "NSE:2885"),
        ("NSE:RELIANCE-EQ", "NSE:2885"),
        ("NSE:RELIANCE", "NSE:2885"),
        ("1:reliance", "NSE:2885"),
        ("BSE:RELIANCE", "BSE:500325"),
        (" sbin ", "NSE:3045"),
        ("NIFTY", "NSE:99926000"),
        ("nifty 50", "NSE:99926000"),
        ("bank nifty", "NSE:99926009"),
        ("NSE:NIFTY", "NSE:99926000"),
        ("NIFTY24NOV2625000CE", "NFO:60002"),
        ("M&M", "NSE:2031"),
    ],
)
def test_symbols_as_people_write_them(listings: Listings, text: str, expected: str) -> None:
    assert str(resolve(text, listings)) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("RELIANCE", ["several", "NSE:2885 RELIANCE-EQ", "BSE:500325 RELIANCE"]),
        ("NSE:RELIANSE-EQ", ["no such symbol", "NSE:2885 RELIANCE-EQ"]),
        ("BSE:RELIANSE", ["no such symbol", "BSE:500325 RELIANCE"]),
        ("hdfc", ["no such symbol", "NSE:1333 HDFCBANK-EQ"]),
        ("2885", ["no such symbol", "NSE:2885 RELIANCE-EQ"]),
        ("qqqqqq", ["no such symbol", "topology instruments search"]),
        ("", ["no such symbol", "topology instruments search"]),
        ("NYSE:RELIANCE", ["exchanges: NSE or 1"]),
        ("9:2885", ["exchanges: NSE or 1"]),
        ("NSE:", ["exchanges: NSE or 1"]),
        (":", ["exchanges: NSE or 1"]),
    ],
)
def test_what_cannot_be_resolved_is_one_line_that_helps(listings: Listings, text: str, told: list[str]) -> None:
    with pytest.raises(InstrumentError) as error:
        resolve(text, listings)
    assert len(str(error.value).splitlines()) == 1
    for part in (repr(text), *told):
        assert part in str(error.value)


def test_without_a_master_a_symbol_is_refused_with_what_to_run(tmp_path: Path) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: resolve("SBIN", None),
        lambda: resolve_at("SBIN", tmp_path / "instruments.db"),
    ]
    for attempt in attempts:
        with pytest.raises(InstrumentError, match=r"'SBIN'.*topology instruments update"):
            attempt()


def test_a_kept_master_resolves_and_a_token_needs_none(tmp_path: Path) -> None:
    path = keep(tmp_path / "instruments.db", LISTED)
    assert str(resolve_at("sbin-eq", path)) == "NSE:3045"
    path.write_bytes(b"broken")
    assert str(resolve_at("NSE:3045", path)) == "NSE:3045"
