"""A doubt lasts from the last good word to the next one, and is told once when it begins and once when it is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from topology.feeds.angel.suspect_spans import SuspectSpans
from topology.market import Gap


def test_a_doubt_is_told_when_it_begins_and_when_it_is_over() -> None:
    doubts = SuspectSpans()
    doubts.begin(["NSE:2", "NSE:1"], "truncated", 100)
    doubts.begin(["NSE:1"], "clamped", 150)
    assert doubts.begun() == Gap(["NSE:1", "NSE:2"], 100, None, broken=False)
    assert doubts.begun() is None
    assert doubts.settled() is None
    doubts.settle("NSE:1", 200)
    assert doubts.settled() == (Gap(["NSE:1"], 100, 201, broken=False), "truncated")
    assert doubts.settled() is None


def test_one_that_is_over_before_it_is_told_is_told_as_over_only() -> None:
    doubts = SuspectSpans()
    doubts.begin(["NSE:1"], "truncated", 100)
    doubts.settle("NSE:1", 120)
    assert doubts.begun() is None
    assert doubts.settled() == (Gap(["NSE:1"], 100, 121, broken=False), "truncated")


def test_an_instrument_that_is_back_at_once_was_never_missed_and_another_until_it_is_back() -> None:
    doubts = SuspectSpans()
    doubts.miss(["NSE:1", "NSE:2"], 100)
    doubts.settle("NSE:1", 100)
    assert doubts.begun() is None
    assert doubts.settled() is None
    doubts.settle("NSE:2", 130)
    assert doubts.settled() == (Gap(["NSE:2"], 100, 131, broken=False), "resuming")


def test_a_doubt_that_a_gap_cuts_short_is_told_up_to_where_the_gap_ends() -> None:
    doubts = SuspectSpans()
    doubts.begin(["NSE:1"], "truncated", 100)
    assert doubts.begun() is not None
    doubts.miss(["NSE:1", "NSE:2"], 500)
    assert doubts.settled() == (Gap(["NSE:1"], 100, 500, broken=False), "truncated")
    doubts.settle("NSE:1", 500)
    doubts.settle("NSE:2", 500)
    assert doubts.settled() is None


def test_a_doubt_reaches_back_to_the_earliest_moment_at_which_something_was_wrong() -> None:
    doubts = SuspectSpans()
    doubts.begin(["NSE:1"], "truncated", 100)
    doubts.begin(["NSE:1"], "reordered", 90)
    doubts.settle("NSE:1", 120)
    assert doubts.settled() == (Gap(["NSE:1"], 90, 121, broken=False), "reordered")


names = st.sampled_from(["NSE:1", "NSE:2", "NSE:3"])
steps = st.lists(st.tuples(st.sampled_from(["begin", "miss", "settle", "tell"]), names), max_size=40)


@given(steps)
def test_whatever_was_told_to_begin_is_told_to_be_over_once_all_is_right(steps: list[tuple[str, str]]) -> None:
    doubts, lasting = SuspectSpans(), set[str]()

    def tell() -> None:
        if (over := doubts.settled()) is not None:
            lasting.difference_update(over.gap.instruments)
        if (begun := doubts.begun()) is not None:
            lasting.update(begun.instruments)

    for at_ms, (what, name) in enumerate(steps):
        if what == "begin":
            doubts.begin([name], "garbage", at_ms)
        elif what == "miss":
            doubts.miss([name], at_ms)
        elif what == "settle":
            doubts.settle(name, at_ms)
        else:
            tell()
    for name in ("NSE:1", "NSE:2", "NSE:3"):
        doubts.settle(name, 1000)
    tell()
    assert lasting == set()
