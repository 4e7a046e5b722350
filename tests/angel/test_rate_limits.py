"""Never more calls than allowed in any window, whenever they are wanted, and everyone gets a turn."""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_left
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.angel.rate_limits import (
    HOUR,
    LIMITS,
    MARGIN_S,
    REST_S,
    EndpointLimit,
    RateLimits,
    Window,
    is_refusal,
)

windows = st.lists(
    st.builds(Window, st.integers(1, 20), st.sampled_from([0.5, 1.0, 7.3, 60.0])), min_size=1, max_size=3
)
# How long after the one before each call is wanted, in seconds.
gaps = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.2), st.floats(0, 100)), min_size=1, max_size=120)
# How long after a rest is over the next refusal comes.
answers = st.lists(st.floats(0, 200), max_size=40)


class Clock:
    """A clock that jumps as far as somebody sleeps."""

    def __init__(self) -> None:
        self.now = 500.0

    def now_s(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def most_in_a_window(times: list[float], seconds: float) -> int:
    """Count the calls in the fullest interval ``[t, t + seconds)``: it can be moved until it begins with a call."""
    return max((bisect_left(times, at_s + seconds) - number for number, at_s in enumerate(times)), default=0)


def made(limit: EndpointLimit, wanted_gaps: list[float]) -> list[float]:
    """When calls are made that are wanted so far apart, each as soon as it may be."""
    now_s, times = 0.0, []
    for gap_s in wanted_gaps:
        now_s += gap_s
        while (wait_s := limit.wait_s(now_s)) > 0:
            now_s += max(wait_s, 1e-6)
        limit.called(now_s)
        times.append(now_s)
    return times


@given(windows, gaps)
def test_there_are_never_more_calls_than_allowed_in_any_window(limits: list[Window], wanted: list[float]) -> None:
    times = made(EndpointLimit(limits), wanted)
    for calls, seconds in limits:
        assert most_in_a_window(times, seconds) <= calls


@pytest.mark.parametrize("endpoint", LIMITS)
def test_the_limits_of_the_broker_hold_when_everything_is_wanted_at_once(endpoint: str) -> None:
    times = made(EndpointLimit(LIMITS[endpoint]), [0.0] * 6_000)
    for calls, seconds in LIMITS[endpoint]:
        assert most_in_a_window(times, seconds) <= calls


@given(windows, gaps, st.floats(0, 1e6))
def test_no_wait_is_longer_than_the_longest_window(limits: list[Window], wanted: list[float], later_s: float) -> None:
    limit = EndpointLimit(limits)
    now_s = made(limit, wanted)[-1] + later_s
    longest_s = max(seconds for _, seconds in limits) + MARGIN_S
    wait_s = limit.wait_s(now_s)
    assert wait_s <= longest_s + 1e-6
    assert limit.wait_s(now_s + wait_s) <= 1e-6  # and who has waited may call
    assert limit.wait_s(now_s + longest_s) <= 1e-6


@given(windows, gaps)
def test_a_call_waits_only_where_a_window_would_be_too_full(limits: list[Window], wanted: list[float]) -> None:
    limit = EndpointLimit(limits)
    times = made(limit, wanted)
    if limit.wait_s(times[-1]) > 1e-6:
        ages = [times[-1] - at_s for at_s in times]
        assert any(sum(age_s < seconds + MARGIN_S for age_s in ages) >= calls for calls, seconds in limits)


@given(answers)
def test_a_rest_grows_with_refusals_in_a_row_and_never_beyond_a_minute(later: list[float]) -> None:
    limit, now_s, before_s = EndpointLimit([Window(1, 1.0)]), 0.0, 0.0
    for number, later_s in enumerate(later):
        now_s += later_s
        rest_s = limit.refused(now_s)
        expected_s = min(2 * before_s, REST_S[1]) if number and later_s < REST_S[1] - 1e-6 else REST_S[0]
        if not number or abs(later_s - REST_S[1]) > 1e-6:
            assert rest_s == pytest.approx(expected_s)
        assert limit.wait_s(now_s) == pytest.approx(rest_s)
        now_s += rest_s
        assert limit.wait_s(now_s) <= 1e-6
        before_s = rest_s
        now_s += 1e-6


def test_refusals_of_calls_that_were_under_way_count_as_one() -> None:
    limit = EndpointLimit([Window(3, 1.0)])
    assert [limit.refused(now_s) for now_s in (0.0, 0.5, 1.0)] == [2.0, 1.5, 1.0]
    assert limit.refused(2.5) == 4.0


async def test_who_came_first_goes_first_and_all_get_a_turn() -> None:
    clock = Clock()
    limits = RateLimits(clock.now_s, sleep=clock.sleep)
    turns: list[tuple[int, float]] = []

    async def call(number: int) -> None:
        await limits.turn("getCandleData")
        turns.append((number, clock.now))

    await asyncio.gather(*(call(number) for number in range(400)))
    assert [number for number, _ in turns] == list(range(400))
    times = [at_s for _, at_s in turns]
    assert times[:3] == [500.0] * 3
    for calls, seconds in LIMITS["getCandleData"]:
        assert most_in_a_window(times, seconds) <= calls


async def test_one_that_gives_up_waiting_holds_up_nobody() -> None:
    clock = Clock()
    never = asyncio.Event()

    async def sleep(_: float) -> None:
        await never.wait()

    limits = RateLimits(clock.now_s, sleep=sleep)
    await limits.turn("login")
    gone = asyncio.create_task(limits.turn("login"))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(limits.turn("login"))
    await asyncio.sleep(0)
    gone.cancel()
    clock.now += 10.0
    async with asyncio.timeout(10):
        await waiting


async def test_an_endpoint_that_refuses_rests_and_the_others_go_on() -> None:
    clock = Clock()
    limits = RateLimits(clock.now_s, sleep=clock.sleep)
    await limits.turn("quote")
    assert limits.refused("quote") == REST_S[0]
    await limits.turn("getCandleData")
    assert clock.now == 500.0
    await limits.turn("quote")
    assert clock.now == 502.0


async def test_an_endpoint_without_a_limit_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        await RateLimits(Clock().now_s).turn("quotes")


async def test_an_hour_of_history_stays_within_the_hour() -> None:
    clock = Clock()
    limits = RateLimits(clock.now_s, sleep=clock.sleep)
    times = []
    for _ in range(5_100):
        await limits.turn("getCandleData")
        times.append(clock.now)
    assert most_in_a_window(times, HOUR) == 5_000
    assert times == sorted(times)
    assert all(after - before < HOUR for before, after in itertools.pairwise(times))


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ({"text": "Access denied because of exceeding access rate", "status": 403}, True),
        ({"text": "Access Denied Because Of Exceeding Access Rate"}, True),
        ({"text": "", "status": 429}, True),
        ({"text": "Too many requests", "code": "AB1021"}, True),
        ({"text": "Forbidden", "status": 403}, False),
        ({"text": "Invalid Token", "code": "AG8001"}, False),
    ],
)
def test_a_refusal_is_known_by_body_code_or_status(answer: dict[str, Any], refused: bool) -> None:
    assert is_refusal(**answer) == refused
