"""A session with the broker: log in, know when to do so again, log out. Calls run in threads, at the broker's pace."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import pyotp

from topology.angel.answers import BrokerError, LoginRefusedError, RateLimitedError, UnreachableError
from topology.angel.client import RestClient
from topology.angel.rate_limits import RateLimits
from topology.angel.refusals import MOST, Refusals
from topology.backoff import Backoff
from topology.settings import Account

logger = logging.getLogger(__name__)

GIVEN_UP = (
    f"the broker has refused the login {MOST} times, and nothing more is tried, since that locks the account: correct "
    "ANGEL_CLIENT_CODE, ANGEL_PASSWORD, ANGEL_TOTP_SECRET or the clock"
)
RETRY_S = (30.0, 300.0)
CODE_S = 30  # how long a TOTP code is good; one that was used is refused until the next

Result = TypeVar("Result")


class CredentialsError(Exception):
    """The credentials are refused, again and again, or are not there. One line that says what to do."""


@dataclass(frozen=True)
class SessionTokens:
    """What a login gives. None of it is ever shown."""

    jwt: str = field(repr=False)
    refresh: str = field(repr=False)
    feed: str = field(repr=False)


class BrokerLogin:
    """The session of one account. ``now_ms`` is the time of day, ``sleep`` waits by it.

    ``on_failure`` is called with the reason of each login that fails.

    `login` comes back with a session, however long that takes; it raises CredentialsError where another try would
    lock the account. So does `renew`, in place of tokens that are dead.
    """

    def __init__(
        self,
        account: Account,
        limits: RateLimits,
        refusals: Refusals,
        *,
        now_ms: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]],
        on_failure: Callable[[str], None],
        random: Random,
    ) -> None:
        if account.missing:
            raise CredentialsError(f"no login without {', '.join(account.missing)}: set them")
        try:
            pyotp.TOTP(account.totp_secret).at(0)
        except ValueError:
            raise CredentialsError("ANGEL_TOTP_SECRET is wrong: it must be base32, as the broker shows it") from None
        if refusals.final:
            raise CredentialsError(f"{GIVEN_UP}, or delete {refusals.path} to try once more")
        self.tokens: SessionTokens | None = None
        self._account, self._limits, self._refusals = account, limits, refusals
        self._now_ms, self._sleep, self._on_failure = now_ms, sleep, on_failure
        self._rest = RestClient(account)
        self._backoff = Backoff(RETRY_S, random)
        self._renewing = asyncio.Lock()
        self._renewals = Backoff(RETRY_S, random)
        self._renewable_ms = 0  # until then the tokens are not made again
        self._used_code = -1  # the time step of the newest TOTP code that was used

    async def login(self) -> SessionTokens:
        """Log in, as often as it takes."""
        while True:
            try:
                self.tokens = await self._try_login()
            except BrokerError as error:
                await self._failed(error)
            else:
                self._refusals.reset()
                self._backoff.reset()
                self._pause()
                return self.tokens

    async def renew(self, dead: SessionTokens | None) -> SessionTokens:
        """Return tokens in place of dead ones. Several sockets may notice, one logs in.

        Tokens that are refused soon after they were made are returned as they are: it is not they that are wrong. They
        are made again after a pause, which is longer each time.
        """
        async with self._renewing:
            if self.tokens is None or (self.tokens is dead and self._now_ms() >= self._renewable_ms):
                return await self.login()
            return self.tokens

    def _pause(self) -> None:
        """Note until when tokens that have just been made are not made again."""
        if self._now_ms() - self._renewable_ms > RETRY_S[1] * 1000:  # those before lasted
            self._renewals.reset()
        self._renewable_ms = self._now_ms() + round(self._renewals.next_s() * 1000)

    async def logout(self) -> None:
        """End the session. One that has ended already, or a broker that isn't there, is no error."""
        self.tokens = None
        try:
            await self.call("logout", lambda: self._rest.terminateSession(self._account.client_code))
        except BrokerError as error:
            logger.info("the logout did not work: %s", error)

    async def candles(self, parameters: Mapping[str, str]) -> object:
        """Ask for candles of the past; return the data of the answer. Raises BrokerError."""
        answer = await self.call("getCandleData", lambda: self._rest.getCandleData(dict(parameters)))
        return answer.get("data")

    async def call(self, endpoint: str, work: Callable[[], Result]) -> Result:
        """Make a call when it is this endpoint's turn, in a thread. Raises BrokerError."""
        await self._limits.turn(endpoint)
        try:
            return await asyncio.to_thread(work)
        except RateLimitedError:
            self._limits.refused(endpoint)
            raise
        except (KeyError, TypeError, AttributeError):  # the client trips over it
            raise UnreachableError("the broker's answer lacks what it must have") from None

    async def _try_login(self) -> SessionTokens:
        await self._limits.turn("getProfile")  # the client asks for the profile too
        code = await self._code()
        return await self.call("login", lambda: self._tokens(code))

    def _tokens(self, code: str) -> SessionTokens:
        self._rest.forget()
        data = self._rest.generateSession(self._account.client_code, self._account.password, code)["data"]
        return SessionTokens(str(data["jwtToken"]), str(data["refreshToken"]), str(data["feedToken"]))

    async def _code(self) -> str:
        """Return a TOTP code that has not been used yet."""
        while (step := self._now_ms() // 1000 // CODE_S) <= self._used_code:
            await self._sleep((step + 1) * CODE_S - self._now_ms() / 1000)
        self._used_code = step
        return pyotp.TOTP(self._account.totp_secret).at(step * CODE_S)

    async def _failed(self, error: BrokerError) -> None:
        if isinstance(error, LoginRefusedError):
            self._refusals.add()
            if self._refusals.final:
                raise CredentialsError(f"{error}: {GIVEN_UP}") from None
        wait_s = self._backoff.next_s()
        logger.warning("login failed: %s; next try in %.0f s", error, wait_s)
        self._on_failure(str(error))
        await self._sleep(wait_s)
