from __future__ import annotations

from dataclasses import replace

import pyotp
import pytest

from tests.support.simulator_client import NOBODY, OPEN_MS, at
from topology.settings import SettingsError
from topology.simulator.session import (
    DEMONSTRATION,
    IssuedTokens,
    Refusal,
    Sessions,
    SimulatedLimits,
    account_or_demonstration,
)

ACCOUNT = account_or_demonstration(NOBODY)
CODE, PASSWORD = ACCOUNT.client_code, ACCOUNT.password
MIDNIGHT_MS = at("2022-11-23 00:00")


def code(now_ms: int) -> str:
    return pyotp.TOTP(ACCOUNT.totp_secret).at(now_ms // 1000)


def logged_in(sessions: Sessions, now_ms: int = OPEN_MS) -> IssuedTokens:
    tokens = sessions.login(CODE, PASSWORD, code(now_ms), now_ms=now_ms)
    assert isinstance(tokens, IssuedTokens)
    return tokens


def test_what_an_account_lacks_is_the_demonstrations() -> None:
    own = account_or_demonstration(replace(NOBODY, password="9876"))
    assert own.password == "9876"
    assert own.client_code == DEMONSTRATION["client_code"]


def test_a_totp_secret_that_is_none_is_named_but_not_shown() -> None:
    with pytest.raises(SettingsError, match="ANGEL_TOTP_SECRET") as error:
        account_or_demonstration(replace(NOBODY, totp_secret="not-a-secret-1890"))
    assert "1890" not in str(error.value)


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (("X1", PASSWORD, code(OPEN_MS)), "AB1007"),
        ((CODE, "0000", code(OPEN_MS)), "AB1007"),
        ((CODE, PASSWORD, code(OPEN_MS + 600_000)), "AB1050"),
        ((CODE, PASSWORD, ""), "AB1050"),
    ],
)
def test_a_wrong_login_is_refused(said: tuple[str, str, str], refused: str) -> None:
    answer = Sessions(ACCOUNT).login(*said, now_ms=OPEN_MS)
    assert isinstance(answer, Refusal)
    assert answer.code == refused


def test_tokens_live_until_midnight() -> None:
    sessions = Sessions(ACCOUNT)
    tokens = logged_in(sessions)
    headers = (tokens.jwt, ACCOUNT.api_key, CODE, tokens.feed)
    for now_ms, alive in ((MIDNIGHT_MS - 1, True), (MIDNIGHT_MS, False)):
        assert (sessions.refused(f"Bearer {tokens.jwt}", now_ms=now_ms) is None) == alive
        assert sessions.may_stream(*headers, now_ms=now_ms) == alive
        assert isinstance(sessions.renew(tokens.refresh, now_ms=now_ms), IssuedTokens) == alive


@pytest.mark.parametrize("wrong", range(4))
def test_a_socket_needs_all_four_headers(wrong: int) -> None:
    sessions = Sessions(ACCOUNT)
    tokens = logged_in(sessions)
    headers = ["Bearer " + tokens.jwt, ACCOUNT.api_key, CODE, tokens.feed]
    assert sessions.may_stream(*headers, now_ms=OPEN_MS)
    headers[wrong] = "other"
    assert not sessions.may_stream(*headers, now_ms=OPEN_MS)


def test_why_a_token_is_refused() -> None:
    sessions = Sessions(ACCOUNT)
    tokens = logged_in(sessions)
    sessions.expire(OPEN_MS, refresh=False)
    for header, refused in (("", "AG8003"), ("Bearer other", "AG8001"), (f"Bearer {tokens.jwt}", "AG8002")):
        answer = sessions.refused(header, now_ms=OPEN_MS)
        assert answer is not None
        assert answer.code == refused
    assert isinstance(sessions.renew(tokens.refresh, now_ms=OPEN_MS), IssuedTokens)
    sessions.expire(OPEN_MS, refresh=True)
    assert sessions.renew(tokens.refresh, now_ms=OPEN_MS) == Refusal("AB8051", "Refresh Token Expired")


def test_a_logout_ends_everything() -> None:
    sessions = Sessions(ACCOUNT)
    tokens = logged_in(sessions)
    sessions.logout()
    assert sessions.refused(tokens.jwt, now_ms=OPEN_MS) is not None
    assert sessions.renew(tokens.refresh, now_ms=OPEN_MS) == Refusal("AB8050", "Invalid Refresh Token")


def test_calls_within_a_second_are_counted() -> None:
    limits = SimulatedLimits()
    assert [limits.allows("getCandleData", 5_000 + after) for after in (0, 400, 800, 999, 1_000, 1_399, 1_400)] == [
        True, True, True, False, True, False, True,
    ]  # fmt: skip
    assert limits.allows("loginByPassword", 5_000)


def test_calls_within_a_minute_are_counted() -> None:
    limits = SimulatedLimits()
    allowed = [limits.allows("getLtpData", number * 110) for number in range(560)]
    assert allowed == [number < 500 or number * 110 >= 60_000 for number in range(560)]
