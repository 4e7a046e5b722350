"""The JSON that leaves the system, byte by byte: clients depend on every name."""

import msgspec
import pytest

from topology.log.frames import IndicatorValue
from topology.market.candle import BROKER, EXTREME, PARTIAL, Candle
from topology.market.quotes import Quote
from topology.market.ticks import Tick
from topology.sinks.values import candle_json, indicator_json, tick_json

NIFTY = "NSE:99926000"
OPEN_MS = 1_669_088_700_000


def test_a_tick_of_an_index_has_no_volume_and_quantity_zero() -> None:
    tick = Tick(NIFTY, 1824995, OPEN_MS + 250)

    assert tick_json(tick, None, position=7, partition=2) == (
        b'{"token":"99926000","exchange":"NSE","price":1824995,"qty":0,"tick_ts":1669088700250,"position":7,"partition":2}'
    )


def test_a_tick_of_a_stock_has_the_volume_of_its_day() -> None:
    tick = Tick("NSE:2885", 255510, OPEN_MS, day_volume=1200, quantity=25)

    assert tick_json(tick, None, position=7, partition=2) == (
        b'{"token":"2885","exchange":"NSE","price":255510,"qty":25,"tick_ts":1669088700000,"position":7,"partition":2,'
        b'"day_volume":1200}'
    )


def test_a_quote_travels_along_with_the_tick_or_alone() -> None:
    tick = Tick("NSE:2885", 255510, OPEN_MS, day_volume=1200, quantity=25)
    quote = Quote("NSE:2885", OPEN_MS + 5, 255500, 1300, 255000, 256000, 254000, 253000, 255200, bid=255495, ask=255515)
    told = (
        b'"position":7,"partition":2,"day_volume":1300,"day_open":255000,"day_high":256000,"day_low":254000,'
        b'"previous_close":253000,"average_price":255200,"bid":255495,"ask":255515}'
    )

    assert tick_json(tick, quote, position=7, partition=2) == (
        b'{"token":"2885","exchange":"NSE","price":255510,"qty":25,"tick_ts":1669088700000,' + told
    )
    assert tick_json(None, quote, position=7, partition=2) == (
        b'{"token":"2885","exchange":"NSE","price":255500,"qty":0,"tick_ts":1669088700005,' + told
    )


def test_every_field_of_a_quote_has_its_place() -> None:
    fields = [field.name for field in msgspec.structs.fields(Quote)]
    quote = Quote("NSE:2885", OPEN_MS, **{name: number for number, name in enumerate(fields[2:], 1)})
    shown = msgspec.json.decode(tick_json(None, quote, position=0, partition=0))

    assert {shown.get(name, shown.get(f"day_{name}")) for name in fields[2:]} == set(range(1, len(fields) - 1))
    assert [shown.get(f"day_{name}") for name in ("open", "high", "low")] == [3, 4, 5]


def test_a_candle_says_what_is_special_about_it() -> None:
    candle = Candle(NIFTY, 60, OPEN_MS, 1824995, 1825010, 1824990, 1825000, 30, 4, PARTIAL | EXTREME)

    assert candle_json(candle, forming=False, position=7, partition=2).endswith(
        b'"partition":2,"partial":true,"hl_from_day":true}'
    )


@pytest.mark.parametrize("revision", [0, 1])
def test_a_candle_of_the_brokers_history_says_so_at_its_end(revision: int) -> None:
    candle = Candle(NIFTY, 60, OPEN_MS, 1824995, 1825010, 1824990, 1825000, 30, 0, BROKER)

    assert candle_json(candle, forming=False, position=7, partition=2, revision=revision) == (
        b'{"token":"99926000","exchange":"NSE","tf":60,"ts":1669088700,"open":1824995,"high":1825010,"low":1824990,'
        b'"close":1825000,"volume":30,"count":0,"forming":false,"position":7,"partition":2,"source":"broker",'
        b'"revision":%d}' % revision
    )


def test_a_candle_of_our_own_history_is_not_said_to_be_the_brokers() -> None:
    candle = Candle(NIFTY, 300, OPEN_MS, 1824995, 1825010, 1824990, 1825000, 30, 7)
    told = msgspec.json.decode(candle_json(candle, forming=False, position=7, partition=2, revision=0))
    assert (told["revision"], told["count"], "source" in told) == (0, 7, False)


def test_a_second_candle_counts_its_ticks_as_ticks_count() -> None:
    candle = Candle(NIFTY, 1, OPEN_MS, 1824995, 1825010, 1824990, 1825000, 0, 4)

    assert candle_json(candle, forming=False, position=7, partition=2) == (
        b'{"token":"99926000","exchange":"NSE","tf":1,"ts":1669088700,"open":1824995,"high":1825010,"low":1824990,'
        b'"close":1825000,"volume":0,"ticks_count":4,"forming":false,"position":7,"partition":2}'
    )


def test_a_forming_candle_of_a_timeframe_says_so_and_has_a_count() -> None:
    candle = Candle(NIFTY, 60, OPEN_MS, 1824995, 1825010, 1824990, 1825000, 30, 4)

    assert candle_json(candle, forming=True, position=7, partition=2) == (
        b'{"token":"99926000","exchange":"NSE","tf":60,"ts":1669088700,"open":1824995,"high":1825010,"low":1824990,'
        b'"close":1825000,"volume":30,"count":4,"forming":true,"position":7,"partition":2}'
    )


@pytest.mark.parametrize("live", [False, True])
def test_an_indicator_value_is_ready_and_says_whether_it_is_live(live: bool) -> None:
    value = IndicatorValue(NIFTY, "SMA_20", 60, OPEN_MS, 1855775.75)

    assert indicator_json(value, live=live, position=7, partition=2) == (
        b'{"name":"SMA_20","token":"99926000","exchange":"NSE","tf":60,"value":1855775.75,"ts":1669088700,"ready":true,'
        b'"live":%s,"position":7,"partition":2}' % (b"true" if live else b"false")
    )


@pytest.mark.parametrize(
    ("exact", "shown"), [(1855272.222222, 1855272.2222), (37.02504999, 37.0250), (0.00005, 0.0001)]
)
def test_an_indicator_value_is_shown_to_four_decimals(exact: float, shown: str) -> None:
    value = IndicatorValue(NIFTY, "RSI_14", 60, OPEN_MS, exact)

    assert msgspec.json.decode(indicator_json(value, live=False, position=0, partition=0))["value"] == shown
