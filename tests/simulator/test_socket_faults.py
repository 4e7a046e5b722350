from __future__ import annotations

from collections import Counter
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.simulator_client import NSE, OPEN_MS, quote
from topology.feeds.angel.packets import PacketError, parse, token_text
from topology.simulator import Walk, catalogue
from topology.simulator.distribution import Distribution
from topology.simulator.faults import DISTORTING, KINDS, Faults
from topology.simulator.ledger import Ledger
from topology.simulator.socket_faults import SocketFaults, frame

WALK = Walk(catalogue(date(2022, 11, 22))[:3], seed=5, rate=30, calendar=NSE)
TOKENS = [listing.token for listing in WALK.listings]


class Bench:
    """A socket with subscriptions, and prints that are passed on by hand."""

    def __init__(self, *faults: str, mode: int = 2, seed: int = 1) -> None:
        self.faults, self.ledger = Faults(seed), Ledger()
        self.faults.advance(OPEN_MS)
        self.distribution = Distribution(WALK, self.faults, self.ledger)
        self.socket = SocketFaults(1, self.faults, self.ledger)
        self.distribution.join(self.socket)
        self.distribution.subscribe(self.socket, [(mode, 1, token) for token in TOKENS])
        self.socket.waiting.clear()  # the snapshots
        for fault in faults:
            self.faults.add(fault)
        self.prints = WALK.play(OPEN_MS)
        self.next = next(self.prints)

    def pass_on(self, seconds: int = 20) -> list[bytes]:
        """Give the payloads of the prints of the next seconds."""
        until_ms = self.faults.now_ms + seconds * 1_000
        while self.next.time_ms < until_ms:
            while (edge_ms := self.faults.next_edge_ms(until_ms)) <= self.next.time_ms:
                self.faults.advance(edge_ms)
            self.distribution.distribute(self.next)
            self.next = next(self.prints)
        self.faults.advance(until_ms)
        self.distribution.release(until_ms)
        sent = [unframed(made) for made in self.socket.waiting]
        self.socket.waiting.clear()
        return sent


def unframed(made: bytes) -> bytes:
    return made[4:] if made[1] == 126 else made[2:]


CLEAN = Bench().pass_on()


def test_without_a_fault_every_print_is_a_packet() -> None:
    packets = [quote(payload) for payload in CLEAN]
    prints = WALK.prints(1, OPEN_MS + 1, OPEN_MS + 20_000)
    found = [packet for packet in packets if packet.token.startswith(b"2885")]
    assert [(packet.exchange_ms, packet.price, packet.quantity) for packet in found] == [
        (p.time_ms, p.price, p.quantity) for p in prints
    ]
    assert len(packets) == pytest.approx(600, rel=0.05)


@pytest.mark.parametrize("size", [0, 51, 125, 126, 400])
def test_a_frame_says_how_long_it_is(size: int) -> None:
    made = frame(bytes(size))
    assert made[0] == 0x82
    assert len(unframed(made)) == size == (made[1] if made[1] < 126 else int.from_bytes(made[2:4], "big"))


@pytest.mark.parametrize("name", ["silent", "holiday"])
def test_silence_hides_all_of_it(name: str) -> None:
    bench = Bench(f"{name}:for=10s")
    sent = bench.pass_on()
    assert sent == [payload for payload in CLEAN if parse(payload).exchange_ms >= OPEN_MS + 10_000]
    first_s = OPEN_MS // 1_000
    assert bench.ledger.seconds("NSE:2885") == set(range(first_s, first_s + 10))


def test_only_the_instrument_that_is_named_is_met() -> None:
    bench = Bench("silent:for=1h,instrument=NSE:2885")
    sent = bench.pass_on()
    assert sent == [payload for payload in CLEAN if not parse(payload).token.startswith(b"2885")]
    assert bench.ledger.seconds("NSE:2885")
    assert not bench.ledger.seconds("NSE:11536")


def test_another_socket_is_not_met() -> None:
    bench = Bench("silent:for=1h,socket=2")
    assert bench.pass_on() == CLEAN
    assert bench.ledger.touched() == []


def test_duplicates_follow_their_packet() -> None:
    sent = Bench("duplicate:chance=100%").pass_on()
    assert sent == [payload for payload in CLEAN for _ in range(2)]
    some = Bench("duplicate:chance=20%").pass_on()
    assert len(some) == pytest.approx(1.2 * len(CLEAN), rel=0.05)
    assert sorted(set(some)) == sorted(set(CLEAN))


def test_reordered_packets_all_arrive_each_after_its_next() -> None:
    sent = Bench("reorder:chance=100%,for=19s").pass_on()
    assert sorted(sent) == sorted(CLEAN)
    of = [parse(payload).exchange_ms for payload in sent if parse(payload).token.startswith(b"2885")]
    assert of[0] > of[1]
    assert of[2] > of[3]


def test_delayed_packets_arrive_in_order() -> None:
    bench = Bench("delay:by=3s,for=10s")
    early = bench.pass_on(5)
    sent = bench.pass_on(15)
    assert early == [payload for payload in CLEAN if parse(payload).exchange_ms < OPEN_MS + 2_000]
    for token in (token.encode() for token in TOKENS):
        late = [payload for payload in early + sent if parse(payload).token.startswith(token)]
        assert late == [payload for payload in CLEAN if parse(payload).token.startswith(token)]
    assert not bench.ledger.seconds("NSE:2885")
    assert len(bench.ledger.seconds("NSE:2885", hidden=False, changed=True)) == 10


@pytest.mark.parametrize("name", ["garbage", "truncate", "oversize"])
@pytest.mark.parametrize("mode", [1, 2, 3])
def test_spoilt_packets_are_none(name: str, mode: int) -> None:
    bench = Bench(f"{name}:chance=100%", mode=mode)
    sent = bench.pass_on()
    assert len(sent) == len(CLEAN)
    for payload in sent:
        with pytest.raises(PacketError):
            parse(payload)
    assert len(bench.ledger.seconds("NSE:2885")) == 20


def test_a_wrong_sequence_changes_nothing_else() -> None:
    sent = [parse(payload) for payload in Bench("wrong-sequence:chance=100%").pass_on()]
    clean = [parse(payload) for payload in CLEAN]
    assert all(one.sequence != other.sequence for one, other in zip(sent, clean, strict=True))
    assert [packet._replace(sequence=0) for packet in sent] == [packet._replace(sequence=0) for packet in clean]


def test_a_clock_jump_moves_the_exchange_time() -> None:
    sent = [parse(payload).exchange_ms for payload in Bench("clock-jump:by=-1h").pass_on()]
    assert sent == [parse(payload).exchange_ms - 3_600_000 for payload in CLEAN]


def test_a_volume_reset_is_over_when_it_ends() -> None:
    sent = [quote(payload) for payload in Bench("volume-reset:for=10s@+5s").pass_on()]
    clean = [quote(payload) for payload in CLEAN]
    for one, other in zip(sent, clean, strict=True):
        met = OPEN_MS + 5_000 <= other.exchange_ms < OPEN_MS + 15_000
        assert (one.day_volume < other.day_volume) == (met and other.day_volume > 0)
    reset = [p.day_volume for p in sent if p.token.startswith(b"2885") and p.exchange_ms >= OPEN_MS + 5_000]
    assert reset[0] == 0


def test_the_same_seed_meets_the_same_packets() -> None:
    faults = ("garbage:chance=10%", "duplicate:chance=10%", "delay:chance=10%,by=1s", "reorder:chance=10%")
    assert Bench(*faults).pass_on() == Bench(*faults).pass_on()
    assert Bench(*faults).pass_on() != Bench(*faults, seed=2).pass_on()


def test_in_what_pieces_time_goes_on_makes_no_difference() -> None:
    faults = ("garbage:chance=10%", "duplicate:chance=10%", "delay:chance=10%,by=1s", "reorder:chance=10%,for=15s")
    pieces, whole = Bench(*faults), Bench(*faults)
    assert [payload for _ in range(20) for payload in pieces.pass_on(1)] == whole.pass_on(20)
    assert pieces.ledger.touched() == whole.ledger.touched()


def test_a_delayed_packet_was_hidden_if_the_socket_goes_before_it() -> None:
    bench = Bench("delay:by=1h")
    assert bench.pass_on(3) == []
    assert not bench.ledger.seconds("NSE:2885")
    bench.distribution.leave(bench.socket, None)
    first_s = OPEN_MS // 1_000
    assert bench.ledger.seconds("NSE:2885") == {first_s, first_s + 1, first_s + 2}


def test_a_packet_that_waits_for_its_next_was_hidden_if_the_socket_goes() -> None:
    bench = Bench("reorder:chance=30%")
    missing = sum(parse(payload).exchange_ms < OPEN_MS + 5_000 for payload in CLEAN) - len(bench.pass_on(5))
    bench.distribution.leave(bench.socket, None)
    assert sum(touched.hidden for touched in bench.ledger.touched()) == missing > 0


some_faults = st.lists(
    st.builds(
        "{}:for={}s,chance={}%,{}@+{}s".format,
        st.sampled_from([name for name in DISTORTING if "chance" in KINDS[name].keys]),
        st.integers(0, 15),
        st.integers(1, 100),
        st.sampled_from(["socket=1", "socket=2", "instrument=NSE:2885"]),
        st.integers(0, 15),
    ),
    max_size=5,
)


@given(some_faults, st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_what_is_not_written_down_arrives_as_it_is(faults: list[str], seed: int) -> None:
    bench = Bench(*faults, seed=seed)
    sent = Counter(bench.pass_on())
    for listing in WALK.listings:
        touched = bench.ledger.seconds(listing.instrument, changed=True)
        for payload in CLEAN:
            packet = parse(payload)
            if token_text(packet.token) == listing.token and packet.exchange_ms // 1_000 not in touched:
                assert sent[payload] == 1
