"""A login on a clock of its own: as often as it takes, never so that the account locks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pyotp
import pytest

from tests.support.until import until
from topology.angel import login as module
from topology.angel.answers import LoginRefusedError, RateLimitedError, UnreachableError
from topology.angel.login import BrokerLogin, CredentialsError, SessionTokens
from topology.angel.rate_limits import RateLimits
from topology.angel.refusals import MOST, Refusals
from topology.settings import Account, Settings

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
ENV = {
    "ANGEL_API_KEY": "geheim-key", "ANGEL_CLIENT_CODE": "D12345", "ANGEL_PASSWORD": "geheim-pin",
    "ANGEL_TOTP_SECRET": SECRET,
}  # fmt: skip
START_MS = 1_669_088_700_000


class Broker:
    """Stands for the client: answers logins with what is prepared, and notes the codes that were used."""

    def __init__(self, answers: list[Exception | None]) -> None:
        self.answers = answers
        self.codes: list[tuple[float, str]] = []
        self.now_s = START_MS / 1000
        self.logouts = self.forgotten = 0

    def generateSession(self, _client: str, _password: str, code: str) -> dict[str, Any]:  # noqa: N802 - the SDK's name
        self.codes.append((self.now_s, code))
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        number = len(self.codes)
        return {"data": {"jwtToken": f"Bearer j{number}", "refreshToken": f"r{number}", "feedToken": f"f{number}"}}

    def forget(self) -> None:
        self.forgotten += 1

    def terminateSession(self, _client: str) -> None:  # noqa: N802 - the SDK's name
        self.logouts += 1
        raise UnreachableError("gone")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[BrokerLogin, Broker, list[str]]]:
    def make(*answers: Exception | None, **env: str) -> tuple[BrokerLogin, Broker, list[str]]:
        broker, told = Broker(list(answers)), list[str]()

        async def sleep(seconds: float) -> None:
            broker.now_s += max(seconds, 0.001)

        monkeypatch.setattr(module, "RestClient", lambda _: broker)
        session = BrokerLogin(
            account(**env), RateLimits(lambda: broker.now_s, sleep=sleep),
            Refusals(tmp_path / "live" / "refused.json", account(**env)), now_ms=lambda: round(broker.now_s * 1000),
            sleep=sleep, on_failure=told.append, random=Random(1),
        )  # fmt: skip
        return session, broker, told

    return make


def account(**env: str) -> Account:
    return Settings.from_env({**ENV, **env}).account


async def test_a_login_gives_the_tokens_with_the_code_of_the_moment(opened: Callable[..., Any]) -> None:
    session, broker, _ = opened()
    assert await session.login() == session.tokens == SessionTokens("Bearer j1", "r1", "f1")
    ((at_s, code),) = broker.codes
    assert pyotp.TOTP(SECRET).verify(code, for_time=int(at_s))


async def test_a_code_is_used_once(opened: Callable[..., Any]) -> None:
    session, broker, _ = opened()
    await session.login()
    await session.login()
    (first_s, first), (second_s, second) = broker.codes
    assert first != second
    assert first_s // 30 < second_s // 30


async def test_a_broker_that_is_away_is_asked_again_less_and_less_often(opened: Callable[..., Any]) -> None:
    session, broker, told = opened(*[UnreachableError("away")] * 6)
    await session.login()
    waits = [later - earlier for (earlier, _), (later, _) in zip(broker.codes, broker.codes[1:], strict=False)]
    assert waits[0] >= 30
    assert max(waits) <= 300 + 30
    assert waits[-1] > waits[0]
    assert told == ["away"] * 6


async def test_refused_credentials_are_not_tried_a_fourth_time(opened: Callable[..., Any]) -> None:
    session, broker, told = opened(*[LoginRefusedError("Invalid totp", "AB1050")] * 5)
    with pytest.raises(CredentialsError, match=r"Invalid totp \(AB1050\): the broker has refused the login 3 times"):
        await session.login()
    assert len(broker.codes) == MOST
    assert len(told) == MOST - 1


async def test_a_process_that_is_started_again_does_not_begin_to_count_anew(opened: Callable[..., Any]) -> None:
    refused = LoginRefusedError("Invalid totp", "AB1050")
    session, broker, _ = opened(refused, refused, *[UnreachableError("away")] * 1000)
    trying = asyncio.create_task(session.login())
    await until(lambda: len(broker.codes) >= 4)
    trying.cancel()
    again, broker, _ = opened(refused, refused)
    with pytest.raises(CredentialsError):
        await again.login()
    assert len(broker.codes) == 1
    with pytest.raises(CredentialsError, match=r"delete .*refused\.json to try once more"):
        opened()
    other, _, _ = opened(ANGEL_PASSWORD="another")
    await other.login()
    await opened()[0].login()


async def test_what_is_no_refusal_of_the_credentials_does_not_count(opened: Callable[..., Any]) -> None:
    refused = LoginRefusedError("Invalid totp", "AB1050")
    session, broker, _ = opened(refused, refused, RateLimitedError("often"), UnreachableError("away"))
    await session.login()
    assert len(broker.codes) == 5


async def test_an_answer_that_the_client_trips_over_is_another_try(opened: Callable[..., Any]) -> None:
    session, broker, told = opened(TypeError("'NoneType' object is not subscriptable"), KeyError("status"))
    await session.login()
    assert len(broker.codes) == 3
    assert told == ["the broker's answer lacks what it must have"] * 2


async def test_tokens_that_are_refused_at_once_are_made_again_less_and_less_often(opened: Callable[..., Any]) -> None:
    session, broker, _ = opened()
    tokens = await session.login()
    while broker.now_s < START_MS / 1000 + 4 * 3600:  # the broker refuses whatever it has given, for hours
        tokens = await session.renew(tokens)
        broker.now_s += 20
    made_s = [at_s for at_s, _ in broker.codes]
    waits = [later - earlier for earlier, later in pairwise(made_s)]
    assert waits[0] >= 30
    assert waits[:3] == sorted(waits[:3])
    assert min(waits[5:]) >= 240
    assert len(waits) > 4 * 3600 / 400


async def test_tokens_that_have_lasted_are_made_again_at_once(opened: Callable[..., Any]) -> None:
    session, broker, _ = opened()
    tokens = await session.login()
    for _ in range(5):
        broker.now_s += 3600
        again = await session.renew(tokens)
        assert again is not tokens
        assert await session.renew(tokens) is again, "one logs in for all"
        assert await session.renew(again) is again, "not again at once"
        broker.now_s += 45
        tokens = await session.renew(again)
        assert tokens is not again


async def test_a_logout_that_does_not_work_is_no_error(opened: Callable[..., Any]) -> None:
    session, broker, _ = opened()
    await session.login()
    await session.logout()
    assert session.tokens is None
    assert broker.logouts == 1


def test_credentials_that_are_missing_are_named(opened: Callable[..., Any]) -> None:
    with pytest.raises(CredentialsError, match="no login without ANGEL_PASSWORD, ANGEL_TOTP_SECRET: set them"):
        opened(ANGEL_PASSWORD="", ANGEL_TOTP_SECRET="")


def test_a_totp_secret_that_is_none_is_refused_before_anything_is_tried(opened: Callable[..., Any]) -> None:
    with pytest.raises(CredentialsError, match="ANGEL_TOTP_SECRET is wrong: it must be base32"):
        opened(ANGEL_TOTP_SECRET="ABCD EFGH 1111 JKLM")


async def test_no_secret_is_shown(opened: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    session, _, told = opened(UnreachableError("away"))
    tokens = await session.login()
    shown = caplog.text + str(told) + repr(tokens) + repr(account()) + repr(Settings.from_env(ENV))
    assert not any(secret in shown for secret in ("geheim", SECRET, "j1", "Bearer", "D12345"))
