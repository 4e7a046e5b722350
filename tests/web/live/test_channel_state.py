"""The law of a channel: whatever happens, a listener gets each message once and in order, or a new epoch begins."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from topology.clock import SYSTEM
from topology.sinks.channel_name import ChannelName
from web.live.channel import Channel, PositionGroup
from web.live.channel_state import (
    CatchUp,
    CatchUpEnd,
    ChannelState,
    ConfirmedMessage,
    ConnectionLoss,
    NewEpoch,
    PartitionFound,
    Publication,
    SubscriptionReady,
    SubscriptionStart,
    step,
)
from web.live.hub import Hub
from web.live.message_header import MessageHeader
from web.live.registry import ChannelRegistry

COLD, CATCHING_UP, LIVE, LOST = ChannelState
Key = tuple[int, int]


def confirmed(position: int, ts: int) -> ConfirmedMessage:
    return ConfirmedMessage(MessageHeader(position, 0, ts), b"%d %d" % (position, ts))


class Reader:
    """A listener that has all up to a position, and what it gets then."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.keys: list[Key] = []

    def confirmed(self, channel: str, group: PositionGroup) -> None:
        self.keys += [(message.header.position, message.header.ts) for message in group.messages]

    def newest(self, channel: str, data: bytes, text: bytes) -> None:
        pass


class ChannelMachine(RuleBasedStateMachine):
    """A log that grows, a connection that comes and goes, and listeners that come and go, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub(None, SYSTEM, ChannelRegistry(lambda: 0), on_active=lambda _: None)  # type: ignore[arg-type] # it greets nobody
        self.channel = Channel(ChannelName.of_candles("NSE:1", 60))
        self.log: list[Key] = []
        self.readers: list[Reader] = []
        self.comes = False  # whether what is published comes to the channel
        self.to_be_read = False

    @property
    def state(self) -> ChannelState:
        return self.channel.state

    @property
    def newest(self) -> int:
        return self.log[-1][0] if self.log else -1

    @rule(skipped=st.integers(1, 3), count=st.integers(1, 2), again=st.integers(0, 3))
    def publish(self, skipped: int, count: int, again: int) -> None:
        """Messages of one position are published; a mirror that starts anew publishes the last ones again."""
        position = self.newest + skipped
        self.log += [(position, ts) for ts in range(count)]
        if self.comes:
            since = self.newest - again
            repeated = [confirmed(*key) for key in self.log if key[0] > since or key[0] == position]
            self.hub.apply(self.channel, self.channel.publication(repeated))

    @precondition(lambda self: self.state is COLD)
    @rule()
    def start(self) -> None:
        self.channel.start()
        self.comes = True

    @precondition(lambda self: self.state is CATCHING_UP and self.channel.progress.subscribed_at is None)
    @rule()
    def stand(self) -> None:
        self.hub.apply(self.channel, SubscriptionReady({0: self.newest}))
        self.to_be_read = bool(self.readers)

    @precondition(lambda self: self.state is CATCHING_UP and self.to_be_read)
    @rule(readable=st.booleans(), back=st.integers(0, 5))
    def read(self, readable: bool, back: int) -> None:
        """The stores have at least what was published before the subscription stood."""
        progress = self.channel.progress
        assert progress.subscribed_at is not None
        until = max(self.newest - back, progress.subscribed_at[0])
        missed = [confirmed(*key) for key in self.log if progress.resumes_after < key[0] <= until]
        self.hub.apply(self.channel, CatchUp(missed if readable else None))
        self.to_be_read = False

    @precondition(
        lambda self: (
            self.state in (CATCHING_UP, LOST)
            and self.channel.progress.subscribed_at is not None
            and not self.to_be_read
        )
    )
    @rule()
    def end(self) -> None:
        if self.state is LOST:
            self.hub.apply(self.channel, CatchUpEnd())
            assert self.state is LOST  # only a new epoch leads out of it
            self._begin_epoch()
        self.hub.apply(self.channel, CatchUpEnd())
        assert self.state is LIVE

    @precondition(lambda self: self.state is CATCHING_UP or (self.state is not LOST and len(self.readers) > 2))
    @rule()
    def lose_another_channel(self) -> None:
        before = self.state
        self._begin_epoch()
        assert self.state is before

    def _begin_epoch(self) -> None:
        self.channel.renew()
        for reader in self.readers:
            self.channel.leave(reader, 0)
        self.readers.clear()

    @precondition(lambda self: self.state is COLD)
    @rule()
    def catch_up_at_once(self) -> None:
        self.start()
        self.stand()
        if self.to_be_read:
            self.read(readable=True, back=0)
        self.end()

    @precondition(lambda self: self.state is not COLD)
    @rule()
    def lose_connection(self) -> None:
        self.hub.apply(self.channel, ConnectionLoss())
        self.comes = self.to_be_read = False

    @precondition(lambda self: self.state in (COLD, LIVE))
    @rule(back=st.integers(0, 5))
    def join(self, back: int) -> None:
        """A listener has read the stores up to a position, and is shown what is remembered beyond it."""
        if self.log:
            self.channel.apply(PartitionFound(0))  # as the rows say
        progress = self.channel.progress
        complete_after = progress.resumes_after if progress.complete_after is None else progress.complete_after
        until = max(self.newest - back, complete_after, -1)
        reader = Reader(max(until, progress.confirmed))
        shown = {message.position for message in self.channel.beyond(until)}
        assert {position for position, _ in self.log if until < position <= reader.position} <= shown
        self.readers.append(reader)
        self.channel.join(reader, until=until)

    @precondition(lambda self: self.readers and self.state in (COLD, LIVE))
    @rule()
    def leave(self) -> None:
        self.channel.leave(self.readers.pop(0), 0)

    @invariant()
    def nothing_is_repeated_or_left_out(self) -> None:
        for reader in self.readers:
            due = [key for key in self.log if key[0] > reader.position]
            assert reader.keys == due[: len(reader.keys)]
            if self.state is LIVE:
                assert reader.keys == due


TestChannel = ChannelMachine.TestCase
TestChannel.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


def test_what_comes_without_a_subscription_is_left_to_be_read_for_listeners() -> None:
    message = confirmed(5, 0)
    progress = Channel(ChannelName.of_candles("NSE:1", 60)).progress
    assert step(progress, Publication([message], has_listeners=True)) == (progress, ())
    assert step(progress, Publication([message], has_listeners=False))[1] == [message]


def test_a_lost_channel_passes_nothing_on_until_a_new_epoch() -> None:
    progress, _ = step(Channel(ChannelName.of_candles("NSE:1", 60)).progress, SubscriptionStart(has_listeners=True))
    for event in (SubscriptionReady({0: 4}), CatchUp(None), Publication([confirmed(5, 0)], has_listeners=True)):
        progress, messages = step(progress, event)
        assert not messages
    assert step(progress, CatchUpEnd()) == (progress, ())
    assert progress.state is LOST
    progress, messages = step(step(progress, NewEpoch())[0], CatchUpEnd())
    assert (progress.state, messages) == (LIVE, [confirmed(5, 0)])


def test_what_comes_while_the_stores_are_read_is_passed_on_after_what_they_have() -> None:
    one, two, three = (confirmed(position, 0) for position in (1, 2, 3))
    progress, _ = step(Channel(ChannelName.of_candles("NSE:1", 60)).progress, SubscriptionStart(has_listeners=True))
    for event in (SubscriptionReady({0: 2}), Publication([three], has_listeners=True), CatchUp([one, two])):
        progress, messages = step(progress, event)
        assert not messages
    assert step(progress, CatchUpEnd())[1] == [one, two, three]
