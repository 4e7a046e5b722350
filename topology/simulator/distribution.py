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
        self._places = {
            (NUMBERS[listing.exchange], listing.token): index for index, listing in enumerate(source.listings)
        }
        self._states: list[InstrumentDay | None] = [None] * len(source.listings)
        self._watchers: list[list[tuple[SocketFaults, int]]] = [[] for _ in source.listings]
        self._lines: dict[SocketFaults, dict[Key, int | None]] = {}
        # By instrument: the sockets that lost it to a fault and have not asked again.
        self._lost: dict[int, dict[int, int]] = defaultdict(dict)

    def forget(self) -> None:
        """Let every state be found anew from the source, after an interval of time that was not played."""
        self._states = [None] * len(self._states)
        for index, watchers in enumerate(self._watchers):
            if watchers:
                self.state(index)

    def place(self, exchange: int, token: str) -> int | None:
        """Give the place of an instrument among the source's, None for an unknown one."""
        return self._places.get((exchange, token))

    def state(self, index: int) -> InstrumentDay:
        """Give the state of an instrument now."""
        state = self._states[index]
        if state is None:
            state = self._states[index] = InstrumentDay.at(self.source, index, self._faults.now_ms)
        return state

    def prepare(self, key: Key) -> bool:
        """Find the state of what nobody has asked for yet; give whether that was to be done."""
        index = self.place(key[1], key[2])
        if index is None or self._states[index] is not None:
            return False
        self.state(index)
        return True

    def join(self, line: SocketFaults) -> None:
        """Add a socket, which has no subscriptions yet."""
        self._lines[line] = {}

    def subscriptions(self, line: SocketFaults) -> int:
        """Count the subscriptions of a socket."""
        return len(self._lines.get(line, ()))

    def leave(self, line: SocketFaults, because: Fault | None) -> None:
        """Remove a socket. What it had asked for counts as hidden by that fault until some socket asks for it again."""
        line.lose()
        for (mode, _, _), index in self._lines.pop(line, {}).items():
            if index is None:
                continue
            self._watchers[index].remove((line, mode))
            fault = because or self._hiding(line, index)
            if fault is not None:
                self._lost[index][line.socket] = fault.id

    def new(self, line: SocketFaults, wanted: Iterable[Key]) -> list[Key] | None:
        """Give those that the socket hasn't asked for yet, None where it would have too many."""
        known = self._lines[line]
        new = [key for key in dict.fromkeys(wanted) if key not in known]
        return new if len(known) + len(new) <= MOST_SUBSCRIPTIONS else None

    def subscribe(self, line: SocketFaults, new: Iterable[Key]) -> None:
        """Subscribe a socket to what it hasn't asked for yet, and send how things stand."""
        for key in new:
            mode, exchange, token = key
            self._lines[line][key] = index = self.place(exchange, token)
            if index is not None:
                self._watchers[index].append((line, mode))
                self._lost.pop(index, None)
                self._send(line, self.state(index), mode, new=False)

    def unsubscribe(self, line: SocketFaults, unwanted: Iterable[Key]) -> None:
        """End these subscriptions; those that there are not are ignored."""
        known = self._lines[line]
        for key in unwanted:
            index = known.pop(key, None)
            if index is not None:
                self._watchers[index].remove((line, key[0]))

    def take(self, print_: Print) -> None:
        """Take the next print of the source, and send it to whoever has asked for it."""
        self.printed += 1
        index = print_.place
        state = self._states[index]
        if state is None:  # nobody has asked for it yet
            return
        state.apply(print_, self.printed)
        frames: dict[int, bytes] = {}
        for line, mode in self._watchers[index]:
            if line.clean():
                made = frames.get(mode)
                if made is None:
                    made = frames[mode] = packet_frame(state, mode)
                line.waiting.append(made)
            else:
                line.send(state, mode, number=self.printed, now_ms=print_.time_ms)
        if self._lost and index in self._lost:
            for socket, fault in self._lost[index].items():
                self._ledger.write(fault, socket, state.listing.instrument, time_ms=print_.time_ms, hidden=True)

    def release(self, now_ms: int) -> None:
        """Let go of delayed packets whose time has come."""
        for line in self._lines:
            line.clean()
            line.release(now_ms)

    def _send(self, line: SocketFaults, state: InstrumentDay, mode: int, *, new: bool) -> None:
        if line.clean():
            line.waiting.append(packet_frame(state, mode))
        else:
            line.send(state, mode, number=self.printed, now_ms=self._faults.now_ms, new=new)

    def _hiding(self, line: SocketFaults, index: int) -> Fault | None:
        instrument = self.source.listings[index].instrument
        return next((f for f in self._faults.named(*HIDING) if f.meets(line.socket, instrument)), None)
