"""What frames become in Redis."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.log.frames import (
    CANDLES,
    INDICATORS,
    TICKS,
    TIMEFRAMES,
    CandleFrame,
    Configure,
    IndicatorFrame,
    IndicatorValue,
    TickFrame,
    TimeframeFrame,
)
from topology.market.candle import BROKER, Candle
from topology.market.history import History
from topology.market.ticks import Tick
from topology.sinks.cursor import StoredFrame
from topology.sinks.mirror.streams import (
    ENTRIES_PER_MB,
    HISTORY_PUBLISHED,
    Command,
    ListenedChannels,
    StreamCommands,
    listened_channels,
    stream_lengths,
)

NIFTY, RELIANCE = "NSE:99926000", "NSE:2885"


def candle(instrument: str, start_ms: int, close: int = 105) -> Candle:
    return Candle(instrument, 1, start_ms, 100, 110, 90, close, 5, 3)


def candles(position: int, rows: Sequence[Candle], *, live: Sequence[Candle] = (), partition: int = 0) -> StoredFrame:
    frame = CandleFrame(1, "log", 1, position, 0, [], "", list(rows), list(live))
    return StoredFrame(CANDLES, partition, position, frame)


def ticks(position: int, *given: Tick) -> StoredFrame:
    return StoredFrame(TICKS, 0, position, TickFrame(1, "log", 1, position, 0, 0, [], list(given)))


def test_a_stream_is_as_long_as_clients_expect_where_memory_allows() -> None:
    assert stream_lengths(50, {60: 7, 120: 7, 3600: 1}, budget_mb=2048) == {1: 12000, 60: 280, 120: 200, 3600: 200}


@given(
    instruments=st.integers(1, 10_000),
    indicators=st.dictionaries(st.integers(5, 86_400), st.integers(0, 20), max_size=8),
    budget_mb=st.integers(64, 8192),
)
def test_all_streams_together_fit_the_budget_but_for_an_entry_each(
    instruments: int, indicators: dict[int, int], budget_mb: int
) -> None:
    lengths = stream_lengths(instruments, indicators, budget_mb=budget_mb)
    streams = instruments * (1 + sum(1 + count for count in indicators.values()))
    entries = instruments * sum(length * (1 + indicators.get(seconds, 0)) for seconds, length in lengths.items())

    assert all(length >= 1 for length in lengths.values())
    assert entries <= budget_mb * ENTRIES_PER_MB + streams  # each keeps one at least


def test_the_length_of_streams_follows_the_instruments_seen_and_those_of_other_partitions() -> None:
    streams = StreamCommands(partitions=4, budget_mb=1)  # room for 5,000 entries
    rows = [candle(f"NSE:{number}", 1000) for number in range(10)]
    (*_, last) = streams.commands([candles(0, rows)], live=True)

    assert last.length == 5_000 // 40
    (*_, last) = streams.commands([candles(0, rows, partition=1)], live=True)
    assert last.length == 5_000 // 20


def test_final_rows_are_added_in_order_channel_by_channel_with_the_start_of_their_candle_as_id() -> None:
    rows = [candle(NIFTY, 1000), candle(RELIANCE, 1000), candle(NIFTY, 2000)]
    commands = StreamCommands(partitions=1, budget_mb=1).commands([candles(0, rows)], live=True)

    assert [(c.how, c.name, c.instrument, c.id) for c in commands] == [
        ("add", "candle:1s", RELIANCE, "1000-0"),
        ("add", "candle:1s", NIFTY, "1000-0"),
        ("add", "candle:1s", NIFTY, "2000-0"),
    ]


def test_of_live_values_only_the_newest_is_said_and_none_when_they_have_waited() -> None:
    frames = [candles(0, [], live=[candle(NIFTY, 1000, close=1)]), candles(1, [], live=[candle(NIFTY, 1000, close=2)])]
    streams = StreamCommands(partitions=1, budget_mb=1)
    (said,) = streams.commands(frames, live=True)

    assert (said.how, said.name) == ("say", "candle:1s")
    assert b'"close":2' in said.data
    assert b'"forming":true' in said.data
    assert b'"position":1' in said.data
    assert streams.commands(frames, live=False) == []


def test_of_ticks_the_newest_of_each_instrument_is_set_also_when_an_older_one_comes_after_it() -> None:
    (nifty, reliance) = StreamCommands(partitions=1, budget_mb=1).commands(
        [
            ticks(7, Tick(NIFTY, 100, 1500), Tick(RELIANCE, 50, 1600)),
            ticks(8, Tick(NIFTY, 102, 1900), Tick(NIFTY, 101, 1700)),
        ],
        live=False,
    )

    assert (nifty.how, nifty.name, reliance.instrument) == ("set", "tick", RELIANCE)
    assert b'"price":102' in nifty.data
    assert b'"position":8' in nifty.data


def timeframes(position: int, rows: list[Candle], *histories: History) -> StoredFrame:
    frame = TimeframeFrame(1, "log", 1, position, 0, [], "", rows, [], list(histories))
    return StoredFrame(TIMEFRAMES, 0, position, frame)


def minutes(count: int, revision: int, *, reset: bool = False) -> History:
    """History of as many minutes; the close of each is its number."""
    told = [Candle(NIFTY, 60, 60_000 * at, 1, 1_000_000, 1, at + 1, 0, 0, BROKER) for at in range(count)]
    return History(NIFTY, 60, told, revision, reset)


def test_what_history_fills_in_and_corrects_is_only_said_after_the_rows_of_its_frame() -> None:
    row = Candle(RELIANCE, 60, 60_000, 1, 2, 1, 2, 0, 3)
    frames = [timeframes(3, [row], minutes(2, 1), minutes(1, 0)), timeframes(4, [row])]
    commands = StreamCommands(partitions=1, budget_mb=1).commands(frames, live=False)

    assert [(c.how, c.name, c.instrument) for c in commands] == [
        ("add", "candle:60s", RELIANCE),
        *[("say", "candle:60s", NIFTY)] * 3,
        ("add", "candle:60s", RELIANCE),
    ]
    assert [
        (told["close"], told["source"], told["revision"], told["position"])
        for told in (msgspec.json.decode(command.data) for command in commands[1:4])
    ] == [(1, "broker", 1, 3), (2, "broker", 1, 3), (1, "broker", 0, 3)]
    assert b"revision" not in commands[0].data


@pytest.mark.parametrize("revision", [0, 1])
def test_of_much_history_only_the_newest_is_said_and_none_where_it_starts_afresh(revision: int) -> None:
    frames = [
        timeframes(
            0, [], minutes(HISTORY_PUBLISHED + 2, revision), minutes(HISTORY_PUBLISHED + 1, revision, reset=True)
        )
    ]
    commands = StreamCommands(partitions=1, budget_mb=1).commands(frames, live=True)

    closes = [msgspec.json.decode(command.data)["close"] for command in commands]
    assert closes == list(range(3, HISTORY_PUBLISHED + 3))


def test_history_that_starts_afresh_and_is_not_too_much_is_said() -> None:
    commands = StreamCommands(partitions=1, budget_mb=1).commands(
        [timeframes(0, [], minutes(HISTORY_PUBLISHED, 0, reset=True))], live=True
    )

    assert len(commands) == HISTORY_PUBLISHED


def test_an_indicator_is_named_by_its_timeframe_too() -> None:
    value = IndicatorValue(NIFTY, "SMA_9", 60, 60_000, 1.5)
    frame = IndicatorFrame(1, "log", 1, 0, 0, [], "", [value], [])
    (command,) = StreamCommands(partitions=1, budget_mb=1).commands([StoredFrame(INDICATORS, 0, 0, frame)], live=True)

    assert (command.name, command.id) == ("ind:SMA_9:60s", "60000-0")


def everything() -> dict[str, list[StoredFrame]]:
    """By stage, a frame or two with rows, history and live values of two instruments."""
    names = (NIFTY, RELIANCE)
    head = (1, "log", 1, 0, 0, list[Configure](), "")
    bars = [Candle(name, 60, 60_000, 1, 2, 1, 2, 0, 3) for name in names]
    values = [IndicatorValue(name, kind, 60, 60_000, 1.5) for name in names for kind in ("SMA_9", "RSI_14")]
    seconds = [candle(name, 1000) for name in names]
    return {
        TICKS: [ticks(0, *(Tick(name, 100, 1500) for name in names)), ticks(1, Tick(NIFTY, 101, 1600))],
        CANDLES: [candles(0, seconds, live=seconds), candles(1, [], live=seconds)],
        TIMEFRAMES: [StoredFrame(TIMEFRAMES, 0, 0, TimeframeFrame(*head, bars, bars, [minutes(2, 1)]))],
        INDICATORS: [StoredFrame(INDICATORS, 0, 0, IndicatorFrame(*head, values, values))],
    }


def commands_of(stage: str, *, listened: ListenedChannels | None = None) -> list[Command]:
    return StreamCommands(partitions=1, budget_mb=1).commands(everything()[stage], live=True, listened=listened)


def channel(command: Command) -> str:
    return f"pub:{command.name}:{command.instrument}"


def is_live(command: Command) -> bool:
    return b'"forming":true' in command.data or b'"live":true' in command.data


CHANNELS = sorted({channel(command) for stage in everything() for command in commands_of(stage)})


@pytest.mark.parametrize("stage", everything())
@given(channels=st.sets(st.sampled_from([*CHANNELS, "pub:", "pub:NSE", "pub:x:99926000", "pub:a:b:c:NSE:2885:d"])))
def test_only_what_is_for_eyes_only_depends_on_what_is_watched_and_is_said_there_alone(
    stage: str, channels: set[str]
) -> None:
    assert commands_of(stage, listened=listened_channels(channels)) == [
        command._replace(how="keep") if command.how == "set" and channel(command) not in channels else command
        for command in commands_of(stage)
        if not is_live(command) or channel(command) in channels
    ]


def test_there_is_something_of_each_kind_to_be_watched() -> None:
    assert CHANNELS == [
        "pub:candle:1s:NSE:2885",
        "pub:candle:1s:NSE:99926000",
        "pub:candle:60s:NSE:2885",
        "pub:candle:60s:NSE:99926000",
        "pub:ind:RSI_14:60s:NSE:2885",
        "pub:ind:RSI_14:60s:NSE:99926000",
        "pub:ind:SMA_9:60s:NSE:2885",
        "pub:ind:SMA_9:60s:NSE:99926000",
        "pub:tick:NSE:2885",
        "pub:tick:NSE:99926000",
    ]
