"""The JSON that leaves the system, byte by byte: clients depend on every name."""

import msgspec
import pytest

from topology.log.frames import IndicatorValue
from topology.market.candle import Candle
from topology.market.ticks import Tick
from topology.sinks.values import candle_json, indicator_json, tick_json

NIFTY = "NSE:99926000"
OPEN_MS = 1_669_088_700_000


def test_a_tick_of_an_index_has_no_volume_and_quantity_zero():
    tick = Tick(NIFTY, 1824995, OPEN_MS + 250)

    assert tick_json(tick, position=7, partition=2) == (
        b'{"token":"99926000","exchange":"NSE","price":1824995,"qty":0,"tick_ts":1669088700250,"position":7,"partition":2}'
    )


def test_a_tick_of_a_stock_has_the_volume_of_its_day():
    tick = Tick("NSE:2885", 255510, OPEN_MS, day_volume=1200, quantity=25)

    assert tick_json(tick, position=7, partition=2) == (
        b'{"token":"2885","exchange":"NSE","price":255510,"qty":25,"tick_ts":1669088700000,"position":7,"partition":2,'
        b'"day_volume":1200}'
    )


def test_a_second_candle_counts_its_ticks_as_ticks_count():
    candle = Candle(NIFTY, 1, OPEN_MS, 1824995, 1825010, 1824990, 1825000, 0, 4)

    assert candle_json(candle, forming=False, position=7, partition=2) == (
        b'{"token":"99926000","exchange":"NSE","tf":1,"ts":1669088700,"open":1824995,"high":1825010,"low":1824990,'
        b'"close":1825000,"volume":0,"ticks_count":4,"forming":false,"position":7,"partition":2}'
    )


def test_a_forming_candle_of_a_timeframe_says_so_and_has_a_count():
    candle = Candle(NIFTY, 60, OPEN_MS, 1824995, 1825010, 1824990, 1825000, 30, 4)

    assert candle_json(candle, forming=True, position=7, partition=2) == (
        b'{"token":"99926000","exchange":"NSE","tf":60,"ts":1669088700,"open":1824995,"high":1825010,"low":1824990,'
        b'"close":1825000,"volume":30,"count":4,"forming":true,"position":7,"partition":2}'
    )


@pytest.mark.parametrize("live", [False, True])
def test_an_indicator_value_is_ready_and_says_whether_it_is_live(live):
    value = IndicatorValue(NIFTY, "SMA_20", 60, OPEN_MS, 1855775.75)

    assert indicator_json(value, live=live, position=7, partition=2) == (
        b'{"name":"SMA_20","token":"99926000","exchange":"NSE","tf":60,"value":1855775.75,"ts":1669088700,"ready":true,'
        b'"live":%s,"position":7,"partition":2}' % (b"true" if live else b"false")
    )


@pytest.mark.parametrize(
    ("exact", "shown"), [(1855272.222222, 1855272.2222), (37.02504999, 37.0250), (0.00005, 0.0001)]
)
def test_an_indicator_value_is_shown_to_four_decimals(exact, shown):
    value = IndicatorValue(NIFTY, "RSI_14", 60, OPEN_MS, exact)

    assert msgspec.json.decode(indicator_json(value, live=False, position=0, partition=0))["value"] == shown
