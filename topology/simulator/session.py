"""The account, its tokens and the rate limits of the simulated broker. Pure but for the random part of a token."""

from __future__ import annotations

import binascii
import secrets
from base64 import urlsafe_b64encode
from collections import defaultdict, deque
from dataclasses import replace
from typing import NamedTuple

import msgspec
import pyotp

from topology.market.times import DAY_MS, last_midnight_ms
from topology.settings import Account, SettingsError

DEMONSTRATION = {
    "api_key": "SIMULATED",
    "client_code": "S10001",
    "password": "1234",
    "totp_secret": "SIMULATEDSIMULATEDSIMULATEDSIMUL",
}
"""The account that stands in where ``ANGEL_*`` names none."""

_TOTP_WINDOW = 1  # codes of 30 s that are good before and after the current one

PER_SECOND, PER_MINUTE, PER_HOUR = 1_000, 60_000, 3_600_000
LIMITS: dict[str, tuple[tuple[int, int], ...]] = {
    "loginByPassword": ((1, PER_SECOND),),
    "generateTokens": ((1, PER_SECOND), (1_000, PER_HOUR)),
    "getProfile": ((3, PER_SECOND), (1_000, PER_HOUR)),
    "logout": ((1, PER_SECOND),),
    "getRMS": ((2, PER_SECOND),),
    "placeOrder": ((20, PER_SECOND), (500, PER_MINUTE), (1_000, PER_HOUR)),
    "modifyOrder": ((20, PER_SECOND), (500, PER_MINUTE), (1_000, PER_HOUR)),
    "cancelOrder": ((20, PER_SECOND), (500, PER_MINUTE), (1_000, PER_HOUR)),
    "getOrderBook": ((1, PER_SECOND),),
    "getTradeBook": ((1, PER_SECOND),),
    "getPosition": ((1, PER_SECOND),),
    "getHolding": ((1, PER_SECOND),),
    "getLtpData": ((10, PER_SECOND), (500, PER_MINUTE), (5_000, PER_HOUR)),
    "quote": ((10, PER_SECOND), (500, PER_MINUTE), (5_000, PER_HOUR)),
    "getCandleData": ((3, PER_SECOND), (180, PER_MINUTE), (5_000, PER_HOUR)),
}
"""Calls of each route that are allowed in how many milliseconds."""


class Refusal(NamedTuple):
    """Why a login, a renewal or a token is refused: the broker's code and words."""

    code: str
    message: str


class IssuedTokens(NamedTuple):
    """What a login gives: for REST, to renew it, and for the socket."""

    jwt: str
    refresh: str
    feed: str


def account_or_demonstration(account: Account) -> Account:
    """Complete an account with the demonstration's values. Raises SettingsError for a TOTP secret that is none."""
    complete = replace(account, **{name: getattr(account, name) or value for name, value in DEMONSTRATION.items()})
    try:
        pyotp.TOTP(complete.totp_secret).at(0)
    except (binascii.Error, ValueError):
        allowed = "base32, 23 characters or more, as the broker shows it"
        raise SettingsError(f"ANGEL_TOTP_SECRET is wrong: it must be {allowed}") from None
    return complete


class Sessions:
    """Who is logged in. A token dies at midnight in India, by the clock, or when it is made to; a logout ends all."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._jwts: dict[str, int] = {}  # to the time at which each dies
        self._feeds: dict[str, int] = {}
        self._refreshes: dict[str, int] = {}

    def login(self, client_code: str, password: str, totp: str, *, now_ms: int) -> IssuedTokens | Refusal:
        """Check who it is; the code of a 30 s window before or after the current one is good too."""
        account = self._account
        if client_code != account.client_code or not secrets.compare_digest(
            password.encode(), account.password.encode()
        ):
            return Refusal("AB1007", "Invalid clientcode or password")
        if not pyotp.TOTP(account.totp_secret).verify(totp, for_time=now_ms // 1000, valid_window=_TOTP_WINDOW):
            return Refusal("AB1050", "Invalid totp")
        return self._new(now_ms)

    def renew(self, refresh: str, *, now_ms: int) -> IssuedTokens | Refusal:
        """Give new tokens for a refresh token."""
        dies_ms = self._refreshes.get(refresh)
        if dies_ms is None:
            return Refusal("AB8050", "Invalid Refresh Token")
        return self._new(now_ms) if now_ms < dies_ms else Refusal("AB8051", "Refresh Token Expired")

    def refused(self, authorization: str, *, now_ms: int) -> Refusal | None:
        """Say why a request with this header isn't allowed; None where it is."""
        jwt = authorization.removeprefix("Bearer ").strip()
        if not jwt:
            return Refusal("AG8003", "Token missing")
        dies_ms = self._jwts.get(jwt)
        if dies_ms is None:
            return Refusal("AG8001", "Invalid Token")
        return None if now_ms < dies_ms else Refusal("AG8002", "Token Expired")

    def may_stream(self, authorization: str, api_key: str, client_code: str, feed: str, *, now_ms: int) -> bool:
        """Whether a socket with these headers may be opened."""
        ours = api_key == self._account.api_key and client_code == self._account.client_code
        alive = self.refused(authorization, now_ms=now_ms) is None
        return ours and alive and now_ms < self._feeds.get(feed, now_ms)

    def expire(self, now_ms: int, *, refresh: bool) -> None:
        """Let every token die now, those to renew with only where ``refresh`` is set."""
        for dying in (self._jwts, self._feeds, *([self._refreshes] if refresh else [])):
            dying.update({token: min(dies_ms, now_ms) for token, dies_ms in dying.items()})

    def logout(self) -> None:
        """Forget every token."""
        for tokens in (self._jwts, self._feeds, self._refreshes):
            tokens.clear()

    def _new(self, now_ms: int) -> IssuedTokens:
        dies_ms = last_midnight_ms(now_ms) + DAY_MS
        tokens = IssuedTokens(
            _jwt(self._account.client_code, dies_ms), _jwt("refresh", dies_ms), secrets.token_urlsafe(24)
        )
        for issued, token in zip((self._jwts, self._refreshes, self._feeds), tokens, strict=True):
            issued[token] = dies_ms
        return tokens


def _jwt(name: str, dies_ms: int) -> str:
    """Make a token of the shape of a JSON web token; its signature is random."""
    parts = ({"alg": "HS512", "typ": "JWT"}, {"username": name, "exp": dies_ms // 1000, "iss": "SIMULATED"})
    text = ".".join(urlsafe_b64encode(msgspec.json.encode(part)).decode().rstrip("=") for part in parts)
    return f"{text}.{secrets.token_urlsafe(32)}"


class SimulatedLimits:
    """Counts the calls of each route, and says which are too many."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[int]] = defaultdict(deque)

    def allows(self, route: str, now_ms: int) -> bool:
        """Whether one more call is within the limits; one that isn't does not count."""
        limits, calls = LIMITS.get(route, ()), self._calls[route]
        for number, within_ms in limits:
            if len(calls) >= number and calls[-number] > now_ms - within_ms:
                return False
        calls.append(now_ms)
        if len(calls) > max((number for number, _ in limits), default=0):
            calls.popleft()
        return True
