"""The broker's REST routes, with both dialects in which it says no."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from topology.market.instruments import NUMBERS
from topology.market.times import IST
from topology.settings import Account
from topology.simulator import history
from topology.simulator.distribution import Distribution
from topology.simulator.faults import Faults
from topology.simulator.orders import OrderBook, OrderError
from topology.simulator.quotes import InstrumentDay
from topology.simulator.session import IssuedTokens, Refusal, Sessions, SimulatedLimits

AUTH = "/rest/auth/angelbroking"
SECURE = "/rest/secure/angelbroking"
MOST_QUOTES = 50
_RATE_TEXT = "Access denied because of exceeding access rate"
_NUMBERS = NUMBERS | {"CDS": NUMBERS["CDE"], "NCDEX": NUMBERS["NCX"]}

Fields = Mapping[str, Any]
Answer = Callable[[Fields], Any]


class Refused(Exception):  # noqa: N818 - it is an answer
    """A request that is understood and refused: the broker's code and words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RestRoutes:
    """Answers requests. ``now_ms`` is the simulator's clock, by which tokens die and rates are counted."""

    def __init__(
        self,
        account: Account,
        sessions: Sessions,
        distribution: Distribution,
        *,
        faults: Faults,
        now_ms: Callable[[], int],
    ) -> None:
        self._account, self._sessions, self._distribution = account, sessions, distribution
        self._faults, self._now_ms = faults, now_ms
        self._limits, self._orders = SimulatedLimits(), OrderBook()

    def routes(self) -> list[web.RouteDef]:
        """Give the routes."""
        secured: dict[str, tuple[str, Answer]] = {
            f"{SECURE}/user/v1/getProfile": ("GET", lambda _: self._profile()),
            f"{SECURE}/user/v1/getRMS": ("GET", lambda _: _FUNDS),
            f"{SECURE}/user/v1/logout": ("POST", self._logout),
            f"{SECURE}/historical/v1/getCandleData": ("POST", self._candles),
            f"{SECURE}/market/v1/quote": ("POST", self._quotes),
            f"{SECURE}/order/v1/getLtpData": ("POST", self._last_price),
            f"{SECURE}/order/v1/placeOrder": ("POST", lambda fields: self._orders.place(fields, when=self._when())),
            f"{SECURE}/order/v1/modifyOrder": ("POST", lambda fields: self._orders.modify(fields, when=self._when())),
            f"{SECURE}/order/v1/cancelOrder": ("POST", lambda fields: self._orders.cancel(fields, when=self._when())),
            f"{SECURE}/order/v1/getOrderBook": ("GET", lambda _: self._orders.rows() or None),
            f"{SECURE}/order/v1/getTradeBook": ("GET", lambda _: None),
            f"{SECURE}/order/v1/getPosition": ("GET", lambda _: None),
            f"{SECURE}/portfolio/v1/getHolding": ("GET", lambda _: []),
        }
        made = [
            web.route(method, path, self._guarded(path.rpartition("/")[2], answer, secured=True))
            for path, (method, answer) in secured.items()
        ]
        made.append(web.get(f"{SECURE}/order/v1/details/{{id}}", self._details))
        made.append(web.post(f"{AUTH}/user/v1/loginByPassword", self._guarded("loginByPassword", self._login)))
        made.append(web.post(f"{AUTH}/jwt/v1/generateTokens", self._guarded("generateTokens", self._renew)))
        return made

    def _guarded(
        self, route: str, answer: Answer, *, secured: bool = False
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def respond(request: web.Request) -> web.Response:
            if (stopped := self._stopped(request, route, secured=secured)) is not None:
                return stopped
            try:
                return _yes(answer(_fields(await request.read())))
            except (Refused, OrderError) as refused:
                return _no(refused.code, str(refused))

        return respond

    async def _details(self, request: web.Request) -> web.Response:
        if (stopped := self._stopped(request, "details", secured=True)) is not None:
            return stopped
        row = self._orders.row(request.match_info["id"])
        return _yes(row) if row is not None else _no("AB1013", "Order not found")

    def _stopped(self, request: web.Request, route: str, *, secured: bool) -> web.Response | None:
        """Answer what never gets as far as the route: too many requests, a wrong API key, a dead token."""
        limited = next((fault.answer for fault in self._faults.named("rate-limit")), None)
        if limited is None and not self._limits.allows(route, self._now_ms()):
            limited = "403"
        if limited == "AB1021":
            return _no("AB1021", "Too many requests")
        if limited is not None:
            return web.Response(status=int(limited), text=_RATE_TEXT)
        if request.headers.get("X-PrivateKey") != self._account.api_key:
            return _gateway_no("AG8004", "Invalid API Key")
        refusal = (
            self._sessions.refused(request.headers.get("Authorization", ""), now_ms=self._now_ms()) if secured else None
        )
        return _gateway_no(*refusal) if refusal is not None else None

    def _login(self, fields: Fields) -> dict[str, str]:
        if self._faults.named("refuse-login"):
            raise Refused("AB1007", "Login refused (SIMULATED fault)")
        code, password, totp = (str(fields.get(name, "")) for name in ("clientcode", "password", "totp"))
        return _tokens(self._sessions.login(code, password, totp, now_ms=self._now_ms()))

    def _renew(self, fields: Fields) -> dict[str, str]:
        return _tokens(self._sessions.renew(str(fields.get("refreshToken", "")), now_ms=self._now_ms()))

    def _logout(self, fields: Fields) -> None:
        if fields.get("clientcode") != self._account.client_code:
            raise Refused("AB1007", "Invalid clientcode")
        self._sessions.logout()

    def _profile(self) -> dict[str, object]:
        return {
            "clientcode": self._account.client_code, "name": "SIMULATED ACCOUNT", "email": "", "mobileno": "",
            "exchanges": ["nse_cm", "nse_fo", "bse_cm"], "products": ["DELIVERY", "INTRADAY", "CARRYFORWARD"],
            "lastlogintime": "", "brokerid": "B2C",
        }  # fmt: skip

    def _candles(self, fields: Fields) -> list[history.Row]:
        index = self._index(fields.get("exchange"), fields.get("symboltoken"))
        interval, from_text, to_text = (str(fields.get(name, "")) for name in ("interval", "fromdate", "todate"))
        try:
            made = history.rows(
                self._distribution.source, index, interval=interval, from_text=from_text, to_text=to_text,
                now_ms=self._faults.now_ms,
            )  # fmt: skip
        except history.HistoryError as error:
            raise Refused("AB1004", str(error)) from None
        holidays = [(_iso(f.from_ms), _iso(f.until_ms)) for f in self._faults.all if f.name == "holiday"]
        return [row for row in made if not any(begin <= row[0] < end for begin, end in holidays)]

    def _quotes(self, fields: Fields) -> dict[str, list[dict[str, object]]]:
        instruments = [(ex, str(t)) for ex, tokens in (fields.get("exchangeTokens") or {}).items() for t in tokens]
        if fields.get("mode") not in _QUOTE_FIELDS or not 0 < len(instruments) <= MOST_QUOTES:
            raise Refused("AB4000", f"mode must be LTP, OHLC or FULL, for up to {MOST_QUOTES} symbols")
        fetched: list[dict[str, object]] = []
        unfetched: list[dict[str, object]] = []
        for exchange, token in instruments:
            index = self._distribution.index_of(_NUMBERS.get(exchange, 0), token)
            if index is None:
                row: dict[str, object] = {"exchange": exchange, "symbolToken": token, "message": "Symbol not found"}
                unfetched.append(row | {"errorCode": "AB4018"})
            else:
                quote = _quote(self._distribution.state(index))
                fetched.append({name: quote[name] for name in _QUOTE_FIELDS[fields["mode"]]})
        return {"fetched": fetched, "unfetched": unfetched}

    def _last_price(self, fields: Fields) -> dict[str, object]:
        quote = _quote(self._distribution.state(self._index(fields.get("exchange"), fields.get("symboltoken"))))
        names = {"tradingsymbol": "tradingSymbol", "symboltoken": "symbolToken"}
        same = ("exchange", "open", "high", "low", "close", "ltp")
        return {name: quote[names.get(name, name)] for name in (*names, *same)}

    def _index(self, exchange: object, token: object) -> int:
        index = self._distribution.index_of(_NUMBERS.get(str(exchange), 0), str(token))
        if index is None:
            raise Refused("AB1018", "Symbol not found")
        return index

    def _when(self) -> str:
        return f"{datetime.fromtimestamp(self._now_ms() / 1000, IST):%d-%b-%Y %H:%M:%S}"


_LTP_FIELDS = ("exchange", "tradingSymbol", "symbolToken", "ltp")
_OHLC_FIELDS = (*_LTP_FIELDS, "open", "high", "low", "close")
_FULL_FIELDS = (
    *_OHLC_FIELDS, "lastTradeQty", "exchFeedTime", "exchTradeTime", "netChange", "percentChange", "avgPrice",
    "tradeVolume", "opnInterest", "lowerCircuit", "upperCircuit", "totBuyQuan", "totSellQuan", "52WeekLow",
    "52WeekHigh", "depth",
)  # fmt: skip
_QUOTE_FIELDS = {"LTP": _LTP_FIELDS, "OHLC": _OHLC_FIELDS, "FULL": _FULL_FIELDS}
_FUNDS = {
    "net": "1000000.0000", "availablecash": "1000000.0000", "availableintradaypayin": "0.0000",
    "availablelimitmargin": "0.0000", "collateral": "0.0000", "m2munrealized": "0.0000", "m2mrealized": "0.0000",
    "utiliseddebits": "0.0000", "utilisedspan": "0.0000", "utilisedoptionpremium": "0.0000",
    "utilisedholdingsales": "0.0000", "utilisedexposure": "0.0000", "utilisedturnover": "0.0000",
    "utilisedpayout": "0.0000",
}  # fmt: skip


def _quote(state: InstrumentDay) -> dict[str, object]:
    """Tell all that the broker's market quote has; prices in rupees."""
    change, close = state.price - state.close, state.close
    (upper, lower), (year_high, year_low), (bid, asked) = state.circuits, state.year, state.offered
    sides = [
        [{"price": level.price / 100, "quantity": level.quantity, "orders": level.orders} for level in side]
        for side in state.depth()
    ]
    return {
        "exchange": state.listing.exchange, "tradingSymbol": state.listing.symbol, "symbolToken": state.listing.token,
        "ltp": state.price / 100, "open": state.open / 100, "high": state.high / 100, "low": state.low / 100,
        "close": close / 100, "lastTradeQty": state.quantity, "exchFeedTime": _clock(state.time_ms),
        "exchTradeTime": _clock(state.traded_ms), "netChange": change / 100,
        "percentChange": round(100 * change / close, 2), "avgPrice": state.average_price / 100,
        "tradeVolume": state.day_volume, "opnInterest": state.open_interest, "lowerCircuit": lower / 100,
        "upperCircuit": upper / 100, "totBuyQuan": bid, "totSellQuan": asked, "52WeekLow": year_low / 100,
        "52WeekHigh": year_high / 100, "depth": {"buy": sides[0], "sell": sides[1]},
    }  # fmt: skip


def _clock(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, IST):%d-%b-%Y %H:%M:%S}"


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, IST).isoformat()


def _tokens(tokens: IssuedTokens | Refusal) -> dict[str, str]:
    if isinstance(tokens, Refusal):
        raise Refused(*tokens)
    return {"jwtToken": tokens.jwt, "refreshToken": tokens.refresh, "feedToken": tokens.feed}


def _fields(body: bytes) -> Fields:
    try:
        return msgspec.json.decode(body, type=dict[str, Any]) if body.strip() else {}
    except msgspec.DecodeError:
        raise Refused("AB4000", "The request is not a JSON object") from None


def _yes(data: object) -> web.Response:
    return _json({"status": True, "message": "SUCCESS", "errorcode": "", "data": data})


def _no(code: str, message: str) -> web.Response:
    return _json({"status": False, "message": message, "errorcode": code, "data": None})


def _gateway_no(code: str, message: str) -> web.Response:
    return _json({"success": False, "message": message, "errorCode": code, "data": ""})


def _json(answer: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")
