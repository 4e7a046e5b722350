from __future__ import annotations

from datetime import date

from tests.support.simulator_client import NSE, OPEN_MS
from topology.feeds.angel.packets import parse
from topology.simulator import Walk, catalogue
from topology.simulator.distribution import MOST_SUBSCRIPTIONS, Distribution
from topology.simulator.faults import Faults
from topology.simulator.ledger import Ledger
from topology.simulator.socket_faults import SocketFaults
from topology.simulator.source import Print

WALK = Walk(catalogue(date(2022, 11, 22))[:3], seed=5, rate=30, calendar=NSE)
RELIANCE, TCS = (2, 1, "2885"), (2, 1, "11536")


class Floor:
    """A distribution with sockets, and prints of our own."""

    def __init__(self) -> None:
        self.faults, self.ledger = Faults(1), Ledger()
        self.faults.advance(OPEN_MS)
        self.distribution = Distribution(WALK, self.faults, self.ledger)

    def socket(self, number: int, *keys: tuple[int, int, str]) -> SocketFaults:
        socket = SocketFaults(number, self.faults, self.ledger)
        self.distribution.join(socket)
        self.subscribe(socket, *keys)
        return socket

    def subscribe(self, socket: SocketFaults, *keys: tuple[int, int, str]) -> None:
        new = self.distribution.new(socket, keys)
        assert new is not None
        self.distribution.subscribe(socket, new)

    def print_reliance(self, second: int) -> None:
        self.distribution.distribute(Print(OPEN_MS + second * 1_000, 1, 1_400_00, 5, True))


def tokens(socket: SocketFaults) -> list[bytes]:
    found = [parse(made[2:]).token.rstrip(b"\0") for made in socket.waiting]
    socket.waiting.clear()
    return found


def test_each_socket_gets_what_it_has_asked_for() -> None:
    floor = Floor()
    one, other = floor.socket(1, RELIANCE, TCS), floor.socket(2, TCS)
    assert (tokens(one), tokens(other)) == ([b"2885", b"11536"], [b"11536"])  # the snapshots
    floor.print_reliance(1)
    assert (tokens(one), tokens(other)) == ([b"2885"], [])


def test_a_token_in_two_modes_comes_in_both() -> None:
    floor = Floor()
    socket = floor.socket(1, RELIANCE, (1, 1, "2885"))
    socket.waiting.clear()
    floor.print_reliance(1)
    assert [made[1] for made in socket.waiting] == [123, 51]
    assert floor.distribution.subscriptions(socket) == 2


def test_what_is_asked_for_again_is_not_sent_twice() -> None:
    floor = Floor()
    socket = floor.socket(1, RELIANCE, RELIANCE)
    floor.subscribe(socket, RELIANCE)
    assert tokens(socket) == [b"2885"]
    floor.print_reliance(1)
    assert tokens(socket) == [b"2885"]


def test_what_is_no_longer_wanted_is_no_longer_sent() -> None:
    floor = Floor()
    socket = floor.socket(1, RELIANCE)
    floor.distribution.unsubscribe(socket, [RELIANCE, RELIANCE, TCS])
    socket.waiting.clear()
    floor.print_reliance(1)
    assert tokens(socket) == []


def test_an_unknown_token_counts_and_is_silent() -> None:
    floor = Floor()
    socket = floor.socket(1, (2, 1, "4711"), (2, 0, "2885"))
    assert tokens(socket) == []
    assert floor.distribution.subscriptions(socket) == 2


def test_too_many_are_refused_and_the_others_stay() -> None:
    floor = Floor()
    socket = floor.socket(1, RELIANCE)
    socket.waiting.clear()
    others = [(2, 1, str(number)) for number in range(MOST_SUBSCRIPTIONS)]
    assert floor.distribution.new(socket, others) is None
    assert floor.distribution.subscriptions(socket) == 1
    floor.subscribe(socket, *others[1:])
    floor.print_reliance(1)
    assert tokens(socket) == [b"2885"]


def test_what_a_fault_took_is_hidden_until_some_socket_asks_again() -> None:
    floor = Floor()
    socket = floor.socket(1, RELIANCE)
    floor.print_reliance(1)
    fault = floor.faults.add("drop")
    floor.distribution.leave(socket, fault)
    floor.print_reliance(2)
    floor.print_reliance(3)
    floor.socket(2, RELIANCE)
    floor.print_reliance(4)
    first_s = OPEN_MS // 1_000
    assert floor.ledger.seconds("NSE:2885") == {first_s + 2, first_s + 3}


def test_a_client_that_goes_by_itself_has_lost_nothing() -> None:
    floor = Floor()
    floor.distribution.leave(floor.socket(1, RELIANCE), None)
    floor.print_reliance(1)
    assert floor.ledger.touched() == []


def test_a_client_that_goes_because_of_the_silence_has_lost_what_came_then() -> None:
    floor = Floor()
    socket = floor.socket(1, RELIANCE)
    floor.faults.add("silent:for=1s")
    floor.distribution.leave(socket, None)
    floor.faults.advance(OPEN_MS + 5_000)
    floor.print_reliance(6)
    assert floor.ledger.seconds("NSE:2885") == {OPEN_MS // 1_000 + 6}


def test_after_time_that_was_not_played_the_states_are_found_anew() -> None:
    floor = Floor()
    socket = floor.socket(1, RELIANCE)
    floor.faults.advance(OPEN_MS + 3_599_999)
    floor.distribution.forget()
    socket.waiting.clear()
    assert floor.distribution.state(1).day_volume == sum(
        candle.volume for candle in WALK.candles(1, OPEN_MS, OPEN_MS + 3_600_000)
    )
