from __future__ import annotations

import json
from datetime import date

import pytest

from topology.market import InstrumentError
from topology.simulator import catalogue, chosen
from topology.simulator.listings import CATALOGUE_SIZE, NIFTY
from topology.simulator.master import master

DAY = date(2026, 11, 24)


def test_the_catalogue_begins_with_nifty_and_names_each_instrument_once() -> None:
    listed = catalogue(DAY)
    assert listed[0].instrument == NIFTY
    assert not listed[0].traded
    assert len({listing.instrument for listing in listed}) == len(listed) == CATALOGUE_SIZE


@pytest.mark.parametrize(
    ("day", "expiry"),
    [
        (date(2026, 11, 1), date(2026, 11, 24)),
        (date(2026, 11, 24), date(2026, 11, 24)),
        (date(2026, 11, 25), date(2026, 12, 29)),
        (date(2026, 12, 30), date(2027, 1, 26)),
    ],
)
def test_contracts_expire_on_the_last_tuesday_of_the_month(day: date, expiry: date) -> None:
    assert {listing.expiry for listing in catalogue(day)} == {None, expiry}


def test_chosen_instruments_come_after_nifty_each_once() -> None:
    names = [listing.symbol for listing in chosen(["1:2885", "NSE:2885", NIFTY, "BSE:77"], DAY)]
    assert names == ["Nifty 50", "RELIANCE-EQ", "SIM77"]
    with pytest.raises(InstrumentError):
        chosen(["TATA"], DAY)


def test_the_master_has_the_shape_of_the_brokers() -> None:
    rows = {row["symbol"]: row for row in json.loads(master(catalogue(DAY)))}
    assert rows["RELIANCE-EQ"] == {
        "token": "2885", "symbol": "RELIANCE-EQ", "name": "RELIANCE", "expiry": "", "strike": "-1.000000",
        "lotsize": "1", "instrumenttype": "", "exch_seg": "NSE", "tick_size": "5.000000",
    }  # fmt: skip
    assert (rows["Nifty 50"]["token"], rows["Nifty 50"]["instrumenttype"]) == ("99926000", "AMXIDX")
    option = rows["RELIANCE24NOV261400CE"]
    assert (option["exch_seg"], option["instrumenttype"], option["strike"]) == ("NFO", "OPTSTK", "140000.000000")
    assert (option["expiry"], option["name"]) == ("24NOV2026", "RELIANCE")
    with_derivatives = {row["name"] for row in rows.values() if row["instrumenttype"] == "FUTSTK"}
    assert "RELIANCE" in with_derivatives
    assert "HINDUNILVR" not in with_derivatives
