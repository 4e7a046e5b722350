"""The waits grow, stay within bounds, and start anew after success."""

from __future__ import annotations

import doctest
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology import backoff
from topology.backoff import JITTER, Backoff

SPAN_S = 5.0, 60.0

spans = pytest.mark.parametrize("span_s", [SPAN_S, (0.1, 2.5), (30.0, 300.0)])


@spans
@given(seed=st.integers(), tries=st.integers(1, 2_000))
def test_every_wait_is_between_the_shortest_and_the_longest(span_s: tuple[float, float], seed: int, tries: int) -> None:
    shortest_s, longest_s = span_s
    waits = Backoff(span_s, Random(seed))
    assert all(shortest_s <= waits.next_s() <= longest_s for _ in range(tries))


@spans
@given(seed=st.integers())
def test_each_wait_is_longer_than_the_one_before_until_the_longest_is_near(
    span_s: tuple[float, float], seed: int
) -> None:
    waits = Backoff(span_s, Random(seed))
    before_s = waits.next_s()
    while (wait_s := waits.next_s()) < span_s[1] / (1 + JITTER):
        assert wait_s > before_s
        before_s = wait_s


@spans
@given(seed=st.integers(), tries=st.integers(0, 20))
def test_after_success_the_next_wait_is_a_short_one(span_s: tuple[float, float], seed: int, tries: int) -> None:
    waits = Backoff(span_s, Random(seed))
    for _ in range(tries):
        waits.next_s()
    waits.reset()
    assert waits.next_s() <= span_s[0] * (1 + JITTER)


def test_two_that_failed_together_do_not_come_back_together() -> None:
    first, second = Backoff(SPAN_S, Random(1)), Backoff(SPAN_S, Random(2))
    assert all(first.next_s() != second.next_s() for _ in range(20))


def test_the_same_seed_gives_the_same_waits() -> None:
    first, second = Backoff(SPAN_S, Random(1)), Backoff(SPAN_S, Random(1))
    assert [first.next_s() for _ in range(20)] == [second.next_s() for _ in range(20)]


def test_the_example_holds() -> None:
    assert doctest.testmod(backoff).failed == 0
