"""The parser of the broker's packets beside the one of the broker's client, on the same packets in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

import msgspec

from topology.angel.client import SocketClient
from topology.clock import now_ms
from topology.feeds.angel.packets import MODES, pack, parse, parse_all
from topology.feeds.angel.translator import Translator
from topology.market import Calendar
from topology.market.calendar import indian_day
from topology.settings import SIM, Settings
from topology.simulator import Walk, catalogue
from topology.simulator.quotes import InstrumentDay

INSTRUMENTS, PACKETS_PER_S = 1000, 4000  # of a socket
PACKETS = 10_000
BATCHES = (1, 20, 500)
ROUNDS = 5  # of which the fastest counts


class Parsing(msgspec.Struct, frozen=True):
    """CPU microseconds per packet of a mode: the client's parser, ours by the size of a batch, our translation."""

    mode: str
    sdk_us: float
    ours_us: dict[int, float]
    translate_us: float


def parsing() -> list[Parsing]:
    """Measure each mode on what a socket with a thousand instruments brings."""
    start_ms = now_ms()
    return [_measured(name, start_ms, _packets(mode, start_ms)) for name, mode in MODES.items()]


def _packets(mode: int, start_ms: int) -> list[tuple[int, bytes]]:
    """Return packets of the simulated market from a time on, each with its exchange time."""
    calendar = Calendar.parse(Settings.from_env({"TOPOLOGY_NAMESPACE": SIM}).calendar_text())
    listings = catalogue(indian_day(start_ms))[:INSTRUMENTS]
    walk = Walk(listings, seed=1, rate=PACKETS_PER_S, calendar=calendar)
    states = [InstrumentDay(listing) for listing in listings]
    packets = []
    for number, print_ in enumerate(islice(walk.play(start_ms), PACKETS)):
        state = states[print_.listing_index]
        state.apply(print_, number)
        packets.append((print_.time_ms, pack(state.packet(mode))))
    return packets


def _measured(name: str, start_ms: int, packets: Sequence[tuple[int, bytes]]) -> Parsing:
    messages = [data for _, data in packets]
    client = SocketClient.__new__(SocketClient)  # its parser needs nothing that the constructor makes

    def read_by_client() -> None:
        for data in messages:
            client._parse_binary_data(data)

    def read(batches: Sequence[Sequence[bytes]]) -> None:
        for batch in batches:
            parse_all(batch)

    parsed = [(parse(data), time_ms) for time_ms, data in packets]
    instruments = [listing.instrument for listing in catalogue(indian_day(start_ms))[:INSTRUMENTS]]

    def translate() -> None:
        translator = Translator(instruments)
        translator.subscribed(start_ms)
        for packet, time_ms in parsed:
            translator.translate(packet, time_ms)

    ours_us = {}
    for size in BATCHES:
        batches = [messages[start : start + size] for start in range(0, PACKETS, size)]
        ours_us[size] = _fastest_us(partial(read, batches))
    return Parsing(name, _fastest_us(read_by_client), ours_us, _fastest_us(translate))


def _fastest_us(work: Callable[[], None]) -> float:
    """Return the CPU microseconds per packet of the fastest round."""
    rounds = []
    for _ in range(ROUNDS):
        started_s = time.process_time()
        work()
        rounds.append(time.process_time() - started_s)
    return min(rounds) / PACKETS * 1e6
