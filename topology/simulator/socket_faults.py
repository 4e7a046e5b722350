"""The packets on a socket's way to its client, and what active faults do to them. Pure.

Packets go in as they are due and leave as WebSocket frames. In what pieces time goes on makes no difference.
"""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random
from struct import Struct
from typing import NamedTuple

from topology.feeds.angel.packets import LTP, SIZES, Packet, QuotePacket, SnapQuotePacket, pack
from topology.simulator.faults import DISTORTING, HIDING, Fault, Faults
from topology.simulator.ledger import Ledger
from topology.simulator.quotes import InstrumentDay

_BINARY = 0x82  # a whole message of bytes
_LONG = Struct(">BBH")
_HEADS = {
    mode: bytes([_BINARY, size]) if size < 126 else _LONG.pack(_BINARY, 126, size) for mode, size in SIZES.items()
}
_LONGEST_GARBAGE = 400
_EXTRA = b"\0SIMULATED\0"


def frame(payload: bytes) -> bytes:
    """Wrap bytes up as an unmasked WebSocket message, as a server sends it."""
    if len(payload) < 126:
        return bytes([_BINARY, len(payload)]) + payload
    return _LONG.pack(_BINARY, 126, len(payload)) + payload


def packet_frame(state: InstrumentDay, mode: int) -> bytes:
    """Write the packet of an instrument as a WebSocket message."""
    return _HEADS[mode] + pack(state.packet(mode))


class _Held(NamedTuple):
    """A packet that a fault holds back for now: which fault, and what it is about."""

    made: bytes
    fault: int
    instrument: str
    time_ms: int


class SocketFaults:
    """One socket's. ``waiting`` holds the frames that are ready to be sent; whoever sends them empties it."""

    def __init__(self, number: int, faults: Faults, ledger: Ledger) -> None:
        self.number = number
        self.waiting: list[bytes] = []
        self._faults, self._ledger = faults, ledger
        self._version = -1
        self._active: list[Fault] = []
        self._delayed: list[tuple[int, int, _Held]] = []
        # Where every packet is delayed none overtakes another: until when those of a key queue, behind which fault's.
        self._behind: dict[tuple[str, int], tuple[int, int]] = {}
        self._swapped: dict[tuple[str, int], _Held] = {}
        self._bases: dict[tuple[int, str], int] = {}  # day volumes at the start of a volume reset
        self._count = 0

    def clean(self) -> bool:
        """Whether packets pass as they are: then a frame may be put into ``waiting`` without :meth:`send`."""
        if self._version != self._faults.version:
            self._version = self._faults.version
            named = self._faults.named(*DISTORTING)
            self._active = [fault for fault in named if fault.socket in (None, self.number)]
            if not any(fault.name == "reorder" for fault in self._active):
                self.waiting.extend(held.made for held in self._swapped.values())
                self._swapped.clear()
        return not self._active and not self._delayed

    def send(self, state: InstrumentDay, mode: int, *, number: int, now_ms: int, new: bool = True) -> None:
        """Send a packet through the active faults. ``number`` is that of the print, ``new`` false for a snapshot."""
        self.release(now_ms)
        instrument, about = state.listing.instrument, (number, mode)
        met = [f for f in self._active if f.meets(self.number, instrument) and self._faults.happens(f, *about)]
        for fault in met if new else ():
            hidden = fault.name in (*HIDING, "garbage", "truncate", "oversize")
            self._ledger.write(fault.id, self.number, instrument, time_ms=state.time_ms, hidden=hidden)
        by_name = {fault.name: fault for fault in met}
        if any(name in by_name for name in HIDING):
            return
        packet = state.packet(mode)
        for fault in met:
            packet = self._changed(packet, fault, state, about)
        made = frame(self._spoilt(pack(packet), by_name, about))
        copies = 2 if "duplicate" in by_name else 1
        for _ in range(copies):
            self._forward(_Held(made, 0, instrument, state.time_ms), mode, by_name, now_ms)

    def release(self, now_ms: int) -> None:
        """Let go of packets whose delay is over."""
        while self._delayed and self._delayed[0][0] <= now_ms:
            self.waiting.append(heappop(self._delayed)[2].made)

    def lose(self) -> None:
        """Lose what is still held back, since the socket is gone: it was hidden after all."""
        for held in (*(held for _, _, held in self._delayed), *self._swapped.values()):
            self._ledger.write(held.fault, self.number, held.instrument, time_ms=held.time_ms, hidden=True)

    def _forward(self, packet: _Held, mode: int, by_name: dict[str, Fault], now_ms: int) -> None:
        key = (packet.instrument, mode)
        delay, reorder = by_name.get("delay"), by_name.get("reorder")
        behind_ms, behind = self._behind.get(key, (0, 0))
        if delay is not None or behind_ms > now_ms:
            due_ms = behind_ms if delay is None else max(now_ms + delay.by_ms, behind_ms)
            fault = behind if delay is None else delay.id
            if delay is not None and delay.chance >= 1:
                self._behind[key] = (due_ms, fault)
            self._count += 1
            heappush(self._delayed, (due_ms, self._count, packet._replace(fault=fault)))
        elif reorder is not None and key not in self._swapped:
            self._swapped[key] = packet._replace(fault=reorder.id)
        else:
            self.waiting.append(packet.made)
            if (held := self._swapped.pop(key, None)) is not None:
                self.waiting.append(held.made)

    def _changed(self, packet: Packet, fault: Fault, state: InstrumentDay, about: tuple[int, int]) -> Packet:
        if fault.name == "clock-jump":
            return packet._replace(exchange_ms=packet.exchange_ms + fault.by_ms)
        if fault.name == "wrong-sequence":
            return packet._replace(sequence=self._faults.number(fault, *about) >> 24)
        if fault.name == "volume-reset" and isinstance(packet, QuotePacket | SnapQuotePacket):
            base = self._bases.setdefault((fault.id, state.listing.instrument), state.day_volume)
            return packet._replace(day_volume=max(packet.day_volume - base, 0))
        return packet

    def _spoilt(self, payload: bytes, by_name: dict[str, Fault], about: tuple[int, int]) -> bytes:
        if (fault := by_name.get("garbage")) is not None:
            random = Random(self._faults.number(fault, *about))
            size = random.randrange(_LONGEST_GARBAGE)
            return random.randbytes(size + (size in SIZES.values()))
        if (fault := by_name.get("truncate")) is not None:
            shortest = SIZES[LTP] // 2
            # Never as short as another mode's packet: it keeps the first byte of its own.
            return payload[: shortest + self._faults.number(fault, *about) % (len(payload) - shortest)]
        if "oversize" in by_name:
            return payload + _EXTRA
        return payload
