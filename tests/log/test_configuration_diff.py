"""What a reload makes of a configuration."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology import indicators
from topology.indicators import TYPES
from topology.log.configuration_diff import ConfigurationError, configuration_diff, requested_configuration
from topology.log.frames import Configure

SPECS = st.lists(st.sampled_from(["SMA:9", "SMA:20", "EMA:21", "RSI:14", "SMMA:5"]), unique=True)
ASKED = st.dictionaries(st.sampled_from([5, 60, 120, 300, 86_400]), SPECS, min_size=1)
CURRENT = Configure(7, {60: ["SMA:9", "RSI:14"], 300: ["SMA:9"]}, {"NSE:7": "index"}, "a calendar", 500)


def names(timeframes: dict[int, list[str]]) -> set[str]:
    return {f"{indicators.name(spec)}:{seconds}" for seconds, specs in timeframes.items() for spec in specs} | {
        f"candles:{seconds}" for seconds in timeframes
    }


@given(ASKED, ASKED)
def test_all_that_is_asked_for_is_computed_then_and_nothing_else(
    before: dict[int, list[str]], asked: dict[int, list[str]]
) -> None:
    current = msgspec.structs.replace(CURRENT, timeframes=before)
    wanted = requested_configuration(current, asked.items())
    assert wanted.timeframes == asked
    assert msgspec.structs.replace(wanted, id=7, timeframes=before) == current
    preserved, created, removed = configuration_diff(current, wanted)
    assert set(preserved) == names(before) & names(asked)
    assert set(created) == names(asked) - names(before)
    assert set(removed) == names(before) - names(asked)
    assert len(preserved) + len(created) == len(names(asked))


@given(ASKED)
def test_what_is_asked_for_again_changes_nothing(asked: dict[int, list[str]]) -> None:
    once = requested_configuration(CURRENT, asked.items())
    again = configuration_diff(
        once, requested_configuration(once, [(seconds, specs[::-1]) for seconds, specs in asked.items()])
    )
    assert not again
    assert set(again.preserved) == names(asked)


def test_indicators_are_told_by_name_and_timeframe_and_candles_as_such() -> None:
    assert configuration_diff(CURRENT, requested_configuration(CURRENT, [(900, []), (60, [" sma:34", "rsi:14"])])) == (
        ["candles:60", "RSI_14:60"], ["SMA_34:60", "candles:900"], ["SMA_9:60", "candles:300", "SMA_9:300"]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ([], "no timeframe is named: name at least one"),
        ([(4, [])], "timeframe 4 s: from 5 to 86400 seconds"),
        ([(86_401, [])], "timeframe 86401 s: from 5 to 86400 seconds"),
        ([(60, ["XMA:3"])], f"timeframe 60 s: indicator 'XMA:3': no type 'XMA'; there are {', '.join(TYPES)}"),
        ([(60, ["SMA:501"])], "timeframe 60 s: indicator 'SMA:501': the period of SMA is a whole number from 1 to 500"),
        ([(60, ["SMA:0"])], "timeframe 60 s: indicator 'SMA:0': the period of SMA is a whole number from 1 to 500"),
        ([(60, ["SMA:9", "sma:9"])], "timeframe 60 s: indicator 'SMA:9' is there twice; name each one once"),
        ([(60, []), (60, ["SMA:9"])], "timeframe 60 s is there twice: name each one once"),
        ([(60, [""])], "timeframe 60 s: indicator '': write TYPE:PERIOD, as in SMA:20"),
        ([(60, ["SMA:9,EMA:9"])], "timeframe 60 s: indicator 'SMA:9,EMA:9': the period of SMA is a whole number"),
    ],
)
def test_what_cannot_be_computed_is_refused_with_the_reason(asked: list[tuple[int, list[str]]], reason: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        requested_configuration(CURRENT, [(120, ["SMA:9"]), *asked] if asked else [])
    assert str(refused.value).startswith(reason)
