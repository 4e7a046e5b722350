"""The broker's answers, in both of its dialects and in none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.angel.answers import (
    LOGIN,
    BrokerError,
    LoginRefusedError,
    RateLimitedError,
    RefusedError,
    TokenDeadError,
    UnreachableError,
    checked,
)

PROFILE = "api.user.profile"


def service(message: str, code: str) -> dict[str, Any]:
    return {"status": False, "message": message, "errorcode": code, "data": None}


def gateway(message: str, code: str) -> dict[str, Any]:
    return {"success": False, "message": message, "errorCode": code, "data": ""}


@pytest.mark.parametrize("answer", [{"status": True, "data": {"a": 1}}, {"success": True, "data": {"a": 1}}])
def test_a_success_is_returned_as_it_is(answer: dict[str, Any]) -> None:
    assert checked(answer, route=PROFILE, secrets=[]) is answer


@pytest.mark.parametrize(
    ("answer", "route", "kind"),
    [
        (service("Invalid totp", "AB1050"), LOGIN, LoginRefusedError),
        (gateway("Invalid API Key", "AG8004"), LOGIN, LoginRefusedError),
        (gateway("Invalid Token", "AG8001"), PROFILE, TokenDeadError),
        (service("Session Expired", "AB1010"), PROFILE, TokenDeadError),
        (service("Too many requests", "AB1021"), PROFILE, RateLimitedError),
        (service("Too many requests", "AB1021"), LOGIN, RateLimitedError),
        ({"status": False, "message": "… exceeding access rate"}, LOGIN, RateLimitedError),
        (service("Something went wrong", "AB1004"), LOGIN, UnreachableError),
        (
            {"status": False, "message": "Couldn't parse the JSON response received from the server"},
            LOGIN,
            UnreachableError,
        ),
        (service("Symbol not found", "AB1009"), PROFILE, RefusedError),
        (gateway("Invalid Token", "AG8001"), LOGIN, TokenDeadError),
        ({"timestamp": "now", "status": 500, "error": "Internal Server Error"}, LOGIN, UnreachableError),
        ({"status": False}, PROFILE, RefusedError),
        (None, LOGIN, UnreachableError),
        ([], LOGIN, UnreachableError),
    ],
)
def test_any_other_answer_is_an_error_that_says_what_it_means(
    answer: object, route: str, kind: type[BrokerError]
) -> None:
    with pytest.raises(BrokerError) as raised:
        checked(answer, route=route, secrets=[])
    assert type(raised.value) is kind


def test_the_message_names_the_code_and_no_secret_on_one_line() -> None:
    with pytest.raises(RefusedError) as raised:
        checked(service("no\nkey geheim here", "AB1"), route=PROFILE, secrets=["geheim", ""])
    assert str(raised.value) == "no key *** here (AB1)"


answers = st.recursive(
    st.none() | st.booleans() | st.text(max_size=20) | st.integers(),
    lambda inner: st.dictionaries(
        st.sampled_from(["status", "success", "message", "errorcode", "errorCode", "x"]), inner
    ),
)


@given(answers, st.sampled_from([LOGIN, PROFILE]))
def test_whatever_the_broker_answers_is_a_success_or_a_broker_error(answer: Any, route: str) -> None:
    said = ""
    try:
        assert checked(answer, route=route, secrets=["x"])
    except BrokerError as error:
        said = str(error)
    assert len(said.splitlines()) <= 1
