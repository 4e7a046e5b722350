"""The broker's own client, unchanged but for its addresses, against the simulator."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pyotp
import pytest
import websocket

from tests.simulator.conftest import Open
from tests.support.depth_levels import levels
from tests.support.simulator_client import OPEN_MS, Client
from tests.support.until import until
from topology.feeds.angel.packets import LTP, QUOTE, SNAP_QUOTE, SnapQuotePacket
from topology.simulator import DEMONSTRATION

with mock.patch("requests.get", side_effect=OSError("no network")):  # the SDK asks for its address at import
    from SmartApi.smartConnect import SmartConnect
    from SmartApi.smartExceptions import DataException
    from SmartApi.smartWebSocketV2 import SmartWebSocketV2


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # its constructors make a folder for logs,
    monkeypatch.setattr("logzero.logfile", lambda *_, **__: None)  # and open a file in it, which nobody closes


class Sdk:
    """The SDK's REST client, each call in a thread."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.rest = SmartConnect(api_key=DEMONSTRATION["api_key"], root=client.simulator.api_url, timeout=10)
        self.rest._rootUrl = client.simulator.api_url

    async def __call__(self, name: str, *said: Any) -> Any:
        return await asyncio.to_thread(getattr(self.rest, name), *said)

    async def login(self) -> Any:
        totp = pyotp.TOTP(DEMONSTRATION["totp_secret"]).at(self.client.clock.ms // 1_000)
        return await self("generateSession", DEMONSTRATION["client_code"], DEMONSTRATION["password"], totp)


async def test_login_profile_renewal_and_logout(running: Open) -> None:
    async with running(login=False) as client:
        sdk = Sdk(client)
        session = await sdk.login()
        assert session["data"]["clientcode"] == DEMONSTRATION["client_code"]
        assert session["data"]["jwtToken"].startswith("Bearer ")
        old = sdk.rest.access_token
        await client.step(1_000)
        renewed = await sdk("generateToken", sdk.rest.refresh_token)
        assert renewed["status"]
        assert sdk.rest.access_token != old
        assert (await sdk("getProfile", sdk.rest.refresh_token))["status"]
        assert (await sdk("terminateSession", DEMONSTRATION["client_code"]))["status"]
        assert (await sdk("getProfile", sdk.rest.refresh_token))["errorCode"] == "AG8001"


async def test_a_refused_login_and_a_rate_limit_are_what_the_sdk_makes_of_them(running: Open) -> None:
    async with running(login=False) as client:
        client.simulator.fault("refuse-login:for=1s")
        sdk = Sdk(client)
        assert (await sdk.login())["errorcode"] == "AB1007"
        client.simulator.fault("rate-limit:for=1s")
        with pytest.raises(DataException, match="exceeding access rate"):
            await sdk.login()
        await client.step(1_000)
        assert (await sdk.login())["status"]


async def test_candles_quotes_and_orders(running: Open) -> None:
    async with running(login=False, now_ms=OPEN_MS + 600_000) as client:
        sdk = Sdk(client)
        await sdk.login()
        asked = {"exchange": "NSE", "symboltoken": "2885", "interval": "FIVE_MINUTE"}
        asked |= {"fromdate": "2022-11-22 09:15", "todate": "2022-11-22 09:24"}
        candles = await sdk("getCandleData", asked)
        assert [row[0][11:16] for row in candles["data"]] == ["09:15", "09:20"]
        quotes = await sdk("getMarketData", "FULL", {"NSE": ["2885"]})
        last = await sdk("ltpData", "NSE", "RELIANCE-EQ", "2885")
        assert quotes["data"]["fetched"][0]["ltp"] == last["data"]["ltp"]
        wanted = {"variety": "NORMAL", "tradingsymbol": "RELIANCE-EQ", "symboltoken": "2885", "transactiontype": "BUY"}
        wanted |= {"exchange": "NSE", "ordertype": "LIMIT", "producttype": "INTRADAY", "duration": "DAY"}
        placed = await sdk("placeOrderFullResponse", wanted | {"price": "1400", "quantity": "1"})
        number, unique = placed["data"]["orderid"], placed["data"]["uniqueorderid"]
        assert (await sdk("individual_order_details", unique))["data"]["orderid"] == number
        assert (await sdk("cancelOrder", number, "NORMAL"))["status"]
        assert (await sdk("orderBook"))["data"][0]["status"] == "cancelled"
        assert (await sdk("rmsLimit"))["data"]["net"]
        for name in ("position", "holding", "tradeBook"):
            assert (await sdk(name))["status"]


class Feed(SmartWebSocketV2):  # type: ignore[misc] # the SDK has no type information
    """The SDK's socket: subscribes in all three modes as soon as it is open, and keeps what it parses."""

    def __init__(self, sdk: Sdk) -> None:
        tokens = sdk.rest
        super().__init__(tokens.access_token, tokens.api_key, tokens.userId, tokens.feed_token, max_retry_attempt=0)
        self.ROOT_URI = sdk.client.simulator.feed_url
        self.input_request_dict: dict[Any, Any] = {}
        self.parsed: list[dict[str, Any]] = []
        self.ended = threading.Event()

    def on_open(self, _: object) -> None:
        for mode in (LTP, QUOTE, SNAP_QUOTE):
            self.subscribe("abcde12345", mode, [{"exchangeType": 1, "tokens": ["2885"]}])

    def on_data(self, _: object, parsed: dict[str, Any]) -> None:
        self.parsed.append(parsed)

    def on_error(self, *_: object) -> None:
        self.ended.set()


async def test_the_sdk_parses_what_the_source_has(running: Open) -> None:
    async with running(login=False) as client:
        sdk = Sdk(client)
        await sdk.login()
        feed = Feed(sdk)
        connection = asyncio.create_task(asyncio.to_thread(feed.connect))
        await until(lambda: len(feed.parsed) == 3)
        await client.step(10_000)
        printed = list(client.simulator._source.prints(1, OPEN_MS + 1, OPEN_MS + 10_001))
        await until(lambda: len(feed.parsed) == 3 * (len(printed) + 1))
        for mode in (LTP, QUOTE, SNAP_QUOTE):
            of = [parsed for parsed in feed.parsed[3:] if parsed["subscription_mode"] == mode]
            assert [(parsed["exchange_timestamp"], parsed["last_traded_price"]) for parsed in of] == [
                (p.time_ms, p.price) for p in printed
            ]
        state = client.simulator._distribution.state(1)
        newest = feed.parsed[-1]
        assert newest["subscription_mode_val"] == "SNAP_QUOTE"
        assert newest["volume_trade_for_the_day"] == state.day_volume > 0
        assert (newest["open_price_of_the_day"], newest["high_price_of_the_day"]) == (state.open, state.high)
        assert (newest["low_price_of_the_day"], newest["closed_price"]) == (state.low, state.close)
        assert (newest["upper_circuit_limit"], newest["lower_circuit_limit"]) == state.circuits
        snap = state.packet(SNAP_QUOTE)
        assert isinstance(snap, SnapQuotePacket)
        bids, asks = levels(snap)
        for side, wanted in (("best_5_buy_data", bids), ("best_5_sell_data", asks)):
            assert [(row["price"], row["quantity"]) for row in newest[side]] == [(x.price, x.quantity) for x in wanted]
        assert newest["best_5_buy_data"][0]["price"] < newest["best_5_sell_data"][0]["price"]
        client.simulator.fault("drop")
        await until(feed.ended.is_set)
        await connection


async def test_a_dead_token_is_what_the_sdk_hears_at_the_door(running: Open) -> None:
    async with running(login=False) as client:
        sdk = Sdk(client)
        await sdk.login()
        client.simulator.fault("expire-token")
        feed = Feed(sdk)
        heard: list[Exception] = []
        feed._on_error = lambda _, error: heard.append(error)
        await asyncio.to_thread(feed.connect)
        assert isinstance(heard[0], websocket.WebSocketBadStatusException)
        assert heard[0].status_code == 401
