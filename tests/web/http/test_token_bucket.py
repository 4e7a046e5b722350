"""The laws of a bucket of requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from web.http.token_bucket import TokenBucket

PAUSES_S = st.lists(st.sampled_from([0.0, 0.05, 0.25, 1.0, 8.0]), max_size=60)


class Seconds:
    """A clock that a test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def taken(pauses_s: list[float], *, debt: float) -> tuple[list[float], TokenBucket]:
    """Return when a request was let through, one after each pause."""
    clock, times_s = Seconds(), list[float]()
    bucket = TokenBucket(clock, burst=5, rate_per_s=2, debt=debt)
    for pause_s in pauses_s:
        clock.now_s += pause_s
        if bucket.take():
            times_s.append(clock.now_s)
    return times_s, bucket


@given(PAUSES_S, st.sampled_from([0.0, 3.0]))
def test_in_no_interval_more_than_burst_and_rate_are_let_through(pauses_s: list[float], debt: float) -> None:
    times_s, _ = taken(pauses_s, debt=debt)
    for first, start_s in enumerate(times_s):
        for last in range(first, len(times_s)):
            assert last - first + 1 <= 5 + 2 * (times_s[last] - start_s) + 1e-9


@given(st.integers(0, 30))
def test_who_goes_on_although_it_is_refused_gets_into_debt_so_far(count: int) -> None:
    times_s, bucket = taken([0.0] * count, debt=10)
    assert len(times_s) == min(count, 5)
    assert bucket.overdrawn == (count >= 15)


@given(st.integers(5, 30), st.integers(0, 3))
def test_a_debt_is_paid_before_the_next_request(count: int, debt: int) -> None:
    due_s = (min(count - 5, debt) + 1) / 2
    assert len(taken([0.0] * count + [due_s], debt=debt)[0]) == 6
    assert len(taken([0.0] * count + [due_s - 0.25], debt=debt)[0]) == 5
