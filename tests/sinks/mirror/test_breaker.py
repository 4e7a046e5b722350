"""The circuit breaker against a clock that stands still until told."""

import pytest

from topology.sinks.mirror.breaker import Breaker, Circuit


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tripped(clock: Clock) -> Breaker:
    breaker = Breaker(clock, failures=3, rest_s=1.0)
    for _ in range(3):
        breaker.failed()
    return breaker


def test_it_stays_closed_until_enough_failures_in_a_row(clock: Clock) -> None:
    breaker = Breaker(clock, failures=3, rest_s=1.0)
    for call in [breaker.failed, breaker.failed, breaker.succeeded, breaker.failed, breaker.failed]:
        call()

    assert breaker.allows()
    assert breaker.circuit is Circuit.CLOSED
    assert breaker.trips == 0


def test_it_opens_and_lets_nothing_through_until_it_has_rested(tripped: Breaker, clock: Clock) -> None:
    clock.now_s += 0.75

    assert tripped.circuit is Circuit.OPEN
    assert not tripped.allows()
    assert tripped.retry_after_s() == 0.25


def test_after_the_rest_a_single_trial_is_let_through(tripped: Breaker, clock: Clock) -> None:
    clock.now_s += 1.0

    assert [tripped.allows(), tripped.allows()] == [True, False]
    assert tripped.circuit is Circuit.HALF_OPEN
    assert tripped.retry_after_s() == 1.0


def test_a_trial_that_works_closes_it(tripped: Breaker, clock: Clock) -> None:
    clock.now_s += 1.0
    tripped.allows()
    tripped.succeeded()

    assert tripped.circuit is Circuit.CLOSED
    assert [tripped.allows(), tripped.allows()] == [True, True]


def test_a_trial_that_fails_opens_it_for_another_rest_and_is_not_another_trip(tripped: Breaker, clock: Clock) -> None:
    clock.now_s += 1.0
    tripped.allows()
    tripped.failed()
    clock.now_s += 0.5

    assert not tripped.allows()
    assert tripped.trips == 1


def test_it_counts_each_time_it_opens_from_closed(tripped: Breaker, clock: Clock) -> None:
    clock.now_s += 1.0
    tripped.allows()
    tripped.succeeded()
    for _ in range(3):
        tripped.failed()

    assert tripped.trips == 2
