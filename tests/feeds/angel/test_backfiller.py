"""The broker's history on its way into the log: what is asked for, when, and what becomes of the answers."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.brute_force import indian_ms
from tests.support.backfill_rig import MINUTE_MS, Asked, Desk, minutes, whole
from tests.support.played_day import DAY_MS
from topology.angel.answers import BrokerError, RateLimitedError, RefusedError, TokenDeadError, UnreachableError
from topology.feeds.angel.backfiller import AFTER_MS

DAY = date(2022, 11, 22)  # a Tuesday
OPEN_MS = indian_ms(DAY, "09:15")
CLOSE_MS = indian_ms(DAY, "15:30")
TIMEFRAMES = {60: ["SMA:200", "EMA:9"], 300: ["SMA:20"], 7: ["SMA:20"]}
SBIN, TCS, NIFTY = "NSE:3045", "NSE:11536", "NSE:99926000"


def at(clock: str, day: int = 22) -> int:
    return indian_ms(date(2022, 11, day), clock)


def desk(folder: Path, at_ms: int, *, instruments: tuple[str, ...] = (SBIN,), **about: object) -> Desk:
    """A backfiller that has all that indicators need, unless ``warm`` is set."""
    about = {"timeframes": {60: [], 300: []}, "warm": False, **about}
    made = Desk(folder, at_ms=at_ms, instruments=instruments, **about)  # type: ignore[arg-type]
    made.start()
    return made


def delivered(made: Desk, timeframe_s: int) -> list[tuple[int, int]]:
    """When which candles were appended: the time, and the start of each."""
    return [
        (at_ms, candle.start_ms)
        for at_ms, history in made.appended if history.timeframe_s == timeframe_s
        for candle in history.candles
    ]  # fmt: skip


# What is asked for


async def test_each_timeframe_of_whole_minutes_gets_250_candles_or_three_times_the_longest_period(
    tmp_path: Path,
) -> None:
    made = desk(tmp_path, at("08:00"), timeframes=TIMEFRAMES, warm=True)
    assert made.backfiller.counts == {60: 600, 300: 250}
    await made.settle()
    (one, five) = sorted((history for _, history in made.appended), key=lambda history: history.timeframe_s)
    assert (one.timeframe_s, one.revision, one.reset, five.timeframe_s) == (60, 0, False, 300)
    assert len(one.candles) == 750, "whole sessions of 375"
    assert len(five.candles) == 300
    assert all(history.candles[-1].start_ms + history.timeframe_s * 1000 == at("15:30", 21) for history in (one, five))
    assert len(made.asked) == 1, "one call brings both"
    assert made.queue.next_ms() is None


async def test_a_new_timeframe_or_a_longer_period_asks_for_that_alone(tmp_path: Path) -> None:
    made = desk(tmp_path, at("08:00"), timeframes={60: ["SMA:20"], 300: ["SMA:20"]}, warm=True)
    await made.settle()
    for timeframes, wanted in (
        ({60: ["SMA:20", "EMA:9"], 300: ["SMA:50"]}, []),
        ({60: ["SMA:200"], 300: ["SMA:20"]}, [60]),
        ({60: ["SMA:200"], 300: ["SMA:20"], 900: ["SMA:20"], 90: ["SMA:20"]}, [900]),
    ):
        made.appended.clear()
        made.timeframes = timeframes
        made.backfiller.configure(made.configuration())
        await made.go_on(2)
        assert [history.timeframe_s for _, history in made.appended] == wanted
    made.start()
    await made.go_on(2)
    assert [history.timeframe_s for _, history in made.appended] == [900], "nothing after a restart"


async def test_an_instrument_that_comes_back_after_it_was_not_subscribed_is_warmed_again(tmp_path: Path) -> None:
    made = desk(tmp_path, at("08:00"), instruments=(SBIN, TCS), warm=True)
    await made.settle()
    for instruments in ([SBIN], [SBIN, TCS]):
        made.appended.clear()
        made.instruments = instruments
        made.start()
        await made.go_on(5)
    assert {history.instrument for _, history in made.appended} == {TCS}


# Gaps


async def test_a_gap_is_repaired_when_the_last_candle_that_it_touches_is_over(tmp_path: Path) -> None:
    made = desk(tmp_path, at("10:01:20"))
    made.gap(at("10:00:50"))
    made.gap(at("10:00:50"), at("10:01:20"))
    await made.go_to(at("10:06"))
    after_ms = AFTER_MS + made.lateness_ms
    assert delivered(made, 60) == [(at("10:02") + after_ms, at("10:00")), (at("10:02") + after_ms, at("10:01"))]
    assert delivered(made, 300) == [(at("10:05") + after_ms, at("10:00"))]
    assert made.appended[-1].history.candles == [whole(SBIN, 300, at("10:00"), CLOSE_MS)]
    assert {history.revision for _, history in made.appended} == {1}
    assert made.queue.next_ms() is None


async def test_where_late_ticks_are_waited_for_longer_a_repair_comes_later(tmp_path: Path) -> None:
    made = desk(tmp_path, at("10:01:20"), lateness_ms=60_000)
    made.gap(at("10:01:10"), at("10:01:20"))
    await made.go_to(at("10:10"))
    assert delivered(made, 60) == [(at("10:02") + AFTER_MS + 60_000, at("10:01"))]


@pytest.mark.parametrize(
    ("gap", "repaired"),
    [
        ((at("15:28:30", 21), at("09:14:05")), [*range(at("15:28", 21), at("15:30", 21), MINUTE_MS)]),
        ((at("15:29:30", 18), at("09:15:30", 21)), [at("15:29", 18), at("09:15", 21)]),
        (
            (at("09:00", 7), at("09:00", 10)),
            [ms for day in (7, 9) for ms in range(at("09:15", day), at("15:30", day), MINUTE_MS)],
        ),
        ((at("15:30", 18), at("09:15", 21)), []),
        ((at("10:00", 8), at("11:00", 8)), []),
    ],
    ids=["night", "weekend", "holiday between", "closed", "holiday"],
)
async def test_only_what_was_traded_in_a_gap_is_asked_for(
    tmp_path: Path, gap: tuple[int, int], repaired: list[int]
) -> None:
    made = desk(tmp_path, gap[1], timeframes={60: []})
    made.gap(*gap)
    await made.go_on(60)
    assert made.candles(60) == repaired
    assert bool(made.asked) == bool(repaired)
    assert made.queue.next_ms() is None


async def test_the_sessions_of_an_instrument_class_bound_what_is_repaired(tmp_path: Path) -> None:
    derivative = "NFO:43125"
    from_ms, to_ms, *closes_ms = (
        indian_ms(date(2026, 8, 5), clock) for clock in ("15:27:30", "15:50", "15:30", "15:30", "15:40")
    )
    made = desk(tmp_path, to_ms, instruments=(NIFTY, SBIN, derivative))
    made.gap(from_ms, to_ms)
    await made.go_on(60)
    ends = {
        (history.instrument, history.timeframe_s): history.candles[-1].start_ms + history.timeframe_s * 1000
        for _, history in made.appended
    }  # fmt: skip
    closes = dict(zip((NIFTY, SBIN, derivative), closes_ms, strict=True))
    assert ends == {(name, each): close_ms for name, close_ms in closes.items() for each in (60, 300)}


async def test_doubts_every_few_seconds_starve_no_repair_and_ask_no_more_than_once_a_minute(tmp_path: Path) -> None:
    made = desk(tmp_path, at("10:00"))
    for _ in range(30 * 12):
        made.gap(made.clock.ms - 3_000)
        made.gap(made.clock.ms - 3_000, made.clock.ms)
        await made.go_on(5)
    asked = len(made.asked)
    await made.go_on(330)
    assert sorted(set(made.candles(60))) == list(range(at("09:59"), at("10:30"), MINUTE_MS))
    assert sorted(set(made.candles(300))) == list(range(at("09:55"), at("10:30"), 5 * MINUTE_MS))
    assert max(at_ms - start_ms for at_ms, start_ms in delivered(made, 60)) < 2 * MINUTE_MS
    assert 30 <= asked <= 45
    for _, history in made.appended:
        assert history.candles == [whole(SBIN, history.timeframe_s, one.start_ms, CLOSE_MS) for one in history.candles]


# Answers


async def test_an_empty_answer_is_asked_for_again_and_then_given_up_for_the_day(tmp_path: Path) -> None:
    made = desk(tmp_path, at("10:00:30"), timeframes={60: []})
    made.answer = lambda asked: None
    made.gap(at("10:00:10"), at("10:00:30"))
    await made.go_to(at("10:30"))
    apart_s = [(later.at_ms - earlier.at_ms) // 1000 for earlier, later in pairwise(made.asked)]
    assert apart_s == [10, 60, 300]
    assert made.events == [("history", f"nothing there: {SBIN}")]
    made.answer = lambda asked: minutes(asked, known_ms=made.clock.ms)
    await made.go_to(at("09:12", 23), step_s=60)
    assert made.candles(60) == [at("10:00")]
    assert made.events[1:] == [("history", f"1 candles corrected: {SBIN}")]


async def test_an_answer_without_its_last_minutes_is_asked_for_again_and_taken_in_the_end(tmp_path: Path) -> None:
    made = desk(tmp_path, at("10:05:30"), timeframes={60: []})
    made.answer = lambda asked: minutes(asked, known_ms=at("10:05"))
    made.gap(at("10:03:10"), at("10:05:30"))
    await made.go_to(at("10:12"))
    assert made.appended == []
    await made.go_to(at("10:13"))
    assert len(made.asked) == 4
    assert made.candles(60) == [at("10:03"), at("10:04")]


async def test_an_answer_whose_last_minutes_come_later_is_used_as_soon_as_they_are_there(tmp_path: Path) -> None:
    made = desk(tmp_path, at("10:05:30"))
    made.answer = lambda asked: minutes(
        asked, known_ms=at("10:05") if made.clock.ms < at("10:06:15") else made.clock.ms
    )
    made.gap(at("10:03:10"), at("10:05:30"))
    await made.go_to(at("10:12"))
    after_ms = AFTER_MS + made.lateness_ms
    assert [at_ms for at_ms, history in made.appended if history.timeframe_s == 60] == [at("10:06") + after_ms + 10_000]


async def test_wide_candles_that_reach_the_end_lack_nothing(tmp_path: Path) -> None:
    made = desk(tmp_path, at("15:35"), timeframes={300: []})
    starts_ms = range(OPEN_MS, CLOSE_MS, 5 * MINUTE_MS)
    made.answer = lambda asked: [[start_ms / 1000, 1, 2, 1, 1, 5] for start_ms in starts_ms]
    made.gap(at("15:35") - 40 * DAY_MS, at("15:35"))
    await made.go_on(20)
    assert [asked.interval for asked in made.asked] == ["FIVE_MINUTE"]
    assert made.candles(300) == list(starts_ms)


async def test_a_symbol_that_is_refused_does_not_stop_the_others(tmp_path: Path) -> None:
    made = desk(tmp_path, at("08:00"), instruments=(SBIN, TCS, NIFTY), timeframes={60: []}, warm=True)

    def answer(asked: Asked) -> object:
        if asked.instrument == TCS:
            raise RefusedError("Symbol not found", "AB1018")
        return minutes(asked, known_ms=made.clock.ms)

    made.answer = answer
    await made.go_on(600)
    assert {history.instrument for _, history in made.appended} == {SBIN, NIFTY}
    assert Counter(asked.instrument for asked in made.asked) == {SBIN: 1, NIFTY: 1, TCS: 4}
    assert ("history", f"nothing there: {TCS}") in made.events


@pytest.mark.parametrize(
    "error",
    [
        UnreachableError("the broker can't be reached (ConnectTimeout)"),
        RateLimitedError("called too often", "AB1021"),
        RateLimitedError("called too often"),
        TokenDeadError("Invalid Token", "AG8001"),
    ],
    ids=["unreachable", "AB1021", "403", "session"],
)
async def test_while_the_broker_does_not_answer_nothing_is_given_up(tmp_path: Path, error: BrokerError) -> None:
    made = desk(tmp_path, at("10:00:30"), instruments=(SBIN, TCS), timeframes={60: []})

    def answer(asked: Asked) -> object:
        if made.clock.ms < at("11:00"):
            raise error
        return minutes(asked, known_ms=made.clock.ms if made.clock.ms > at("11:00:10") else 0)

    made.answer = answer
    made.gap(at("10:00:10"), at("10:00:30"))
    await made.go_to(at("11:00:30"))
    assert {(history.instrument, one.start_ms) for _, history in made.appended for one in history.candles} == {
        (SBIN, at("10:00")), (TCS, at("10:00"))
    }  # fmt: skip
    assert made.events == [("history", f"2 candles corrected: {TCS}, {SBIN}")]
    assert len(made.asked) < 400, "and it is not pressed"


async def test_a_question_that_the_broker_cannot_answer_is_not_asked_for_ever(tmp_path: Path) -> None:
    made = desk(tmp_path, at("10:00:30"), timeframes={60: []})

    def answer(_: Asked) -> object:
        raise UnreachableError("Something Went Wrong, Please Try After Sometime", "AB1004")

    made.answer = answer
    made.gap(at("10:00:10"), at("10:00:30"))
    await made.go_to(at("11:00"))
    assert len(made.asked) == 4


# Requests


async def test_a_reset_is_told_once_of_each_timeframe_and_reaches_up_to_now(tmp_path: Path) -> None:
    made = desk(tmp_path, at("10:07:30"), instruments=(SBIN, TCS), timeframes=TIMEFRAMES)
    made.request(7, SBIN, reset=True)
    await made.go_on(60)
    about = [(each.instrument, each.timeframe_s, each.reset, each.revision) for _, each in made.appended]
    assert about == [(SBIN, 60, True, 1), (SBIN, 300, True, 1)]
    for _, history in made.appended:
        assert history.candles[-1] == whole(SBIN, history.timeframe_s, history.candles[-1].start_ms, CLOSE_MS)
    assert [history.candles[-1].start_ms for _, history in made.appended] == [at("10:06"), at("10:00")]
    assert made.events[-1] == ("warmed", "request 7 is done")


@pytest.mark.parametrize("lateness_ms", [1_000, 60_000])
@pytest.mark.parametrize("second", range(0, 60, 12))
async def test_the_last_candle_of_a_reset_is_a_whole_one(tmp_path: Path, second: int, lateness_ms: int) -> None:
    made = desk(tmp_path, at("10:07") + second * 1000, timeframes={60: []}, lateness_ms=lateness_ms)
    made.request(7, SBIN, reset=True)
    await made.settle()
    ((at_ms, history),) = made.appended
    assert history.candles[-1] == whole(SBIN, 60, history.candles[-1].start_ms, CLOSE_MS)
    ended_ms = history.candles[-1].start_ms + MINUTE_MS
    assert AFTER_MS <= at_ms - made.lateness_ms - ended_ms < AFTER_MS + MINUTE_MS


async def test_a_reset_without_its_last_minutes_is_taken_in_the_end_and_no_more(tmp_path: Path) -> None:
    made = desk(tmp_path, at("10:07:30"), timeframes={60: []})
    made.answer = lambda asked: minutes(asked, known_ms=at("10:05"))
    made.request(7, SBIN, reset=True)
    await made.go_on(600)
    assert [history.reset for _, history in made.appended] == [True]
    assert made.queue.next_ms() is None


async def test_a_reset_that_was_asked_for_long_ago_reaches_up_to_now_too(tmp_path: Path) -> None:
    made = desk(tmp_path, at("10:07:30"), timeframes={60: []})
    made.answer = lambda asked: None
    made.request(7, reset=True)
    await made.go_on(5)
    made.answer = lambda asked: minutes(asked, known_ms=made.clock.ms)
    made.kill()
    await made.go_to(at("11:00:30"), step_s=60)
    made.start()
    await made.go_on(5)
    ((_, history),) = made.appended
    assert (history.reset, history.candles[-1].start_ms) == (True, at("10:59"))


async def test_a_request_is_done_once_also_over_restarts_and_is_gone_on_with_after_a_kill(tmp_path: Path) -> None:
    made = desk(tmp_path, at("20:00"), instruments=(SBIN, TCS), timeframes={60: []})
    made.answer = lambda asked: None
    made.request(7)
    await made.go_on(1)
    assert made.backfiller.asked
    made.answer = lambda asked: minutes(asked, known_ms=made.clock.ms)
    made.start()
    made.request(7)  # the feed reads all commands of the log when it starts
    assert made.backfiller.asked
    await made.go_on(20)
    assert not made.backfiller.asked
    for _ in range(2):
        made.start()
        made.request(5)
        made.request(7)
        await made.go_on(60)
    assert [(history.instrument, history.revision) for _, history in made.appended] == [(SBIN, 0), (TCS, 0)]
    assert [event for event in made.events if event[0] == "warmed"] == [("warmed", "request 7 is done")]


async def test_a_request_is_done_when_what_can_be_had_has_come(tmp_path: Path) -> None:
    made = desk(tmp_path, at("20:00"), instruments=(SBIN, TCS), timeframes={60: []})
    made.answer = lambda asked: None if asked.instrument == TCS else minutes(asked, known_ms=made.clock.ms)
    made.request(7)
    await made.go_on(300)
    assert made.backfiller.asked
    await made.go_on(120)
    assert [kind for kind, _ in made.events] == ["history", "history", "warmed"]
    assert made.events[1] == ("history", f"nothing there: {TCS}")


async def test_a_request_is_done_also_while_there_are_gaps_again_and_again(tmp_path: Path) -> None:
    made = desk(tmp_path, at("10:00:30"))
    made.request(7)
    for _ in range(12):
        made.gap(made.clock.ms - 3_000, made.clock.ms)
        await made.go_on(5)
    assert ("warmed", "request 7 is done") in made.events


async def test_what_is_not_subscribed_is_said_and_the_rest_is_done(tmp_path: Path) -> None:
    made = desk(tmp_path, at("20:00"), timeframes={60: []})
    made.request(7, "NSE:1", SBIN)
    await made.go_on(5)
    assert [history.instrument for _, history in made.appended] == [SBIN]
    assert made.events[0] == ("history", "not subscribed, add to SUBSCRIBE_TOKENS: NSE:1")
    made.request(8, "NSE:1")
    await made.go_on(5)
    assert made.events[-1] == ("warmed", "request 8 is done")


@pytest.mark.parametrize("moment", ["10:00:40", "10:01:13"], ids=["before it is due", "while it is asked for"])
async def test_a_request_forgets_no_repair(tmp_path: Path, moment: str) -> None:
    made = desk(tmp_path, at("10:00:30"), timeframes={60: []})
    made.gap(at("10:00:10"), at("10:00:30"))
    made.takes_s = 5.0
    await made.go_to(at(moment))
    made.request(7, SBIN)
    await made.go_to(at("10:02"))
    assert [history.candles for _, history in made.appended if history.revision == 1] == [
        [whole(SBIN, 60, at("10:00"), CLOSE_MS)]
    ]
    assert ("warmed", "request 7 is done") in made.events
    assert made.queue.next_ms() is None


@pytest.mark.parametrize(("before", "until"), [("09:10", "09:10"), ("12:00", "09:20")])
async def test_nobody_waits_for_history_beyond_a_given_time_nor_for_ever(
    tmp_path: Path, before: str, until: str
) -> None:
    made = desk(tmp_path, at("09:05"))
    made.takes_s = 3_600
    made.request(7)
    waiting = asyncio.create_task(made.backfiller.caught_up(at(before)))
    await made.go_to(at(until) - 2_000)
    assert not waiting.done()
    await made.go_on(4)
    assert waiting.done()


# Kills


@pytest.mark.parametrize("moment", ["begun", "ended", "due", "asked", "appended"])
async def test_a_gap_is_repaired_whenever_the_feed_is_killed(tmp_path: Path, moment: str) -> None:
    made = desk(tmp_path, at("10:00:10"), timeframes={60: []})
    made.gap(at("10:00:10"))
    await made.go_to(at("10:00:20"))
    if moment != "begun":
        made.gap(at("10:00:10"), at("10:00:20"))
        await made.go_to({"ended": at("10:00:30"), "due": at("10:01:10")}.get(moment, at("10:01:10")))
    made.takes_s = 2.0 if moment == "asked" else 0.0
    if moment in ("asked", "appended"):
        await made.go_on(2)
        assert len(made.asked) == 1
        assert bool(made.appended) == (moment == "appended")
    made.takes_s = 0.0
    made.kill()
    made.clock.move(at("10:02:00"))
    made.start()
    made.backfiller.begin(made.clock.ms - 5_000)
    made.gap(at("10:01:55"), at("10:02:05"))
    await made.go_to(at("10:03:30"))
    starts_ms = made.candles(60)
    assert set(starts_ms) == {at("10:00"), at("10:01"), at("10:02")}
    assert starts_ms.count(at("10:00")) <= 2
    assert made.queue.next_ms() is None


MOODS = ("well", "well", "empty", "slow", "away")
LASTS = (0, 0, 1, 7, 40)  # steps
STEP_S = 10


@given(
    st.lists(
        st.tuples(st.integers(0, 119), st.sampled_from(["gap", "gap", "mood", "kill"]), st.integers(0, 4)), max_size=20
    )
)
@settings(max_examples=25, deadline=None)
async def test_whatever_happens_every_gap_is_repaired_with_candles_that_are_whole(
    happens: list[tuple[int, str, int]],
) -> None:
    """Gaps that last for several steps, moods of the broker and kills come at any of 120 steps."""
    with tempfile.TemporaryDirectory() as folder:
        made = desk(Path(folder), at("10:00:10"), instruments=(SBIN, TCS))
        lacking: set[tuple[str, int]] = set()
        open_ms: dict[str, int] = {}
        ends: dict[int, str] = {}
        mood = "well"

        def answer(asked: Asked) -> object:
            if mood == "away":
                raise UnreachableError("the broker can't be reached (ReadTimeout)")
            known_ms = (made.clock.ms - 90_000) // MINUTE_MS * MINUTE_MS if mood == "slow" else made.clock.ms
            return [] if mood == "empty" else minutes(asked, known_ms=known_ms)

        def over(instrument: str) -> None:
            from_ms = open_ms.pop(instrument)
            made.gap(from_ms, made.clock.ms, instrument)
            lacking.update((instrument, ms) for ms in range(from_ms - from_ms % MINUTE_MS, made.clock.ms, MINUTE_MS))

        made.answer = answer
        for step in range(160):
            if step in ends and (ended := ends[step]) in open_ms:
                over(ended)
            for _, what, detail in (one for one in happens if one[0] == step):
                instrument = (SBIN, TCS)[step % 2]
                if what == "mood":
                    mood = MOODS[detail]
                elif what == "kill":
                    since_ms = made.clock.ms - 5_000
                    made.start()
                    made.backfiller.begin(since_ms)
                    made.clock.move(made.clock.ms + 15_000)
                    for each in (SBIN, TCS):
                        open_ms[each] = min(since_ms, open_ms.get(each, since_ms))
                        over(each)
                elif instrument not in open_ms:
                    open_ms[instrument] = made.clock.ms - 2_000
                    made.gap(open_ms[instrument], None, instrument)
                    if LASTS[detail]:
                        ends[step + LASTS[detail]] = instrument
                    else:
                        over(instrument)
            await made.go_on(STEP_S, step_s=STEP_S)
        mood = "well"
        await made.go_on(400, step_s=STEP_S)
        made.clock.move(at("09:20", 23))
        await made.go_on(60, step_s=STEP_S)
    repaired = [(history.timeframe_s, one) for _, history in made.appended for one in history.candles]
    assert [one for each, one in repaired if one != whole(one.instrument, each, one.start_ms, CLOSE_MS)] == []
    assert lacking <= {(one.instrument, one.start_ms) for each, one in repaired if each == 60}
    fives = {(name, ms - (ms - OPEN_MS) % (5 * MINUTE_MS)) for name, ms in lacking}
    assert fives <= {(one.instrument, one.start_ms) for each, one in repaired if each == 300}
    assert made.queue.next_ms() is None
