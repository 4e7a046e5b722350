"""The laws of a channel: what it remembers, and how messages are grouped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from topology.sinks.channel_name import ChannelName
from web.live.channel import REMEMBERED, Channel, Message, position_groups
from web.live.channel_state import ConfirmedMessage, SubscriptionReady
from web.live.message_header import MessageHeader

NAME = ChannelName.of_candles("NSE:1", 60)
Key = tuple[int, int, int]
KEYS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from([-1, 0, 1])), unique=True, max_size=60
).map(lambda steps: [(sum(step for step, _, _ in steps[: n + 1]), ts, rev) for n, (_, ts, rev) in enumerate(steps)])


def message(position: int, ts: int, revision: int, number: int = 0) -> Message:
    text = b"%d %d %d" % (position, ts, revision)
    return Message(MessageHeader(position, 0, ts, revision=revision), text, text, number)


def live() -> Channel:
    channel = Channel(NAME)
    channel.apply(SubscriptionReady({0: 3}))
    return channel


def publish(channel: Channel, keys: list[Key]) -> list[Key]:
    """Publish messages on a channel; return which of them are new."""
    published = channel.apply(channel.publication([message(*key).confirmed for key in keys]))
    new = [(header.position, header.ts, header.revision) for header, _ in published]
    for key in new:
        channel.remember(message(*key, channel.next_number()))
    return new


@given(KEYS, st.data())
def test_what_is_published_again_from_any_position_on_is_passed_on_once(keys: list[Key], data: st.DataObject) -> None:
    keys = sorted(set(keys))
    channel = live()
    cut = data.draw(st.integers(0, len(keys)))
    again = data.draw(st.integers(0, cut))
    while 0 < again < len(keys) and keys[again][0] == keys[again - 1][0]:
        again -= 1  # those of one position are published together
    while 0 < cut < len(keys) and keys[cut][0] == keys[cut - 1][0]:
        cut += 1
    assert publish(channel, keys[:cut]) + publish(channel, keys[again:]) == keys


@given(st.integers(0, 2 * REMEMBERED), st.integers(-1, 2 * REMEMBERED))
def test_a_channel_has_all_beyond_where_it_is_complete(count: int, position: int) -> None:
    channel = live()
    keys = [(n // 2, n % 2, -1) for n in range(count)]
    publish(channel, keys)
    complete_after = channel.progress.complete_after
    assert complete_after is not None
    assert complete_after >= 3 or channel.progress.partition is None
    since = max(position, complete_after)
    assert [one.position for one in channel.beyond(since)] == [p for p, _, _ in keys if p > since]
    assert len(channel.memory) == min(count, REMEMBERED)
    assert channel.forgotten == max(0, count - REMEMBERED)


@given(KEYS)
def test_of_rows_and_what_is_remembered_the_later_position_stands(keys: list[Key]) -> None:
    channel = live()
    publish(channel, keys)
    rows: dict[int, ConfirmedMessage] = {ts: message(1, ts, -1).confirmed for ts in range(3)}
    shown = channel.laid_over(rows, 1)
    for ts, one in shown.items():
        positions = [p for p, at, _ in keys if at == ts and p > 1] + [1] * (ts in rows)
        assert one.header.position == max(positions)


@given(KEYS)
def test_groups_hold_all_of_a_position(keys: list[Key]) -> None:
    groups = position_groups([message(*one) for one in sorted(set(keys))])
    assert [group.position for group in groups] == sorted({position for position, _, _ in keys})
    texts = [text for group in groups for text in group.text.split(b"\n")]
    assert texts == [b"%d %d %d" % one for one in sorted(set(keys))]
