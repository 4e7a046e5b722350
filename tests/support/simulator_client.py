"""A clock that is set by hand, calendars, and a customer of the simulated broker."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files
from typing import Any

import aiohttp
import pyotp
import pytest

from topology.feeds.angel.packets import Packet, QuotePacket, parse
from topology.market import Calendar
from topology.market.times import IST
from topology.settings import Account, Settings
from topology.simulator import DEMONSTRATION, Simulator

AUTH = "/rest/auth/angelbroking"
SECURE = "/rest/secure/angelbroking"
NOBODY: Account = Settings.from_env({}).account


def calendar(name: str) -> Calendar:
    return Calendar.parse(files("topology.market").joinpath(f"calendars/{name}.json").read_text())


NSE, ALWAYS = calendar("nse"), calendar("always_open")


def at(text: str) -> int:
    """Give an Indian time in milliseconds since the epoch."""
    return int(datetime.fromisoformat(text).replace(tzinfo=IST).timestamp() * 1000)


OPEN_MS = at("2022-11-22 09:15")


class Clock:
    """A clock that stands where it is put."""

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def __call__(self) -> int:
        return self.ms


class Client:
    """The broker's customer, in plain HTTP, and the simulator it talks to."""

    def __init__(self, simulator: Simulator, clock: Clock, http: aiohttp.ClientSession) -> None:
        self.simulator, self.clock, self.http = simulator, clock, http
        self.headers = {"X-PrivateKey": DEMONSTRATION["api_key"]}
        self.tokens: dict[str, str] = {}

    async def step(self, milliseconds: int = 1_000) -> None:
        """Let time go on."""
        self.clock.ms += milliseconds
        await self.simulator.advance_to(self.clock.ms)

    async def post(self, path: str, **said: Any) -> dict[str, Any]:
        async with self.http.post(self.simulator.api_url + path, json=said, headers=self.headers) as answer:
            answered: dict[str, Any] = await answer.json()
        return answered

    async def get(self, path: str) -> Any:
        async with self.http.get(self.simulator.api_url + path, headers=self.headers) as answer:
            return await answer.json()

    async def login(self, **other: str) -> dict[str, Any]:
        said = {"clientcode": DEMONSTRATION["client_code"], "password": DEMONSTRATION["password"]}
        said["totp"] = pyotp.TOTP(DEMONSTRATION["totp_secret"]).at(self.clock.ms // 1000)
        answer = await self.post(f"{AUTH}/user/v1/loginByPassword", **(said | other))
        if answer["status"]:
            self.use(answer["data"])
        return answer

    def use(self, tokens: dict[str, str]) -> None:
        self.tokens = tokens
        self.headers["Authorization"] = "Bearer " + tokens["jwtToken"]

    def socket_headers(self, **other: str) -> dict[str, str]:
        return {
            "Authorization": self.tokens["jwtToken"],
            "x-api-key": DEMONSTRATION["api_key"],
            "x-client-code": DEMONSTRATION["client_code"],
            "x-feed-token": self.tokens["feedToken"],
        } | other

    def socket(self, **other: str) -> Any:
        return self.http.ws_connect(self.simulator.feed_url, headers=self.socket_headers(**other))

    async def refused(self, **other: str) -> int:
        """Give the status with which a socket is refused."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            await self.socket(**other)
        return error.value.status


def subscription(*tokens: str, mode: int = 2, action: int = 1, exchange: int = 1) -> dict[str, Any]:
    params = {"mode": mode, "tokenList": [{"exchangeType": exchange, "tokens": list(tokens)}]}
    return {"correlationID": "abcde12345", "action": action, "params": params}


def quote(payload: bytes) -> QuotePacket:
    """Read a packet of mode 2."""
    packet = parse(payload)
    assert isinstance(packet, QuotePacket)
    return packet


async def subscribed(socket: aiohttp.ClientWebSocketResponse, *tokens: str, mode: int = 2) -> list[Packet]:
    """Subscribe, and give the snapshots that come first."""
    await socket.send_json(subscription(*tokens, mode=mode))
    return [parse(await socket.receive_bytes()) for _ in tokens]


async def heard(socket: aiohttp.ClientWebSocketResponse) -> list[bytes]:
    """Give all messages up to now: the answer to a ping comes after them."""
    await socket.send_str("ping")
    found = []
    async for message in socket:
        if message.data == "pong":
            break
        found.append(message.data)
    return found
