"""Candles of the broker's history on their way through the three stages, with the bytes of the log between them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.brute_force import indian_ms, indicator, trading_hours
from tests.support.generated import (
    END_MS,
    HOLIDAY,
    INSTRUMENTS,
    MOMENTS,
    MONDAY,
    NSE_HOURS,
    WEDNESDAY,
    Batch,
    batches,
    live_batches,
    recordings,
)
from tests.support.stage_chain import (
    CONFIGURATION,
    NIFTY,
    NSE,
    SPECS,
    Chain,
    Made,
    by_series,
    frame,
    records,
    values_of,
)
from topology.indicators import KEPT_CLOSES
from topology.log.frames import Configure, TimeframeFrame, encode
from topology.market import Candle, Tick
from topology.market.candle import BROKER
from topology.market.history import History

NOT_CONFIGURED_S = 60
Key = tuple[str, int]  # instrument and timeframe in seconds

live_feeds = recordings(disorder_ms=4000).flatmap(live_batches)


def candle(start_ms: int, close: int, *, instrument: str = NIFTY, timeframe_s: int = 60, marks: int = BROKER) -> Candle:
    return Candle(instrument, timeframe_s, start_ms, close, close, close, close, 0, 0, marks)


def told(
    closes: dict[int, int], *, instrument: str = NIFTY, timeframe_s: int = 60, revision: int = 0, reset: bool = False
) -> History:
    """History of closes by the start of their candles."""
    candles = [candle(at, close, instrument=instrument, timeframe_s=timeframe_s) for at, close in closes.items()]
    return History(instrument, timeframe_s, candles, revision, reset)


@st.composite
def histories(draw: st.DrawFn, around_ms: int) -> History:
    """Candles around a time: some that have ended, some that have not, some that are none of a session."""
    timeframe_s = draw(st.sampled_from([7, 7, 120, 120, NOT_CONFIGURED_S]))
    open_ms, close_ms = max((hours for hours in NSE_HOURS if hours[0] <= around_ms), default=NSE_HOURS[0])
    newest = (min(around_ms, close_ms - 1) - open_ms) // (timeframe_s * 1000)
    beside_ms = draw(st.sampled_from([0] * 7 + [1000]))
    numbers = draw(st.sets(st.integers(newest - 6, newest + 1), max_size=5))
    closes = {open_ms + number * timeframe_s * 1000 + beside_ms: draw(st.integers(1000, 1020)) for number in numbers}
    return told(
        dict(sorted(closes.items())),
        instrument=draw(st.sampled_from(INSTRUMENTS)),
        timeframe_s=timeframe_s,
        revision=draw(st.integers(0, 1)),
        reset=draw(st.sampled_from([False, False, True])),
    )


@st.composite
def told_between(draw: st.DrawFn, cut: list[Batch]) -> dict[int, list[History]]:
    """History that comes with some of the frames, by their number, of times near to where the frames are."""
    found: dict[int, list[History]] = defaultdict(list)
    for _ in range(draw(st.integers(1, 4))):
        number = draw(st.integers(0, len(cut) - 1))
        times = [row.time_ms for rows, _ in cut[: number + 1] for row in rows]
        around_ms = max(times + [clock_ms for _, clock_ms in cut[: number + 1] if clock_ms], default=MOMENTS[0])
        found[number].append(draw(histories(around_ms)))
    return found


class Model:
    """What the third stage knows, as plain lists: of each series the kept closes, and those it has computed over."""

    def __init__(self, *specs: str) -> None:
        self.specs = specs
        self.kept: dict[Key, dict[int, int]] = defaultdict(dict)
        self.computed_over: dict[Key, list[int]] = defaultdict(list)
        self.values: dict[tuple[str, str, int, int], float] = {}

    def take(self, frame: TimeframeFrame) -> None:
        for row in frame.rows:
            key = row.instrument, row.timeframe_s
            self.kept[key] = newest(self.kept[key] | {row.start_ms: row.close})
            self.computed_over[key].append(row.close)
            for spec in self.specs:
                value = indicator(spec, self.computed_over[key])[-1]
                if value is not None:
                    self.values[row.instrument, spec.replace(":", "_"), row.timeframe_s, row.start_ms] = value
        for history in frame.history:
            self.learn((history.instrument, history.timeframe_s), history)

    def learn(self, key: Key, history: History) -> None:
        before = self.kept[key]
        if history.reset:
            before = {start_ms: close for start_ms, close in before.items() if start_ms > history.candles[-1].start_ms}
        closes = {one.start_ms: one.close for one in history.candles}
        together = before | closes if history.revision else closes | before
        if history.reset or newest(together) != before:
            self.kept[key] = newest(together)
            self.computed_over[key] = [close for _, close in sorted(together.items())]


def newest(closes: dict[int, int]) -> dict[int, int]:
    return dict(sorted(closes.items())[-KEPT_CLOSES:])


def known(chain: Chain) -> dict[Key, bytes]:
    """What the third stage knows of each series, bit for bit."""
    return {(row.instrument, row.timeframe_s): encode(row) for row in chain.indicators.state().core}


# -- What is used of it


def can_be_used(one: Candle, clock_ms: int) -> bool:
    """By brute force: it is one of the candles of a session, and the clock has passed its end by the lateness."""
    width_ms = one.timeframe_s * 1000
    return one.timeframe_s in CONFIGURATION.timeframes and any(
        one.start_ms in range(opens, closes, width_ms) and min(one.start_ms + width_ms, closes) <= clock_ms - 1000
        for opens, closes in NSE_HOURS
    )


@settings(max_examples=200)
@given(live_feeds, st.data())
def test_candles_that_have_ended_are_used_and_no_others(cut: list[Batch], data: st.DataObject) -> None:
    between = data.draw(told_between(cut))
    for number, made in enumerate(Chain().run(records(cut, histories=between))):
        usable = [
            msgspec.structs.replace(
                history, candles=[one for one in history.candles if can_be_used(one, made.candles.clock_ms)]
            )
            for history in between.get(number, [])
        ]
        assert made.candles.history == between.get(number, [])
        assert made.timeframes.history == [history for history in usable if history.candles]


@given(live_feeds, st.data())
def test_history_changes_no_candle_that_ticks_make(cut: list[Batch], data: st.DataObject) -> None:
    with_it = Chain().run(records(cut, histories=data.draw(told_between(cut))), live=True)
    without = Chain().run(records(cut), live=True)
    for one, other in zip(with_it, without, strict=True):
        assert (one.candles.rows, one.candles.live) == (other.candles.rows, other.candles.live)
        assert (one.timeframes.rows, one.timeframes.live) == (other.timeframes.rows, other.timeframes.live)


def test_of_one_command_what_cannot_be_used_is_left_out_and_the_rest_used() -> None:
    open_ms, two_minutes_ms = indian_ms(MONDAY, "09:15"), 120_000
    good = [open_ms, open_ms + two_minutes_ms]
    bad = {
        "before the open": open_ms - two_minutes_ms,
        "beside the grid": open_ms + 2 * two_minutes_ms + 1000,
        "still forming": open_ms + 3 * two_minutes_ms,
        "after the close": indian_ms(MONDAY, "15:31"),
        "on a holiday": indian_ms(HOLIDAY, "09:15"),
        "to come": indian_ms(WEDNESDAY, "09:15"),
        "beyond the calendar": indian_ms(WEDNESDAY, "09:15") + 10 * 366 * 86_400_000,
    }
    closes = dict.fromkeys(sorted([*good, *bad.values()]), 100)
    other = told({open_ms: 100}, timeframe_s=NOT_CONFIGURED_S)
    chain = Chain()
    chain.apply(encode(frame(0, [Tick(NIFTY, 99, open_ms + 400_000)], open_ms + 400_000, commands=[CONFIGURATION])))
    history = [other, told(closes, timeframe_s=120)]
    made = chain.apply(encode(frame(1, [], open_ms + 420_000, history=history)))
    assert made.timeframes.history == [told(dict.fromkeys(good, 100), timeframe_s=120)]
    assert (NIFTY, NOT_CONFIGURED_S) not in known(chain)


def test_a_candle_that_the_close_cuts_short_is_used_once_the_session_has_closed() -> None:
    start_ms = indian_ms(MONDAY, "15:29")
    history = [told({start_ms: 100}, timeframe_s=120)]
    chain = Chain()
    chain.apply(encode(frame(0, [], commands=[CONFIGURATION])))
    early = chain.apply(encode(frame(1, [], indian_ms(MONDAY, "15:30:00.999"), history=history)))
    ended = chain.apply(encode(frame(2, [], indian_ms(MONDAY, "15:30:01"), history=history)))
    assert (early.timeframes.history, ended.timeframes.history) == ([], history)


def test_while_a_candle_has_not_closed_though_its_time_is_over_neither_it_nor_what_follows_it_is_used() -> None:
    start_ms = indian_ms(MONDAY, "11:01")
    clock_ms = start_ms + 301_000
    patient, impatient = (
        msgspec.structs.replace(CONFIGURATION, id=number, lateness_ms=lateness_ms)
        for number, lateness_ms in enumerate([300_000, 0])
    )
    chain = Chain()
    chain.apply(encode(frame(0, [Tick(NIFTY, 99, start_ms)], clock_ms, commands=[patient])))
    history = [told({start_ms + n * 120_000: 100 for n in (-1, 0, 1)}, timeframe_s=120, revision=1)]
    made = chain.apply(encode(frame(1, [], clock_ms, commands=[impatient], history=history)))
    assert made.timeframes.history == [told({start_ms - 120_000: 100}, timeframe_s=120, revision=1)]
    closed = chain.apply(encode(frame(2, [], clock_ms + 1))).timeframes.rows
    assert [row.close for row in closed if row.timeframe_s == 120] == [99]


# -- What comes of it


@settings(max_examples=300)
@given(live_feeds, st.data())
def test_values_equal_the_brute_force_over_the_closes_that_ticks_and_history_tell(
    cut: list[Batch], data: st.DataObject
) -> None:
    made = Chain().run(records(cut, histories=data.draw(told_between(cut))))
    model = Model(*SPECS)
    for one in made:
        model.take(one.timeframes)
    assert values_of(made) == pytest.approx(model.values, rel=1e-12, abs=1e-9)


@given(live_feeds, st.data())
def test_no_value_is_published_at_a_candle_of_history(cut: list[Batch], data: st.DataObject) -> None:
    for made in Chain().run(records(cut, histories=data.draw(told_between(cut)))):
        closed = {(row.instrument, row.timeframe_s, row.start_ms) for row in made.timeframes.rows}
        assert {(value.instrument, value.timeframe_s, value.start_ms) for value in made.indicators.rows} <= closed


@given(live_feeds, st.data())
def test_history_moves_neither_the_values_before_it_nor_those_of_another_series(
    cut: list[Batch], data: st.DataObject
) -> None:
    between = data.draw(told_between(cut))
    first = min(between)
    touched = {(history.instrument, str(history.timeframe_s)) for several in between.values() for history in several}
    with_it, without = Chain().run(records(cut, histories=between)), Chain().run(records(cut))
    before = [encode(made.indicators) for made in with_it[: first + 1]]
    assert before == [encode(made.indicators) for made in without[: first + 1]]
    others = [
        {key: rows for key, rows in by_series(made).items() if key[:2] not in touched} for made in (with_it, without)
    ]
    assert others[0] == others[1]


@given(live_feeds, st.data())
def test_what_fills_in_leaves_known_closes_and_their_indicators_as_they_are_bit_for_bit(
    cut: list[Batch], data: st.DataObject
) -> None:
    chain = Chain()
    made = chain.run(records(cut))
    closed = [row for one in made for row in one.timeframes.rows]
    again = data.draw(st.lists(st.sampled_from(closed), unique=True)) if closed else []
    by_key: dict[Key, dict[int, int]] = defaultdict(dict)
    for row in sorted(again, key=lambda row: row.start_ms):
        by_key[row.instrument, row.timeframe_s][row.start_ms] = row.close + 5
    history = [told(closes, instrument=key[0], timeframe_s=key[1]) for key, closes in by_key.items()]
    before = known(chain)
    assert chain.apply(encode(frame(1_000_000, [], history=history))).timeframes.history == history
    assert known(chain) == before


@given(live_feeds, st.data())
def test_history_that_comes_again_changes_nothing(cut: list[Batch], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(cut)))
    (history,) = data.draw(told_between(cut[:at]).map(lambda between: list(between.values())[-1:]))
    written = records(cut)
    once, twice = Chain(), Chain()
    for chain, times in ((once, 1), (twice, 2)):
        chain.run(written[:at])
        chain.run([encode(frame(10 * at - 5 + number, [], history=history)) for number in range(times)])
    assert known(twice) == known(once)
    assert by_series(twice.run(written[at:])) == by_series(once.run(written[at:]))


# -- Cuts and restarts


@st.composite
def told_at_a_moment(draw: st.DrawFn) -> tuple[list[list[Batch]], list[dict[int, list[History]]]]:
    """Two cuts of the same rows with the same history between the same two of them, at the same clock."""
    rows = draw(recordings())
    split = draw(st.integers(0, len(rows)))
    coming_ms = rows[split].time_ms if split < len(rows) else END_MS
    clock_ms = coming_ms - draw(st.sampled_from([0, 1000, 60_000]))
    history = draw(st.lists(histories(clock_ms), min_size=1, max_size=3))
    cuts, at = [], []
    for _ in range(2):
        before = [
            (part, None if clock is None else min(clock, clock_ms)) for part, clock in draw(batches(rows[:split]))
        ]
        cuts.append([*before, *draw(batches(rows[split:]))])
        at.append(len(before) - 1)
    return cuts, [{number: history} for number in at]


@settings(max_examples=200)
@given(told_at_a_moment())
def test_for_ticks_in_order_where_frames_are_cut_around_history_changes_nothing(
    cuts: tuple[list[list[Batch]], list[dict[int, list[History]]]],
) -> None:
    one, other = Chain(), Chain()
    made = [
        by_series(chain.run(records(cut, histories=between)))
        for chain, cut, between in zip((one, other), *cuts, strict=True)
    ]
    assert made[0] == made[1]
    assert known(one) == known(other)


@settings(max_examples=200)
@given(live_feeds, st.booleans(), st.data())
def test_a_restart_from_the_state_after_any_frame_gives_the_same_frames_bit_for_bit(
    cut: list[Batch], live: bool, data: st.DataObject
) -> None:
    written = records(cut, histories=data.draw(told_between(cut)))
    restart = data.draw(st.integers(1, len(written)))
    straight = Chain()
    straight.run(written[:restart], live=live)
    restarted = Chain.restored(straight.states(), straight.position)
    for record in written[restart:]:
        assert restarted.apply(record, live=live).record == straight.apply(record, live=live).record
        assert restarted.states() == straight.states()


@given(live_feeds, st.data())
def test_history_in_a_frame_that_a_feed_sends_again_counts_for_nothing(cut: list[Batch], data: st.DataObject) -> None:
    between = data.draw(told_between(cut))
    written = records(cut, histories=between)
    at = data.draw(st.sampled_from(sorted(between)))
    chain = Chain()
    chain.run(written[: at + 1])
    knowledge = chain.knowledge()
    again = chain.apply(written[at])
    assert [again.candles.history, again.timeframes.history] == [[], []]
    assert chain.knowledge() == knowledge


# -- Poison

GOOD = {indian_ms(MONDAY, "09:15"): 100, indian_ms(MONDAY, "09:17"): 100}
FIRST, SECOND = (candle(start_ms, close, timeframe_s=120) for start_ms, close in GOOD.items())


def spoilt(**changes: object) -> History:
    """Good history but for its second candle."""
    return History(NIFTY, 120, [FIRST, msgspec.structs.replace(SECOND, **changes)], 0)


def beginning(*parts: Candle) -> History:
    """Good history but for how its last candle has begun."""
    return History(NIFTY, 120, [FIRST, SECOND], 0, begun=list(parts), until_ms=END_MS)


PART = candle(indian_ms(MONDAY, "09:19"), 100)
POISON = {
    "out of order": History(NIFTY, 120, [SECOND, FIRST], 0),
    "the same candle twice": History(NIFTY, 120, [FIRST, FIRST], 0),
    "of another instrument": spoilt(instrument=INSTRUMENTS[1]),
    "of another timeframe": spoilt(timeframe_s=7),
    "price of nothing": spoilt(low=0),
    "low above high": spoilt(low=101),
    "close above high": spoilt(close=101),
    "close below low": spoilt(close=99),
    "open above high": spoilt(open=101),
    "open below low": spoilt(open=99),
    "a price beyond 63 bits": spoilt(close=2**63, high=2**63),
    "negative volume": spoilt(volume=-1),
    "a volume beyond 63 bits": spoilt(volume=2**63),
    "negative count": spoilt(count=-1),
    "a count beyond 63 bits": spoilt(count=2**63),
    "begun with parts that don't divide it": beginning(msgspec.structs.replace(PART, timeframe_s=50)),
    "begun with itself": beginning(msgspec.structs.replace(PART, timeframe_s=120)),
    "begun with parts of no length": beginning(msgspec.structs.replace(PART, timeframe_s=0)),
    "begun with parts of two lengths": beginning(candle(PART.start_ms - 60_000, 100, timeframe_s=30), PART),
    "begun with a part that comes twice": beginning(PART, PART),
    "begun by another instrument": beginning(msgspec.structs.replace(PART, instrument=INSTRUMENTS[1])),
    "begun at a price of nothing": beginning(msgspec.structs.replace(PART, low=0)),
}


def apply_poison(history: History) -> str:
    """Apply a frame that would change much if its history weren't wrong; return the reason, with nothing changed."""
    chain = Chain()
    chain.run(records([([], END_MS)]))
    knowledge = chain.knowledge()
    commands = [msgspec.structs.replace(CONFIGURATION, id=2, timeframes={120: []})]
    ticks = [Tick(NIFTY, 100, MOMENTS[3])]
    good = told(GOOD, timeframe_s=120)
    made = chain.apply(encode(frame(5_000, ticks, END_MS + 1, commands=commands, history=[good, history])))
    assert [(one.rows, one.live, one.commands) for one in made] == [([], [], [])] * 3
    assert [made.candles.history, made.timeframes.history] == [[], []]
    assert chain.knowledge() == knowledge
    assert made.candles.unusable == made.timeframes.unusable == made.indicators.unusable
    return made.candles.unusable


@pytest.mark.parametrize("history", POISON.values(), ids=POISON)
def test_history_that_cannot_be_makes_its_whole_frame_a_gap(history: History) -> None:
    assert f"history of {NIFTY}, 120 s: it can't hold Candle(" in apply_poison(history)


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        (told(GOOD, instrument="XYZ:1", timeframe_s=120), "instrument 'XYZ:1'"),
        (told(GOOD, instrument="1:2885", timeframe_s=120), "must be written 'NSE:2885'"),
        (told(GOOD, instrument="MCX:1", timeframe_s=120), "'commodity' is not covered by the calendar"),
        (told(GOOD, timeframe_s=120, revision=-1), "not a TickFrame: Expected `int` >= 0"),
        (told(GOOD, timeframe_s=120, revision=2), "not a TickFrame: Expected `int` <= 1"),
    ],
)
def test_history_of_nothing_that_is_known_makes_its_whole_frame_a_gap(history: History, reason: str) -> None:
    assert reason in apply_poison(history)


def test_history_before_any_configuration_is_a_gap() -> None:
    chain = Chain()
    for unused in chain.apply(encode(frame(0, [], END_MS, history=[told(GOOD, timeframe_s=120)]))):
        assert unused.unusable == "the log holds no configuration before these ticks"
    made = chain.apply(encode(frame(1, [], END_MS, commands=[CONFIGURATION], history=[told(GOOD, timeframe_s=120)])))
    assert [one.start_ms for history in made.timeframes.history for one in history.candles] == list(GOOD)


# -- Days

USUAL = ["SMA:9", "SMA:20", "SMA:50", "SMA:200", "EMA:9", "EMA:21", "RSI:14"]
LONG = ["EMA:400", "SMMA:400", "SMA:500"]
PER_MINUTE = Configure(1, {60: [*USUAL, *LONG], 120: USUAL}, {}, NSE, 1000)
DAY = 375  # minutes
MINUTES = [start_ms for hours in trading_hours(MONDAY, date(2022, 11, 11)) for start_ms in range(*hours, 60_000)]
CLOSES = [1_855_000 + Random(number).randint(-900, 900) for number in range(len(MINUTES))]
WRONG = [close + 1000 + number % 7 for number, close in enumerate(CLOSES)]


def opened() -> Chain:
    chain = Chain()
    chain.apply(encode(frame(0, [], commands=[PER_MINUTE])))
    return chain


def trade(chain: Chain, numbers: Iterable[int], closes: list[int] = CLOSES) -> Made:
    """Apply a frame with a tick in each of these minutes, and a clock that closes the last."""
    ticks = [Tick(NIFTY, closes[number], MINUTES[number]) for number in numbers]
    return chain.apply(encode(frame(chain.position, ticks, ticks[-1].time_ms + 61_000)))


def tell(chain: Chain, numbers: Iterable[int], closes: list[int] = CLOSES, **how: Any) -> Made:
    """Apply a frame with history of these minutes alone, at a clock that has passed all of it."""
    history = told({MINUTES[number]: closes[number] for number in numbers}, **how)
    clock_ms = history.candles[-1].start_ms + 61_000
    made = chain.apply(encode(frame(chain.position, [], clock_ms, history=[history])))
    assert made.timeframes.history == [history]
    assert made.indicators.rows == []
    return made


def of_minutes(made: Made) -> dict[tuple[str, int], float]:
    """The values at candles of a minute, by name and the number of the minute."""
    return {
        (name, MINUTES.index(start_ms)): value
        for (_, name, timeframe_s, start_ms), value in values_of([made]).items()
        if timeframe_s == 60
    }


def textbook(closes_before: list[int], numbers: Sequence[int], closes: list[int] = CLOSES) -> object:
    """By brute force: the values at these minutes of indicators that have been computed over these closes before."""
    all_closes = [*closes_before, *(closes[number] for number in numbers)]
    values = {
        (spec.replace(":", "_"), number): value
        for spec in PER_MINUTE.timeframes[60]
        for number, value in zip(numbers, indicator(spec, all_closes)[len(closes_before) :], strict=True)
        if value is not None
    }
    return pytest.approx(values, rel=1e-12, abs=1e-9)


def test_after_a_warm_up_indicators_are_ready_at_the_first_candle() -> None:
    chain = opened()
    tell(chain, range(DAY))
    first = of_minutes(trade(chain, [DAY]))
    assert {name for name, _ in first} == {spec.replace(":", "_") for spec in USUAL}
    assert first == textbook(CLOSES[:DAY], range(DAY, DAY + 1))
    later = range(DAY + 1, DAY + 200)
    assert of_minutes(trade(chain, later)) == textbook(CLOSES[: DAY + 1], later)


def test_a_live_value_is_ready_with_the_first_tick_after_a_warm_up() -> None:
    chain = opened()
    tell(chain, range(DAY))
    made = chain.apply(encode(frame(chain.position, [Tick(NIFTY, 1_855_000, MINUTES[DAY])])), live=True)
    assert {value.name for value in made.indicators.live} == {spec.replace(":", "_") for spec in USUAL}


def test_what_history_told_and_what_ticks_made_is_the_same_to_an_indicator_bit_for_bit() -> None:
    warmed, watched = opened(), opened()
    tell(warmed, range(DAY))
    trade(watched, range(DAY))
    assert known(warmed)[NIFTY, 60] == known(watched)[NIFTY, 60]
    assert of_minutes(trade(warmed, range(DAY, 2 * DAY))) == of_minutes(trade(watched, range(DAY, 2 * DAY)))


def test_a_warm_up_reaches_back_further_than_closes_are_kept_once() -> None:
    chain = opened()
    tell(chain, range(700))
    later = range(700, 720)
    assert of_minutes(trade(chain, later)) == textbook(CLOSES[:700], later)


def test_a_warm_up_while_candles_close_comes_before_them() -> None:
    chain = opened()
    early = of_minutes(trade(chain, range(400, 410)))
    assert {name for name, _ in early} == {"SMA_9", "EMA_9"}
    tell(chain, range(400))
    later = range(410, 420)
    assert of_minutes(trade(chain, later)) == textbook(CLOSES[:410], later)


GAP = range(590, 600)


def test_after_a_repair_values_are_those_of_the_corrected_closes_and_published_ones_stay_as_they_were() -> None:
    chain = opened()
    seen = [number for number in range(700) if number not in GAP]
    one_wrong = [WRONG[number] if number == GAP.start - 1 else CLOSES[number] for number in range(700)]
    assert of_minutes(trade(chain, seen, one_wrong)) == textbook([], seen, one_wrong)
    tell(chain, range(GAP.start - 1, GAP.stop), revision=1)
    later = range(700, 760)
    assert of_minutes(trade(chain, later)) == textbook(CLOSES[seen[-KEPT_CLOSES] : 700], later)


def test_what_only_fills_in_takes_what_is_missing_and_leaves_what_is_there() -> None:
    chain = opened()
    seen = [number for number in range(700) if number not in GAP]
    trade(chain, seen)
    tell(chain, range(GAP.start - 5, GAP.stop + 5), WRONG)
    filled_in = [WRONG[number] if number in GAP else CLOSES[number] for number in range(seen[-KEPT_CLOSES], 700)]
    later = range(700, 760)
    assert of_minutes(trade(chain, later)) == textbook(filled_in, later)


@pytest.mark.parametrize(
    ("numbers", "closes", "revision"),
    [(range(150), CLOSES, 0), (range(150), WRONG, 1), (range(700), WRONG, 0), (range(100, 700), CLOSES, 1)],
    ids=["further back", "corrected further back", "known", "as it is known"],
)
def test_history_that_changes_no_close_that_is_kept_moves_no_indicator_by_a_bit(
    numbers: range, closes: list[int], revision: int
) -> None:
    told_of, untold = opened(), opened()
    for chain in (told_of, untold):
        trade(chain, range(700))
    tell(told_of, numbers, closes, revision=revision)
    assert known(told_of) == known(untold)
    assert of_minutes(trade(told_of, range(700, 720))) == of_minutes(trade(untold, range(700, 720)))


def test_the_same_repair_once_more_moves_no_indicator_by_a_bit() -> None:
    once, twice = opened(), opened()
    for chain, times in ((once, 1), (twice, 2)):
        trade(chain, range(650), WRONG)
        for _ in range(times):
            tell(chain, range(20, 640), revision=1)
        trade(chain, range(650, 660))
    tell(twice, range(20, 640), revision=1)
    assert known(twice) == known(once)


def test_a_candle_that_is_filled_in_counts_even_where_the_kept_closes_read_the_same() -> None:
    chain = opened()
    flat = [1_855_000] * 760
    trade(chain, [number for number in range(700) if number != 600], flat)
    tell(chain, [600], flat)
    tell(chain, [500], WRONG, revision=1)
    kept = [*flat[: KEPT_CLOSES - 200], WRONG[500], *flat[:199]]
    later = range(700, 760)
    assert of_minutes(trade(chain, later)) == textbook(kept, later)


def test_after_a_reset_indicators_know_the_history_and_what_came_after_it_alone() -> None:
    chain = opened()
    trade(chain, range(600), WRONG)
    before = known(chain)
    tell(chain, range(580, 590), revision=1, reset=True)
    assert {key: row for key, row in known(chain).items() if key != (NIFTY, 60)} == {(NIFTY, 120): before[NIFTY, 120]}
    later = range(600, 900)
    assert of_minutes(trade(chain, later)) == textbook(
        [*CLOSES[580:590], *(WRONG[number] for number in range(590, 600))], later
    )


def test_a_reset_of_which_nothing_can_be_used_forgets_nothing() -> None:
    chain = opened()
    trade(chain, range(600))
    to_come = told({MINUTES[900]: 100}, reset=True)
    made = chain.apply(encode(frame(chain.position, [], history=[to_come])))
    assert made.timeframes.history == []
    later = range(600, 620)
    assert of_minutes(trade(chain, later)) == textbook(CLOSES[:600], later)
