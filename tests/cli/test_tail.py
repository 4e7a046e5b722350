from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import CommandLine, Done, WrittenLog
from tests.support.masters import LISTED, keep
from topology.angel.master.listings import FILE_NAME
from topology.cli.tail import of_instrument
from topology.log.frames import VERSION, CandleFrame, TickFrame
from topology.log.partition import partition_of
from topology.market.candle import Candle
from topology.market.second_candles import LateTick
from topology.market.ticks import Tick
from topology.settings import Settings

ROOT = Path(__file__).parents[2]
OPEN_MS = 1_669_088_700_000  # 2022-11-22 09:15 IST
NIFTY, RELIANCE, SBIN = "NSE:99926000", "NSE:2885", "NSE:3045"
INSTRUMENTS = st.sampled_from([NIFTY, RELIANCE, SBIN])


def candle(instrument: str) -> Candle:
    return Candle(instrument, 1, OPEN_MS, 1, 1, 1, 1, 0, 1)


@given(st.lists(INSTRUMENTS), st.lists(INSTRUMENTS), st.lists(INSTRUMENTS), INSTRUMENTS)
def test_a_filtered_frame_holds_all_that_the_instrument_has_in_it_and_nothing_else(
    rows: list[str], live: list[str], late: list[str], wanted: str
) -> None:
    frame = CandleFrame(
        VERSION, "log", 0, 7, OPEN_MS, [], "", [candle(i) for i in rows], [candle(i) for i in live],
        late=[LateTick(i, OPEN_MS, 5) for i in late],
    )  # fmt: skip
    kept = of_instrument(frame, wanted)
    counts = [names.count(wanted) for names in (rows, live, late)]
    if kept is None:
        assert sum(counts) == 0
    else:
        assert [len(kept.rows), len(kept.live), len(kept.late)] == counts
        assert {row.instrument for row in kept.rows + kept.live + kept.late} == {wanted}
        assert kept.position == frame.position


def test_a_tick_frame_is_filtered_by_its_ticks() -> None:
    ticks = [Tick(NIFTY, 1, OPEN_MS), Tick(SBIN, 2, OPEN_MS)]
    kept = of_instrument(TickFrame(VERSION, "log", 1, 1, OPEN_MS, 0, [], ticks), SBIN)
    assert kept is not None
    assert kept.ticks == ticks[1:]


@pytest.fixture
def twenty(written: WrittenLog) -> WrittenLog:
    """Twenty frames a second apart, in turn on both partitions; the first of each holds the configuration."""
    for n in range(20):
        commands = written.log.commands if n < 2 else []
        ticks = [Tick(NIFTY, 100 + n, OPEN_MS + n * 1000), Tick(SBIN, 5, OPEN_MS + n * 1000)] if n % 4 == 0 else []
        written.write(n % 2, written.frame(OPEN_MS + n * 1000, ticks, commands))
    return written


def frames(done: Done) -> list[dict[str, Any]]:
    assert done.code == 0
    return [json.loads(line) for line in done.lines]


def test_without_options_the_newest_ten_are_printed_in_the_order_of_their_clocks(
    topology: CommandLine, settings: Settings, twenty: WrittenLog
) -> None:
    printed = frames(topology(settings, "tail", "ticks"))
    assert [frame["clock_ms"] for frame in printed] == [OPEN_MS + n * 1000 for n in range(10, 20)]
    assert {frame["partition"] for frame in printed} == {0, 1}


def test_the_count_is_of_the_newest_or_from_the_start_of_the_oldest(
    topology: CommandLine, settings: Settings, twenty: WrittenLog
) -> None:
    newest = frames(topology(settings, "tail", "candles_1s", "--count", "3"))
    assert [frame["position"] for frame in newest] == [8, 9, 9]
    oldest = frames(topology(settings, "tail", "ticks", "--from-start", "--count", "3"))
    assert len(oldest) == 3
    assert oldest[0]["offset"] == 0
    assert len(frames(topology(settings, "tail", "indicators", "--from-start"))) == 20
    assert len(frames(topology(settings, "tail", "indicators", "--count", "100"))) == 20


def test_fields_have_their_names_and_a_calendar_is_shown_by_its_version(
    topology: CommandLine, settings: Settings, twenty: WrittenLog
) -> None:
    first = frames(topology(settings, "tail", "ticks", "--count", "20"))[0]
    assert first["ticks"][0] == {
        "instrument": NIFTY, "price": 100, "time_ms": OPEN_MS, "day_volume": None, "quantity": None,
        "high": None, "low": None,
    }  # fmt: skip
    (command,) = first["commands"]
    assert command["timeframes"] == {"60": ["SMA:2", "EMA:2"], "300": ["SMA:2", "EMA:2"]}
    assert command["calendar"].startswith("NSE and BSE")
    assert len(command["calendar"]) < 100


def test_an_instrument_is_looked_for_through_all_that_there_is(
    topology: CommandLine, settings: Settings, written: WrittenLog
) -> None:
    place = partition_of(NIFTY, 2)
    tick = Tick(NIFTY, 100, OPEN_MS)
    written.write(place, written.frame(OPEN_MS, [tick, Tick(SBIN, 1, OPEN_MS)], written.log.commands))
    written.write(place, *(written.frame(OPEN_MS + n, [Tick(SBIN, 1, OPEN_MS)]) for n in range(1, 40)), derive=0)
    for options in ([], ["--from-start"]):
        (frame,) = frames(topology(settings, "tail", "ticks", "--instrument", "1:99926000", *options))
        assert [tick["instrument"] for tick in frame["ticks"]] == [NIFTY]


def test_an_instrument_goes_by_its_symbol_where_there_is_a_master(
    topology: CommandLine, settings: Settings, written: WrittenLog, tmp_path: Path
) -> None:
    settings = replace(settings, data_dir=tmp_path)
    keep(settings.namespace_dir / FILE_NAME, LISTED)
    ticks = [Tick(NIFTY, 100, OPEN_MS), Tick(SBIN, 1, OPEN_MS)]
    written.write(partition_of(SBIN, 2), written.frame(OPEN_MS, ticks, written.log.commands))
    (frame,) = frames(topology(settings, "tail", "ticks", "--instrument", "sbin-eq"))
    assert [tick["instrument"] for tick in frame["ticks"]] == [SBIN]


def test_commands_begin_with_the_header_of_the_log(
    topology: CommandLine, settings: Settings, written: WrittenLog
) -> None:
    header, configuration = frames(topology(settings, "tail", "commands"))
    assert header["log"] == written.log.header.log
    assert configuration["id"] == 1


def test_a_record_that_cannot_be_read_is_shown_as_such(
    topology: CommandLine, settings: Settings, written: WrittenLog
) -> None:
    written.write(0, written.frame(OPEN_MS, commands=written.log.commands))
    spoilt = TickFrame(99, "", 0, 0, OPEN_MS, 0, [], [])
    written.write(0, spoilt, derive=0)
    _, line = frames(topology(settings, "tail", "ticks"))
    assert line["offset"] == 1
    assert "version 99" in line["unreadable"]


def test_an_empty_topic_prints_nothing(topology: CommandLine, settings: Settings, written: WrittenLog) -> None:
    assert frames(topology(settings, "tail", "dead_letters")) == []


def test_following_prints_what_comes_until_ctrl_c(settings: Settings, written: WrittenLog) -> None:
    written.write(0, written.frame(OPEN_MS, commands=written.log.commands))
    code = (
        "import sys, dataclasses; from topology.cli import main; from topology.settings import load\n"
        f"main.load = lambda: dataclasses.replace(load(), namespace={settings.namespace!r})\n"
        "sys.exit(main.main(['tail', 'candles_1s', '--follow']))"
    )
    env = os.environ | {"BROKER_URL": settings.broker_url, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        assert json.loads(process.stdout.readline())["position"] == 0
        for position in (1, 2):
            written.write(0, written.frame(OPEN_MS + position))
            assert json.loads(process.stdout.readline())["position"] == position
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""
