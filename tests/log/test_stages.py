"""The three stages of a partition, one after the other, with the bytes of the log between them."""

import math
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.brute_force import expected, indian_ms, indicator, recorded, trading_hours
from tests.support.generated import (
    ALL_HOURS,
    END_MS,
    INSTRUMENTS,
    MOMENTS,
    NSE_HOURS,
    Batch,
    batches,
    live_batches,
    recordings,
)
from tests.support.stage_chain import (
    ALWAYS_OPEN,
    CONFIGURATION,
    LOG,
    NIFTY,
    NSE,
    RUN,
    SPECS,
    Chain,
    by_series,
    candles_of,
    frame,
    named,
    records,
    rows_of,
    ticks,
    values_of,
)
from topology.indicators import KEPT_CLOSES
from topology.log.candle_stage import CandleStage
from topology.log.frames import VERSION, Configure, IndicatorValue, TickFrame, TimeframeFrame, encode, tick_frame
from topology.log.indicator_stage import IndicatorSeriesState, IndicatorStage
from topology.log.stage import StageState
from topology.log.timeframe_stage import TimeframeStage
from topology.market import Baseline, Candle, Gap, Tick
from topology.market.candle import PARTIAL

in_order = recordings().flatmap(batches)
disordered = recordings(disorder_ms=4000).flatmap(batches)
live_feeds = recordings(disorder_ms=4000).flatmap(live_batches)


# -- Frames


@given(live_feeds, st.booleans())
def test_each_tick_frame_becomes_one_frame_of_every_stage_at_its_position(cut: list[Batch], live: bool) -> None:
    chain = Chain()
    for position, record in enumerate(records(cut)):
        written = tick_frame(record)
        assert isinstance(written, TickFrame)
        for made in chain.apply(record, live=live):
            assert (made.log, made.run, made.position) == (LOG, RUN, position)
            assert (made.clock_ms, made.commands, made.unusable) == (written.clock_ms, written.commands, "")
        assert chain.candles.position == chain.timeframes.position == chain.indicators.position == position


@given(disordered, st.sampled_from([(NSE, NSE_HOURS), (ALWAYS_OPEN, ALL_HOURS)]), st.sampled_from([0, 1000, 2500]))
def test_candles_values_and_counts_equal_the_brute_force(
    cut: list[Batch], market: tuple[str, list[tuple[int, int]]], lateness_ms: int
) -> None:
    calendar, sessions = market
    configuration = msgspec.structs.replace(CONFIGURATION, calendar=calendar, lateness_ms=lateness_ms)
    made = Chain().run(records(cut, {0: configuration}))
    reference = expected(rows_of(cut), sessions, timeframes_s=[7, 120], specs=SPECS, lateness_ms=lateness_ms)
    assert candles_of(made) == reference.candles
    assert values_of(made) == pytest.approx(reference.values, rel=1e-12, abs=1e-9)
    assert sum(one.candles.accepted for one in made) == len(reference.accepted)
    assert sum(len(one.candles.late) for one in made) == len(reference.late)
    assert sum(one.candles.out_of_session for one in made) == len(reference.out_of_session)


@given(in_order)
def test_for_ticks_in_order_no_row_depends_on_where_frames_were_cut(cut: list[Batch]) -> None:
    whole: list[Batch] = [(rows_of(cut), END_MS)]
    assert by_series(Chain().run(records(cut))) == by_series(Chain().run(records(whole)))


@given(live_feeds)
def test_live_values_change_no_row_and_no_state(cut: list[Batch]) -> None:
    shown, hidden = Chain(), Chain()
    for record in records(cut):
        seen, unseen = shown.apply(record, live=True), hidden.apply(record, live=False)
        assert [made.rows for made in seen] == [made.rows for made in unseen]
        assert all(made.live == [] for made in unseen)
    assert shown.states()[:2] == hidden.states()[:2]


@given(in_order)
def test_a_live_row_is_what_closes_when_nothing_comes_any_more(cut: list[Batch]) -> None:
    chain = Chain()
    for record in records(cut[:-1]):
        live = chain.apply(record, live=True)
        closing = Chain.restored(chain.states(), chain.position).apply(encode(frame(1_000_000, [], END_MS)))
        assert set(live.candles.live) <= set(closing.candles.rows)
        assert set(live.timeframes.live) <= set(closing.timeframes.rows)
        for value in live.indicators.live:
            final = [other for other in closing.indicators.rows if series_of(other) == series_of(value)]
            # A peek doesn't know an older candle of its series that has ended but not closed.
            assert final == [value] or len(final) > 1


def series_of(value: IndicatorValue) -> tuple[str, int, str]:
    return value.instrument, value.timeframe_s, value.name


# -- Restart


@given(live_feeds, st.booleans(), st.data())
def test_a_restart_from_the_state_after_any_frame_gives_the_same_frames_bit_for_bit(
    cut: list[Batch], live: bool, data: st.DataObject
) -> None:
    written = records(cut)
    restart = data.draw(st.integers(1, len(written)))
    straight = Chain()
    straight.run(written[:restart], live=live)
    restarted = Chain.restored(straight.states(), straight.position)
    assert restarted.states() == straight.states()
    for record in written[restart:]:
        assert restarted.apply(record, live=live).record == straight.apply(record, live=live).record
        assert restarted.states() == straight.states()


def test_a_clock_that_goes_back_is_carried_on_as_the_newest_before_it() -> None:
    chain = Chain()
    chain.apply(encode(frame(0, [], 2_000, commands=[CONFIGURATION])))
    assert [made.clock_ms for made in chain.apply(encode(frame(1, [], 1_000)))] == [2_000] * 3


def test_a_live_frame_shows_the_instruments_that_traded_since_the_last_one() -> None:
    chain = Chain()
    chain.apply(encode(frame(0, [GOOD], commands=[CONFIGURATION])))
    other = Tick(INSTRUMENTS[1], 100, GOOD.time_ms)
    shown = [chain.apply(record, live=True) for record in (encode(frame(1, [other])), encode(frame(2, [other])))]
    assert [[candle.instrument for candle in made.candles.live] for made in shown] == [
        sorted(INSTRUMENTS[:2]), [INSTRUMENTS[1]]
    ]  # fmt: skip


def test_a_stage_that_has_applied_no_frame_has_no_state() -> None:
    for stage in (CandleStage(LOG, RUN), TimeframeStage(LOG, RUN), IndicatorStage(LOG, RUN)):
        with pytest.raises(ValueError, match="applied no frame"):
            stage.state()


# -- Duplicates


@given(live_feeds, st.data())
def test_a_frame_that_is_not_above_the_newest_of_the_feed_counts_as_empty(
    cut: list[Batch], data: st.DataObject
) -> None:
    written = records(cut)
    at = data.draw(st.integers(1, len(written)))
    older = frame(1_000_000, ticks(rows_of(cut)), END_MS, commands=[another()], epoch=0)
    duplicate = data.draw(st.sampled_from([*written[:at], encode(older)]))
    chain = Chain()
    before = chain.run(written[:at])
    known = chain.knowledge()
    for made in chain.apply(duplicate):
        assert (made.position, made.rows, made.live, made.commands, made.unusable) == (at, [], [], [], "")
        assert made.clock_ms == before[-1].candles.clock_ms
    assert chain.knowledge() == known
    assert by_series(before + chain.run(written[at:])) == by_series(Chain().run(written))


def test_a_new_epoch_counts_from_its_first_frame() -> None:
    chain = Chain()
    chain.apply(encode(frame(500, [], commands=[CONFIGURATION])))
    made = chain.apply(encode(frame(0, [Tick(NIFTY, 100, MOMENTS[3])], epoch=2)))
    assert made.candles.accepted == 1


# -- Poison

GOOD = Tick(NIFTY, 100, MOMENTS[3])


def another(**changes: object) -> Configure:
    """A configuration that differs from the first one in everything, aside from these changes."""
    configuration = Configure(2, {5: ["SMA:2"]}, {"NSE:1594": "index"}, ALWAYS_OPEN, 0)
    return msgspec.structs.replace(configuration, **changes)


def poison(**changes: object) -> bytes:
    """A good frame, which would change the clock, the configuration and a candle, but for these changes."""
    good = frame(5, [GOOD], END_MS, commands=[another()], epoch=2)
    return encode(msgspec.structs.replace(good, **changes))


POISON: dict[str, bytes | None] = {
    "no record": None,
    "empty": b"",
    "undecodable": b"\xc1",
    "cut short": poison()[:-3],
    "another version": poison(version=VERSION + 1),
    "another log": poison(log="live-4f2a"),
    "before the calendar": poison(ticks=[GOOD, Tick(NIFTY, 100, 0)]),
    "after the calendar": poison(ticks=[GOOD, Tick(NIFTY, 100, 1 << 52)]),
    "after every calendar": poison(ticks=[GOOD, Tick(NIFTY, 100, (1 << 63) - 1)]),
    "unknown exchange": poison(ticks=[GOOD, Tick("XYZ:1", 100, MOMENTS[3])]),
    "no instrument": poison(ticks=[GOOD, Tick("", 100, MOMENTS[3])]),
    "price of nothing": poison(ticks=[GOOD, Tick(NIFTY, 0, MOMENTS[3])]),
    "negative price": poison(ticks=[GOOD, Tick(NIFTY, -1, MOMENTS[3])]),
    "negative volume": poison(ticks=[GOOD, Tick(NIFTY, 1, MOMENTS[3], -1)]),
    "no calendar": poison(commands=[another(calendar="{}")]),
    "a class without sessions": poison(
        commands=[another(classes={"NSE:7": "unheard"})], ticks=[GOOD, Tick("NSE:7", 1, MOMENTS[3])]
    ),
    "no indicator": poison(commands=[another(timeframes={5: ["SMA:2", "XMA:3"]})]),
    "no period": poison(commands=[another(timeframes={5: ["SMA"]})]),
    "a timeframe of no time": poison(commands=[another(timeframes={0: []})]),
    "negative lateness": poison(commands=[another(lateness_ms=-1)]),
}


@settings(max_examples=300)
@given(st.sampled_from(sorted(POISON)), live_feeds, st.data())
def test_poison_becomes_an_empty_frame_with_a_gap_and_changes_nothing_else(
    kind: str, cut: list[Batch], data: st.DataObject
) -> None:
    record, written = POISON[kind], records(cut)
    at = data.draw(st.integers(1, len(written)))
    chain, clean = Chain(), Chain()
    before = chain.run(written[:at])
    clean.run(written[:at])
    known = chain.knowledge()
    for made in chain.apply(record):
        assert (made.position, made.rows, made.live, made.commands) == (at, [], [], [])
        assert made.clock_ms == before[-1].candles.clock_ms
        assert made.unusable
    assert chain.knowledge() == known
    clean.apply(written[0])  # counts as empty, so that positions agree
    assert [made.record for made in chain.run(written[at:])] == [made.record for made in clean.run(written[at:])]


@pytest.mark.parametrize("record", POISON.values(), ids=POISON)
def test_poison_as_the_first_record_of_a_log_leaves_it_usable(record: bytes | None) -> None:
    chain = Chain()
    assert all(made.unusable for made in chain.apply(record))
    assert chain.apply(encode(frame(0, [GOOD], commands=[CONFIGURATION]))).candles.accepted == 1


@pytest.mark.parametrize(
    "changes", [{"classes": {NIFTY: "unheard"}}, {"calendar": NSE.replace('"index", ', "")}], ids=["class", "calendar"]
)
def test_a_configuration_that_leaves_a_known_instrument_without_sessions_is_a_gap(changes: dict[str, object]) -> None:
    chain = Chain()
    chain.apply(encode(frame(0, [GOOD], commands=[CONFIGURATION])))
    known = chain.knowledge()
    for made in chain.apply(encode(frame(1, [], commands=[another(**changes)]))):
        assert "is not covered by the calendar" in made.unusable
    assert chain.knowledge() == known


def test_seconds_that_are_open_when_a_calendar_comes_that_lacks_their_day_still_close() -> None:
    chain = Chain()
    chain.apply(encode(frame(0, [GOOD], commands=[CONFIGURATION])))
    later_years = ALWAYS_OPEN.replace("2020-01-01", "2030-01-01")
    made = chain.apply(encode(frame(1, [], END_MS, commands=[another(calendar=later_years)])))
    assert [(candle.timeframe_s, candle.count) for candle in made.timeframes.rows] == [(5, 1)]


def test_ticks_before_any_configuration_are_a_gap() -> None:
    chain = Chain()
    for made in chain.apply(encode(frame(0, [GOOD], END_MS))):
        assert made.unusable == "the log holds no configuration before these ticks"
    assert chain.apply(encode(frame(1, [GOOD], commands=[CONFIGURATION]))).candles.accepted == 1


def test_a_frame_without_ticks_before_any_configuration_carries_its_clock_on() -> None:
    made = Chain().apply(encode(frame(0, [], 1_000)))
    assert [(one.unusable, one.clock_ms) for one in made] == [("", 1_000)] * 3


# -- Commands


@given(live_feeds, st.data())
def test_a_command_that_comes_again_or_is_older_changes_nothing(cut: list[Batch], data: st.DataObject) -> None:
    configuration = msgspec.structs.replace(CONFIGURATION, id=5)
    again = data.draw(st.integers(1, len(cut) - 1)) if len(cut) > 1 else 0
    stale = another(id=data.draw(st.integers(0, 5))) if again else configuration
    once, twice = Chain(), Chain()
    once.run(records(cut, {0: configuration}))
    twice.run(records(cut, {0: configuration, again: stale}))
    assert twice.states() == once.states()


def test_of_several_commands_in_a_frame_the_newest_stands_whatever_their_order() -> None:
    commands = [another(), msgspec.structs.replace(CONFIGURATION, id=9), another(id=3)]
    chain = Chain()
    chain.apply(encode(frame(0, [GOOD], commands=commands)))
    known = [encode(stage.state().configuration) for stage in (chain.candles, chain.timeframes, chain.indicators)]
    assert known == [encode(commands[1])] * 3


# -- Reconfiguration

BEFORE = Configure(1, {7: ["SMA:2", "EMA:3", "RSI:2"], 120: ["SMA:1"]}, {}, NSE, 1000)
AFTER = Configure(2, {7: ["SMMA:2", "SMA:3", "RSI:3", "EMA:3"], 5: ["SMA:1"]}, {}, NSE, 1000)


@given(live_feeds, st.data())
def test_reconfiguration_keeps_what_stays_computes_what_is_new_and_drops_what_goes(
    cut: list[Batch], data: st.DataObject
) -> None:
    change = data.draw(st.integers(1, len(cut) - 1)) if len(cut) > 1 else 0
    changed = Chain().run(records(cut, {0: BEFORE, change: AFTER}))
    never, always = Chain().run(records(cut, {0: BEFORE})), Chain().run(records(cut, {0: AFTER}))
    if change:
        assert named(changed, 7, "EMA_3") == named(never, 7, "EMA_3")
        assert named(changed[:change], 7, "SMA_2", "RSI_2") == named(never[:change], 7, "SMA_2", "RSI_2")
    new = ("SMMA_2", "SMA_3", "RSI_3")
    assert named(changed[change:], 7, *new) == named(always[change:], 7, *new)
    later = {(value.timeframe_s, value.name) for made in changed[change:] for value in made.indicators.rows}
    assert later <= {(7, "SMMA_2"), (7, "SMA_3"), (7, "RSI_3"), (7, "EMA_3"), (5, "SMA_1")}
    assert all(candle.timeframe_s != 120 for made in changed[change:] for candle in made.timeframes.rows)


def closing(closes: list[int], *commands: Configure, position: int = 0) -> TimeframeFrame:
    rows = [Candle(NIFTY, 60, 60_000 * number, c, c, c, c, 0, 1) for number, c in enumerate(closes)]
    return TimeframeFrame(VERSION, LOG, RUN, position, 0, list(commands), "", rows, [])


@pytest.mark.parametrize("length", [300, KEPT_CLOSES, 700, 2 * KEPT_CLOSES - 1, 2 * KEPT_CLOSES, 1234])
@pytest.mark.parametrize("spec", ["SMA:500", "SMA:20", "EMA:10", "EMA:400", "SMMA:400", "RSI:400"])
def test_a_new_indicator_is_computed_over_the_closes_that_are_kept(spec: str, length: int) -> None:
    closes = [1_000_000 + number * number * 7919 % 5003 for number in range(length + 1)]
    stage = IndicatorStage(LOG, RUN)
    stage.apply(0, closing(closes[:-1], Configure(1, {60: ["SMA:2"]}, {}, NSE, 1000)), live=False)
    wanted = Configure(2, {60: [spec]}, {}, NSE, 1000)
    values = stage.apply(1, closing(closes[-1:], wanted, position=1), live=False).rows
    kept = closes[:-1][-KEPT_CLOSES:]
    textbook = indicator(spec, [*kept, closes[-1]])[-1]
    assert [value.value for value in values] == ([] if textbook is None else [pytest.approx(textbook, rel=1e-12)])


@pytest.mark.parametrize("length", [KEPT_CLOSES + 1, 700, 1234])
@pytest.mark.parametrize("spec", ["SMA:500", "EMA:400", "SMMA:400", "RSI:400"])
def test_an_indicator_that_stays_goes_on_from_all_it_has_seen(spec: str, length: int) -> None:
    closes = [1_000_000 + number * number * 7919 % 5003 for number in range(length + 1)]
    stage, undisturbed = IndicatorStage(LOG, RUN), IndicatorStage(LOG, RUN)
    for each in (stage, undisturbed):
        each.apply(0, closing(closes[:-1], Configure(1, {60: [spec]}, {}, NSE, 1000)), live=False)
    wanted = Configure(2, {60: ["EMA:7", spec]}, {}, NSE, 1000)
    _, value = stage.apply(1, closing(closes[-1:], wanted, position=1), live=False).rows
    assert [encode(value)] == [encode(same) for same in undisturbed.apply(1, closing(closes[-1:]), live=False).rows]


def test_an_instrument_whose_closes_do_not_fit_32_bits_is_restored_as_it_was() -> None:
    closes = [*range(100, 110), *(2**40 + number for number in range(20))]
    stage, restarted = IndicatorStage(LOG, RUN), IndicatorStage(LOG, RUN)
    stage.apply(0, closing(closes, CONFIGURATION, Configure(2, {60: SPECS}, {}, NSE, 1000)), live=False)
    restarted.restore(msgspec.msgpack.decode(encode(stage.state()), type=StageState[list[IndicatorSeriesState]]))
    following = closing([2**40, 5, 7], position=1)
    assert encode(restarted.apply(1, following, live=False)) == encode(stage.apply(1, following, live=False))


# -- Gaps


def test_a_gap_and_what_a_snapshot_tells_pass_through_the_stages() -> None:
    stock, open_ms = "NSE:2885", indian_ms(date(2022, 11, 28), "09:15")
    chain = Chain()
    chain.apply(encode(frame(0, [Tick(stock, 100, open_ms, 1000)], open_ms, commands=[CONFIGURATION])))
    opened = Gap([stock], open_ms + 1000)
    chain.apply(encode(msgspec.structs.replace(frame(1, [], open_ms + 90_000), gaps=[opened])))
    told = msgspec.structs.replace(
        frame(2, [Tick(stock, 110, open_ms + 95_500, 1500)], open_ms + 200_000),
        gaps=[Gap([stock], open_ms + 1000, open_ms + 95_000)],
        baselines=[Baseline(stock, open_ms + 94_000, 1400)],
    )
    made = chain.apply(encode(told))
    assert made.candles.gap_volumes == {stock: 400}
    assert [(row.volume, row.marks) for row in made.candles.rows] == [(100, 0)]
    assert {row.timeframe_s: row.marks for row in made.timeframes.rows} == {7: PARTIAL, 120: PARTIAL}
    assert made.candles.gaps == told.gaps


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        ({"gaps": [Gap(["NSE:x"], 0)]}, "instrument 'NSE:x'"),
        ({"baselines": [Baseline("1:2885", indian_ms(date(2022, 11, 28), "10:00"), 5)]}, "must be written 'NSE:2885'"),
        ({"baselines": [Baseline("NSE:2885", 0, 5)]}, "does not cover the time 0"),
    ],
)
def test_a_gap_or_snapshot_that_breaks_the_rules_poisons_its_frame(spoilt: dict[str, Any], reason: str) -> None:
    chain = Chain()
    chain.apply(encode(frame(0, [], commands=[CONFIGURATION])))
    known = chain.knowledge()
    made = chain.apply(encode(msgspec.structs.replace(frame(1, []), **spoilt)))
    assert reason in made.candles.unusable
    assert chain.knowledge() == known


# -- Recorded days


def test_every_candle_and_value_of_the_recorded_days_equals_the_brute_force(market_data: Path) -> None:
    specs = ["SMA:9", "SMA:20", "SMA:50", "SMA:200", "EMA:9", "EMA:21", "RSI:14", "SMMA:14"]
    timeframes_s = [60, 120, 180, 300]
    days = [recorded(path, NIFTY) for path in sorted(market_data.glob("*.csv*"))]
    cut: list[Batch] = [([], None)]
    for day in days:
        cut += [(day[start : start + 1000], day[start].time_ms) for start in range(0, len(day), 1000)]
        cut.append(([], day[-1].time_ms + 3_600_000))
    made = Chain().run(records(cut, {0: Configure(1, dict.fromkeys(timeframes_s, specs), {}, NSE, 1000)}))
    sessions = trading_hours(date(2022, 10, 1), date(2022, 11, 30))
    reference = expected(rows_of(cut), sessions, timeframes_s=timeframes_s, specs=specs)
    assert len(reference.candles) > 22_000 * (len(days) - 1)
    assert candles_of(made) == reference.candles
    values = values_of(made)
    assert values.keys() == reference.values.keys()
    assert all(math.isclose(value, reference.values[key], rel_tol=1e-12) for key, value in values.items())
    assert sum(one.candles.accepted for one in made) == len(reference.accepted)
    assert sum(one.candles.out_of_session for one in made) == len(reference.out_of_session)
