from __future__ import annotations

import pytest

from topology.simulator.orders import OrderBook, OrderError

WANTED = {
    "variety": "NORMAL", "tradingsymbol": "RELIANCE-EQ", "symboltoken": "2885", "transactiontype": "BUY",
    "exchange": "NSE", "ordertype": "LIMIT", "producttype": "INTRADAY", "duration": "DAY", "price": "1400.00",
    "quantity": "5", "ordertag": "mine",
}  # fmt: skip
WHEN = "22-Nov-2022 09:15:00"


def test_an_order_is_taken_and_stays_open() -> None:
    book = OrderBook()
    answer = book.place(WANTED, when=WHEN)
    assert answer["script"] == "RELIANCE-EQ"
    (row,) = book.rows()
    assert row["orderid"] == answer["orderid"]
    assert (row["status"], row["unfilledshares"], row["ordertag"], row["updatetime"]) == ("open", "5", "mine", WHEN)
    assert book.row(answer["uniqueorderid"]) == row


def test_an_order_is_changed_and_cancelled() -> None:
    book = OrderBook()
    number = book.place(WANTED, when=WHEN)["orderid"]
    book.modify({"orderid": number, "quantity": "7", "price": "1401.00"}, when=WHEN)
    assert (book.rows()[0]["quantity"], book.rows()[0]["unfilledshares"]) == ("7", "7")
    book.cancel({"orderid": number, "variety": "NORMAL"}, when=WHEN)
    assert (book.rows()[0]["status"], book.rows()[0]["cancelsize"]) == ("cancelled", "7")
    with pytest.raises(OrderError, match="not open"):
        book.modify({"orderid": number, "quantity": "8"}, when=WHEN)


def test_what_is_refused_says_why() -> None:
    book = OrderBook()
    with pytest.raises(OrderError, match="quantity must be given"):
        book.place({**WANTED, "quantity": ""}, when=WHEN)
    with pytest.raises(OrderError, match="not found"):
        book.cancel({"orderid": "SIM9"}, when=WHEN)
    assert book.rows() == []
