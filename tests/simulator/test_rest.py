from __future__ import annotations

from tests.simulator.conftest import Open
from tests.simulator.test_orders import WANTED
from tests.support.simulator_client import AUTH, OPEN_MS, SECURE, at
from topology.simulator import DEMONSTRATION

CANDLES = {
    "exchange": "NSE", "symboltoken": "2885", "interval": "ONE_MINUTE", "fromdate": "2022-11-21 09:15",
    "todate": "2022-11-22 15:29",
}  # fmt: skip


async def test_a_login_gives_three_tokens_and_a_profile(running: Open) -> None:
    async with running(login=False) as client:
        answer = await client.login()
        assert set(answer["data"]) == {"jwtToken", "refreshToken", "feedToken"}
        profile = await client.get(f"{SECURE}/user/v1/getProfile")
        assert profile["data"]["clientcode"] == DEMONSTRATION["client_code"]
        assert "SIMULATED" in profile["data"]["name"]


async def test_a_refused_login_speaks_the_services_dialect(running: Open) -> None:
    async with running(login=False) as client:
        assert await client.login(password="0000") == {
            "status": False, "message": "Invalid clientcode or password", "errorcode": "AB1007", "data": None,
        }  # fmt: skip
        await client.step(1_000)
        assert (await client.login(totp="000000"))["errorcode"] == "AB1050"


async def test_a_dead_token_speaks_the_gateways_dialect(running: Open) -> None:
    async with running() as client:
        client.headers["Authorization"] = "Bearer other"
        assert await client.get(f"{SECURE}/user/v1/getProfile") == {
            "success": False, "message": "Invalid Token", "errorCode": "AG8001", "data": "",
        }  # fmt: skip
        client.headers["X-PrivateKey"] = "other"
        assert (await client.get(f"{SECURE}/user/v1/getProfile"))["errorCode"] == "AG8004"


async def test_an_expired_token_can_be_renewed(running: Open) -> None:
    async with running() as client:
        client.simulator.fault("expire-token")
        assert (await client.get(f"{SECURE}/user/v1/getProfile"))["errorCode"] == "AG8002"
        renewed = await client.post(f"{AUTH}/jwt/v1/generateTokens", refreshToken=client.tokens["refreshToken"])
        client.use(renewed["data"])
        assert (await client.get(f"{SECURE}/user/v1/getProfile"))["status"]
        client.simulator.fault("expire-session")
        await client.step(1_000)
        renewed = await client.post(f"{AUTH}/jwt/v1/generateTokens", refreshToken=client.tokens["refreshToken"])
        assert renewed["errorcode"] == "AB8051"


async def test_after_a_logout_the_token_is_dead(running: Open) -> None:
    async with running() as client:
        assert (await client.post(f"{SECURE}/user/v1/logout", clientcode=DEMONSTRATION["client_code"]))["status"]
        assert (await client.get(f"{SECURE}/user/v1/getProfile"))["errorCode"] == "AG8001"


async def test_refusing_a_login_is_a_fault_that_passes(running: Open) -> None:
    async with running(login=False) as client:
        client.simulator.fault("refuse-login:for=5s")
        assert (await client.login())["errorcode"] == "AB1007"
        await client.step(5_000)
        assert (await client.login())["status"]


async def test_too_many_calls_are_refused_with_a_text(running: Open) -> None:
    async with running() as client:
        url = client.simulator.api_url + f"{SECURE}/historical/v1/getCandleData"
        for status in (200, 200, 200, 403):
            async with client.http.post(url, json=CANDLES, headers=client.headers) as answer:
                assert answer.status == status
                assert (status == 200) == (answer.content_type == "application/json")
                assert status == 200 or "exceeding access rate" in await answer.text()
        await client.step(1_000)
        assert (await client.post(f"{SECURE}/historical/v1/getCandleData", **CANDLES))["status"]


async def test_the_three_ways_of_limiting_rates(running: Open) -> None:
    async with running() as client:
        for kind, status in (("403", 403), ("AB1021", 200), ("429", 429)):
            client.simulator.fault(f"rate-limit:answer={kind},for=1s")
            url = client.simulator.api_url + f"{SECURE}/user/v1/getRMS"
            async with client.http.get(url, headers=client.headers) as answer:
                assert answer.status == status
                assert status != 200 or (await answer.json())["errorcode"] == "AB1021"
            if kind == "429":
                assert await client.refused() == 429
            await client.step(1_000)


async def test_candles_are_those_of_the_source_up_to_now(running: Open) -> None:
    async with running(now_ms=OPEN_MS + 330_000) as client:
        data = (await client.post(f"{SECURE}/historical/v1/getCandleData", **CANDLES))["data"]
        candles = client.simulator._source.candles(1, at("2022-11-21 09:15"), OPEN_MS + 300_000)
        assert len(data) == 375 + 6
        assert [[round(price * 100) for price in row[1:5]] + [row[5]] for row in data[:-1]] == [
            [candle.open, candle.high, candle.low, candle.close, candle.volume] for candle in candles
        ]


async def test_on_a_holiday_there_are_no_candles(running: Open) -> None:
    async with running(now_ms=at("2022-11-22 09:00")) as client:
        client.simulator.fault("holiday")
        await client.step(3_600_000)
        data = (await client.post(f"{SECURE}/historical/v1/getCandleData", **CANDLES))["data"]
        assert len(data) == 375
        assert data[-1][0].startswith("2022-11-21")


async def test_a_wrong_question_says_what_is_wrong(running: Open) -> None:
    async with running() as client:
        path = f"{SECURE}/historical/v1/getCandleData"
        assert (await client.post(path, **CANDLES | {"symboltoken": "4711"}))["errorcode"] == "AB1018"
        assert "30 days" in (await client.post(path, **CANDLES | {"fromdate": "2022-09-01 09:15"}))["message"]


async def test_quotes_are_the_state_in_rupees(running: Open) -> None:
    async with running(now_ms=OPEN_MS + 60_000) as client:
        exchange_tokens = {"NSE": ["2885", "99926000", "4711"]}
        answer = await client.post(f"{SECURE}/market/v1/quote", mode="FULL", exchangeTokens=exchange_tokens)
        stock, index = answer["data"]["fetched"]
        assert [row["symbolToken"] for row in answer["data"]["unfetched"]] == ["4711"]
        state = client.simulator._distribution.state(1)
        assert (stock["tradingSymbol"], round(stock["ltp"] * 100)) == ("RELIANCE-EQ", state.price)
        assert stock["tradeVolume"] == state.day_volume > 0
        assert len(stock["depth"]["buy"]) == len(stock["depth"]["sell"]) == 5
        assert stock["depth"]["buy"][0]["price"] < stock["depth"]["sell"][0]["price"]
        assert (index["tradeVolume"], index["depth"]) == (0, {"buy": [], "sell": []})
        said = {"exchange": "NSE", "tradingsymbol": "RELIANCE-EQ", "symboltoken": "2885"}
        last = (await client.post(f"{SECURE}/order/v1/getLtpData", **said))["data"]
        assert (last["ltp"], last["tradingsymbol"]) == (stock["ltp"], "RELIANCE-EQ")
        short = await client.post(f"{SECURE}/market/v1/quote", mode="LTP", exchangeTokens={"NSE": ["2885"]})
        assert set(short["data"]["fetched"][0]) == {"exchange", "tradingSymbol", "symbolToken", "ltp"}


async def test_orders_have_the_shape_of_the_brokers(running: Open) -> None:
    async with running() as client:
        placed = await client.post(f"{SECURE}/order/v1/placeOrder", **WANTED)
        assert set(placed["data"]) == {"script", "orderid", "uniqueorderid"}
        book = await client.get(f"{SECURE}/order/v1/getOrderBook")
        assert [row["orderid"] for row in book["data"]] == [placed["data"]["orderid"]]
        details = await client.get(f"{SECURE}/order/v1/details/{placed['data']['uniqueorderid']}")
        assert details["data"] == book["data"][0]
        refused = await client.post(f"{SECURE}/order/v1/cancelOrder", orderid="SIM9", variety="NORMAL")
        assert (refused["status"], refused["errorcode"]) == (False, "AB1013")
        for path, data in (("order/v1/getTradeBook", None), ("order/v1/getPosition", None)):
            assert (await client.get(f"{SECURE}/{path}"))["data"] is data
        assert (await client.get(f"{SECURE}/portfolio/v1/getHolding"))["data"] == []
        assert (await client.get(f"{SECURE}/user/v1/getRMS"))["data"]["net"]


async def test_a_body_that_is_no_json_is_an_answer(running: Open) -> None:
    async with running(login=False) as client:
        url = client.simulator.api_url + f"{AUTH}/user/v1/loginByPassword"
        async with client.http.post(url, data=b"{", headers=client.headers) as answer:
            assert (await answer.json())["errorcode"] == "AB4000"
