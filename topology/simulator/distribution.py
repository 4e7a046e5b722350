"""Who is sent what: the subscriptions of every socket, and the way of a print to those that want it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from topology.market.instruments import NUMBERS
from topology.simulator.faults import HIDING, Fault, Faults
from topology.simulator.ledger import Ledger
from topology.simulator.quotes import InstrumentDay
from topology.simulator.socket_faults import SocketFaults, packet_frame
from topology.simulator.source import Print, Source

MOST_SUBSCRIPTIONS = 1_000  # of one socket; a token counts once for each mode

Key = tuple[int, int, str]  # mode, exchange number, token


class Distribution:
    """The exchange's side of all sockets. ``printed`` counts the prints so far."""

    def __init__(self, source: Source, faults: Faults, ledger: Ledger) -> None:
        self.source = source
        self.printed = 0
        self._faults, self._ledger = faults, ledger
        self._indexes = {
            (NUMBERS[listing.exchange], listing.token): index for index, listing in enumerate(source.listings)
        }
        self._states: list[InstrumentDay | None] = [None] * len(source.listings)
        self._watchers: list[list[tuple[SocketFaults, int]]] = [[] for _ in source.listings]
        self._subscriptions: dict[SocketFaults, dict[Key, int | None]] = {}
        # By instrument: the sockets that lost it to a fault and have not asked again.
        self._lost: dict[int, dict[int, int]] = defaultdict(dict)

    def forget(self) -> None:
        """Let every state be found anew from the source, after an interval of time that was not played."""
        self._states = [None] * len(self._states)
        for index, watchers in enumerate(self._watchers):
            if watchers:
                self.state(index)

    def index_of(self, exchange: int, token: str) -> int | None:
        """Give the index of an instrument among the source's listings, None for an unknown one."""
        return self._indexes.get((exchange, token))

    def state(self, index: int) -> InstrumentDay:
        """Give the state of an instrument now."""
        state = self._states[index]
        if state is None:
            state = self._states[index] = InstrumentDay.at(self.source, index, self._faults.now_ms)
        return state

    def prepare(self, key: Key) -> bool:
        """Find the state of what nobody has asked for yet; give whether that was to be done."""
        index = self.index_of(key[1], key[2])
        if index is None or self._states[index] is not None:
            return False
        self.state(index)
        return True

    def join(self, socket: SocketFaults) -> None:
        """Add a socket, which has no subscriptions yet."""
        self._subscriptions[socket] = {}

    def subscriptions(self, socket: SocketFaults) -> int:
        """Count the subscriptions of a socket."""
        return len(self._subscriptions.get(socket, ()))

    def leave(self, socket: SocketFaults, because: Fault | None) -> None:
        """Remove a socket. What it had asked for counts as hidden by that fault until some socket asks for it again."""
        socket.lose()
        for (mode, _, _), index in self._subscriptions.pop(socket, {}).items():
            if index is None:
                continue
            self._watchers[index].remove((socket, mode))
            fault = because or self._hiding(socket, index)
            if fault is not None:
                self._lost[index][socket.number] = fault.id

    def new(self, socket: SocketFaults, keys: Iterable[Key]) -> list[Key] | None:
        """Give those that the socket hasn't asked for yet, None where it would have too many."""
        subscribed = self._subscriptions[socket]
        new = [key for key in dict.fromkeys(keys) if key not in subscribed]
        return new if len(subscribed) + len(new) <= MOST_SUBSCRIPTIONS else None

    def subscribe(self, socket: SocketFaults, new: Iterable[Key]) -> None:
        """Subscribe a socket to what it hasn't asked for yet, and send how things stand."""
        for key in new:
            mode, exchange, token = key
            self._subscriptions[socket][key] = index = self.index_of(exchange, token)
            if index is not None:
                self._watchers[index].append((socket, mode))
                self._lost.pop(index, None)
                self._send(socket, self.state(index), mode, new=False)

    def unsubscribe(self, socket: SocketFaults, unwanted: Iterable[Key]) -> None:
        """End these subscriptions; those that there are not are ignored."""
        subscribed = self._subscriptions[socket]
        for key in unwanted:
            index = subscribed.pop(key, None)
            if index is not None:
                self._watchers[index].remove((socket, key[0]))

    def distribute(self, print_: Print) -> None:
        """Send the next print of the source to whoever has subscribed to it."""
        self.printed += 1
        index = print_.listing_index
        state = self._states[index]
        if state is None:  # nobody has asked for it yet
            return
        state.apply(print_, self.printed)
        frames: dict[int, bytes] = {}
        for socket, mode in self._watchers[index]:
            if socket.clean():
                made = frames.get(mode)
                if made is None:
                    made = frames[mode] = packet_frame(state, mode)
                socket.waiting.append(made)
            else:
                socket.send(state, mode, number=self.printed, now_ms=print_.time_ms)
        if self._lost and index in self._lost:
            for number, fault in self._lost[index].items():
                self._ledger.write(fault, number, state.listing.instrument, time_ms=print_.time_ms, hidden=True)

    def release(self, now_ms: int) -> None:
        """Let go of delayed packets whose time has come."""
        for socket in self._subscriptions:
            socket.clean()
            socket.release(now_ms)

    def _send(self, socket: SocketFaults, state: InstrumentDay, mode: int, *, new: bool) -> None:
        if socket.clean():
            socket.waiting.append(packet_frame(state, mode))
        else:
            socket.send(state, mode, number=self.printed, now_ms=self._faults.now_ms, new=new)

    def _hiding(self, socket: SocketFaults, index: int) -> Fault | None:
        instrument = self.source.listings[index].instrument
        return next((f for f in self._faults.named(*HIDING) if f.meets(socket.number, instrument)), None)
