"""A timeframe that comes while candles form, and the history it is given, held to what it would be had it always been.

The archive is played by what the second stage has made; history is recalled from it as a reload does it.
"""

from collections import defaultdict

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.brute_force import Row, indian_ms
from tests.support.generated import END_MS, INSTRUMENTS, MONDAY, Batch, live_batches, recordings
from tests.support.stage_chain import NSE, Chain, Made, frame, named, records
from topology.log.frames import Configure, IndicatorValue, encode
from topology.market import Calendar, Candle, Tick
from topology.market.candle import PARTIAL
from topology.market.history import History, resampled_history
from topology.market.instruments import default_class
from topology.market.times import Interval

LATENESS_MS = 1000
SPECS = ["SMA:2", "EMA:2", "RSI:1", "SMMA:2"]
BEFORE = Configure(1, {5: ["SMA:2"], 60: ["EMA:2"]}, {}, NSE, LATENESS_MS)
AFTER = Configure(2, {15: SPECS, 60: ["EMA:2"], 120: SPECS}, {}, NSE, LATENESS_MS)
ALWAYS = Configure(1, {5: [], **AFTER.timeframes}, {}, NSE, LATENESS_MS)
NEW = {15: 5, 120: 60}  # timeframes that come, and the longest there is that divides them
CALENDAR = Calendar.parse(NSE)


@st.composite
def clocked(draw: st.DrawFn, rows: list[Row]) -> list[Batch]:
    """Cut rows in order, with clocks as a feed of one clock has them: no row is newer than the clock after it."""
    cut: list[Batch] = []
    start = 0
    while start < len(rows):
        end = draw(st.integers(start + 1, len(rows)))
        coming_ms = rows[end].time_ms if end < len(rows) else END_MS
        ahead_ms = draw(st.sampled_from([0, 1, 1000, 2500, 4000, 70_000]))
        cut.append((rows[start:end], min(coming_ms, rows[end - 1].time_ms + ahead_ms)))
        start = end
    return [*cut, ([], END_MS)]


def archived(made: list[Made]) -> tuple[list[Candle], int]:
    """What an archive holds of these frames: candles, and up to when all have closed."""
    rows = [row for one in made for row in one.timeframes.rows]
    return rows, made[-1].timeframes.clock_ms - LATENESS_MS if made else 0


def told(made: list[Made]) -> list[History]:
    rows, until_ms = archived(made)
    found = []
    for timeframe_s, part_s in NEW.items():
        for instrument in INSTRUMENTS:
            parts = [row for row in rows if (row.instrument, row.timeframe_s) == (instrument, part_s)]
            of_class = default_class(instrument)
            found.append(
                resampled_history(
                    parts, CALENDAR, of_class, History(instrument, timeframe_s, [], 0), Interval(0, until_ms)
                )
            )
    return found


def new_candles(made: list[Made], *, history: bool = False) -> dict[tuple[str, int, int], Candle]:
    """The candles of the timeframes that come, with those of history where they have not come otherwise."""
    rows = [row for one in made for row in one.timeframes.rows]
    filled_in = [row for one in made for told in one.timeframes.history for row in told.candles] if history else []
    return {
        (row.instrument, row.timeframe_s, row.start_ms): row for row in [*filled_in, *rows] if row.timeframe_s in NEW
    }


def new_values(made: list[Made]) -> dict[tuple[str, int], list[IndicatorValue]]:
    found = defaultdict(list)
    for one in made:
        for value in one.indicators.rows:
            if value.timeframe_s in NEW:
                found[value.instrument, value.timeframe_s].append(value)
    return found


@settings(max_examples=300, deadline=None)
@given(recordings().flatmap(clocked), st.data())
def test_a_timeframe_that_comes_with_its_history_is_as_if_it_had_always_been(
    cut: list[Batch], data: st.DataObject
) -> None:
    change = data.draw(st.integers(1, len(cut)))
    cut = [*cut[:change], ([], None), *cut[change:]]  # the command and the history come by themselves
    before = Chain().run(records(cut, {0: BEFORE})[:change])
    changed = Chain().run(records(cut, {0: BEFORE, change: AFTER}, {change: told(before)}))
    always = Chain().run(records(cut, {0: ALWAYS}))
    closed_ms = archived(before)[1]
    seen = {(row.instrument, row.time_ms) for rows, _ in cut for row in rows if row.time_ms // 1000 < closed_ms // 1000}
    candles, whole = new_candles(changed, history=True), new_candles(always)
    assert candles.keys() == whole.keys()
    for key, candle in candles.items():
        if any(instrument == key[0] and key[2] <= time_ms < key[2] + key[1] * 1000 for instrument, time_ms in seen):
            assert candle == whole[key]
        else:  # where no second had closed the mark is too careful
            assert msgspec.structs.replace(candle, marks=candle.marks & ~PARTIAL) == whole[key]
    assert new_values(changed) == new_values(always[change:])
    assert named(changed, 60, "EMA_2") == named(Chain().run(records(cut, {0: BEFORE})), 60, "EMA_2")


@settings(max_examples=300, deadline=None)
@given(recordings(disorder_ms=4000).flatmap(live_batches), st.booleans(), st.data())
def test_whatever_an_archive_lacks_a_candle_is_whole_or_says_that_it_is_not(
    cut: list[Batch], live: bool, data: st.DataObject
) -> None:
    change = data.draw(st.integers(0, len(cut) - 1))
    read = data.draw(st.integers(0, len(cut) - 1))
    at = data.draw(st.integers(max(change, read), len(cut) - 1))
    configured = {0: BEFORE, change: AFTER} if change else {0: AFTER}
    known = Chain().run(records(cut, {0: BEFORE})[: read + 1])
    changed = Chain().run(records(cut, configured, {at: told(known)} if at else {}), live=live)
    always = Chain().run(records(cut, {0: ALWAYS}), live=live)
    whole = new_candles(always)
    for key, candle in new_candles(changed).items():
        assert candle == whole[key] or candle.marks & PARTIAL
    for one, other in zip(changed, always, strict=True):
        shown = {(row.instrument, row.timeframe_s, row.start_ms): row for row in other.timeframes.live}
        for row in one.timeframes.live:
            if row.timeframe_s in NEW:
                assert row == shown[row.instrument, row.timeframe_s, row.start_ms] or row.marks & PARTIAL


@given(recordings().flatmap(clocked), st.data())
def test_a_restart_between_the_timeframe_and_its_history_changes_nothing(cut: list[Batch], data: st.DataObject) -> None:
    change = data.draw(st.integers(0, len(cut) - 1))
    at = data.draw(st.integers(change, len(cut) - 1))
    configured = {0: BEFORE, change: AFTER} if change else {0: AFTER}
    history = told(Chain().run(records(cut, {0: BEFORE})[: change + 1]))
    written = records(cut, configured, {at: history})
    restart = data.draw(st.integers(1, len(written)))
    straight = Chain()
    straight.run(written[:restart])
    restarted = Chain.restored(straight.states(), straight.position)
    assert [one.record for one in restarted.run(written[restart:])] == [
        one.record for one in straight.run(written[restart:])
    ]


NIFTY, (OPEN_MS, MINUTE_MS) = INSTRUMENTS[0], (indian_ms(MONDAY, "09:15"), 60_000)


def begun(chain: Chain, until_ms: int, *, added: dict[int, list[str]]) -> None:
    """Trade once in each second up to a time, and add a timeframe then."""
    ticks = [Tick(NIFTY, 100 + n % 7, time_ms) for n, time_ms in enumerate(range(OPEN_MS, until_ms, 1000))]
    chain.apply(encode(frame(0, ticks, until_ms, commands=[BEFORE])))
    chain.apply(encode(frame(1, [], until_ms, commands=[Configure(2, added, {}, NSE, LATENESS_MS)])))


def closed(chain: Chain, timeframe_s: int) -> Candle:
    rows = chain.apply(encode(frame(9, [], END_MS))).timeframes.rows
    (found,) = [row for row in rows if row.timeframe_s == timeframe_s]
    return found


def test_a_timeframe_that_nothing_divides_says_that_its_first_candle_is_not_whole() -> None:
    chain = Chain()
    begun(chain, OPEN_MS + 30_000, added={7: []})
    chain.apply(encode(frame(2, [Tick(NIFTY, 100, OPEN_MS + 30_000)], OPEN_MS + 30_000)))
    assert closed(chain, 7).marks == PARTIAL


def test_a_candle_whose_beginning_has_not_come_says_so_until_it_comes() -> None:
    chain = Chain()
    begun(chain, OPEN_MS + 90_000, added={120: []})
    forming = Chain.restored(chain.states(), chain.position)
    assert (closed(forming, 120).marks, closed(Chain.restored(chain.states(), 2), 120).count) == (PARTIAL, 30)
    minute = Candle(NIFTY, 60, OPEN_MS, 90, 120, 80, 100, 0, 60)
    history = [History(NIFTY, 120, [], 0, begun=[minute], until_ms=OPEN_MS + MINUTE_MS)]
    for _ in range(2):  # it may come again
        chain.apply(encode(frame(3, [], history=history)))
    assert closed(chain, 120) == Candle(NIFTY, 120, OPEN_MS, 90, 120, 80, 105, 0, 90)


def test_a_beginning_that_is_known_in_part_only_is_not_taken() -> None:
    chain = Chain()
    begun(chain, OPEN_MS + 90_000, added={120: []})
    minute = Candle(NIFTY, 60, OPEN_MS, 90, 120, 80, 100, 0, 60)
    beside = [Candle(NIFTY, 40, OPEN_MS + n * 40_000, 90, 120, 80, 100, 0, 40) for n in range(2)]
    for number, (parts, until_ms) in enumerate([([minute], OPEN_MS + 59_999), (beside, OPEN_MS + 60_000)]):
        history = [History(NIFTY, 120, [], 0, begun=parts, until_ms=until_ms)]
        assert chain.apply(encode(frame(3 + number, [], history=history))).candles.unusable == ""
    assert closed(chain, 120).marks == PARTIAL


def test_a_beginning_that_comes_when_its_candle_has_closed_is_too_late() -> None:
    chain = Chain()
    begun(chain, OPEN_MS + 90_000, added={120: []})
    rows = chain.apply(encode(frame(2, [], OPEN_MS + 121_000))).timeframes.rows
    minute = Candle(NIFTY, 60, OPEN_MS, 90, 120, 80, 100, 0, 60)
    history = [History(NIFTY, 120, [], 0, begun=[minute], until_ms=OPEN_MS + MINUTE_MS)]
    chain.apply(encode(frame(3, [], history=history)))
    rows += chain.apply(encode(frame(4, [], END_MS))).timeframes.rows
    assert [(row.start_ms, row.count, row.marks) for row in rows] == [(OPEN_MS, 30, PARTIAL)]
