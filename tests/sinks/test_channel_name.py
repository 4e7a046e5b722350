"""Names of channels are read as they are built."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.sinks.channel_name import ChannelName

INSTRUMENTS = st.from_regex(r"(NSE|BSE|NFO|MCX):[0-9]{1,25}", fullmatch=True)
TIMEFRAMES_S = st.integers(1, 86_400)
INDICATORS = st.from_regex(r"(SMA|EMA|RSI|SMMA)_[1-9][0-9]{0,2}", fullmatch=True)
NAMES = (
    st.builds(ChannelName.of_ticks, INSTRUMENTS)
    | st.builds(ChannelName.of_candles, INSTRUMENTS, TIMEFRAMES_S)
    | st.builds(ChannelName.of_indicator, INSTRUMENTS, INDICATORS, TIMEFRAMES_S)
)


@given(NAMES)
def test_a_name_that_is_built_is_read_the_same(name: ChannelName) -> None:
    assert ChannelName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["pub:tick:NSE:2885", "pub:candle:60s:BSE:1", "pub:ind:SMA_20:60s:NSE:2885"])
def test_a_name_that_is_read_is_written_the_same(text: str) -> None:
    assert str(ChannelName.parse(text)) == text


@given(st.text() | st.from_regex(r"pub:(tick|candle:.{0,4}s|ind:.{0,8}s):.{0,6}:.{0,4}"))
def test_what_can_be_read_is_safe_in_json(text: str) -> None:
    name = ChannelName.parse(text)
    assert name is None or (str(name) == text and text.isascii() and not set(text) & set('"\\\n'))
