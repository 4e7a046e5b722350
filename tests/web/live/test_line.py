"""The laws of a line, and of reading names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.sinks.channel_name import ChannelName
from web.live.channel import REMEMBERED, Channel, Message, position_groups
from web.live.message_header import MessageHeader

CHANNEL = ChannelName.of_candles("NSE:1", 60)
TOLD = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from([-1, 0, 1])), unique=True, max_size=60
).map(lambda steps: [(sum(step for step, _, _ in steps[: n + 1]), ts, rev) for n, (_, ts, rev) in enumerate(steps)])


def message(position: int, ts: int, revision: int, number: int = 0) -> Message:
    text = b"%d %d %d" % (position, ts, revision)
    return Message(MessageHeader(position, 0, ts, revision=revision), text, text, number)


def taken(line: Channel, told: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """What of it is news."""
    news = []
    for one in told:
        if line.is_news(message(*one).marks):
            line.number += 1
            line.remember(message(*one, line.number))
            news.append(one)
    return news


@given(TOLD, st.data())
def test_what_is_said_again_from_any_place_on_is_told_once(
    told: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    told = sorted(set(told))
    line = Channel(CHANNEL)
    cut = data.draw(st.integers(0, len(told)))
    again = data.draw(st.integers(0, cut))
    while 0 < again < len(told) and told[again][0] == told[again - 1][0]:
        again -= 1  # those of one position are said together
    while 0 < cut < len(told) and told[cut][0] == told[cut - 1][0]:
        cut += 1
    assert taken(line, told[:cut]) + taken(line, told[again:]) == told


@given(st.integers(0, 2 * REMEMBERED), st.integers(-1, 2 * REMEMBERED))
def test_a_line_has_all_beyond_its_since(count: int, position: int) -> None:
    line = Channel(CHANNEL)
    line.heard_from = {0: 3}
    told = [(n // 2, n % 2, -1) for n in range(count)]
    taken(line, told)
    assert line.since is not None
    assert line.since >= 3 or line.partition is None
    place = max(position, line.since)
    assert [one.marks.position for one in line.beyond(place)] == [p for p, _, _ in told if p > place]
    assert len(line.memory) == min(count, REMEMBERED)
    assert line.forgotten == max(0, count - REMEMBERED)


@given(TOLD)
def test_groups_hold_all_of_a_position(told: list[tuple[int, int, int]]) -> None:
    found = position_groups([message(*one) for one in sorted(set(told))])
    assert [group.position for group in found] == sorted({position for position, _, _ in told})
    lines = [line for group in found for line in group.text.split(b"\n")]
    assert lines == [b"%d %d %d" % one for one in sorted(set(told))]


@pytest.mark.parametrize("text", ["pub:tick:NSE:2885", "pub:candle:60s:BSE:1", "pub:ind:SMA_20:60s:NSE:2885"])
def test_a_name_that_is_read_is_written_the_same(text: str) -> None:
    assert str(ChannelName.parse(text)) == text


@given(st.text() | st.from_regex(r"pub:(tick|candle:.{0,4}s|ind:.{0,8}s):.{0,6}:.{0,4}"))
def test_what_can_be_read_is_safe_in_json(text: str) -> None:
    found = ChannelName.parse(text)
    assert found is None or (str(found) == text and text.isascii() and not set(text) & set('"\\\n'))
