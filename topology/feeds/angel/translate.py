"""The broker's packets to ticks, quotes and baselines. Pure: the time of receipt is passed in.

The feed is a stream of snapshots with a cumulative volume, no trade tape. Hence the rules:

- A packet of a stock whose volume has not moved is a refresh of its quote: nothing was traded, so it is no tick. An
  index has no volume: each of its packets is a tick.
- A packet that came before, field by field, is a repeat and nothing.
- The first packet after a subscription is a snapshot of the last state, however old that is. Where its exchange time is
  before the subscription it tells the volume so far (a baseline) and the last price (a quote), and is no tick.
- Any other exchange time that is far from the time of receipt is wrong, and the time of receipt takes its place.
- A volume that starts again from a smaller number is wrong until it is back: no candle gets what was traded meanwhile.
- Where the day's high or low has moved and no price has shown it, the tick carries it: it was traded in between.
  Not with the first packet after a subscription, which can't tell when.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from topology.feeds.angel.packets import Level, Ltp, Packet, SnapQuote, levels, token_text
from topology.feeds.angel.packets import Quote as QuotePacket
from topology.feeds.fields import day_ordinal
from topology.market.gaps import Baseline
from topology.market.instruments import EXCHANGES, default_class
from topology.market.quotes import Quote
from topology.market.ticks import LARGEST, Tick

OLD_MS = 5000  # an exchange time further than this from the time of receipt is old, or wrong
AHEAD_MS = 1000  # and so is one that is further than this in the future
REMEMBERED = 8  # packets of an instrument, to know repeats by


class Told(NamedTuple):
    """What a packet tells; None where it tells nothing of the kind.

    ``doubt`` is not empty where something about the packet is wrong, and so about the candle that its tick goes into.
    """

    tick: Tick | None = None
    quote: Quote | None = None
    baseline: Baseline | None = None
    doubt: str = ""


NOTHING = Told()


class _Known:
    """What has been seen of an instrument in a day; ``volume`` and extremes are those of the day so far."""

    __slots__ = ("fresh", "high", "instrument", "low", "newest_ms", "recent", "reset", "traded", "traded_s", "volume")

    def __init__(self, instrument: str) -> None:
        self.instrument = instrument
        self.traded = default_class(instrument) != "index"
        self.recent: deque[tuple[int, int, int, int]] = deque(maxlen=REMEMBERED)
        self.fresh = True  # no packet since the subscription
        self.reset = False  # the day's volume has started again from a smaller number
        self.volume = self.high = self.low = self.traded_s = self.newest_ms = 0


class Translator:
    """Translates the packets of the instruments that one socket has subscribed (``"NSE:2885"``).

    ``counts`` says how often something was left out or mended: ``unknown_instrument``, ``no_price``, ``repeat``,
    ``refresh``, ``old_snapshot``, ``clamped``, ``reordered``, ``volume_reset``, ``crossed`` (a best bid above the best
    ask).
    """

    def __init__(self, instruments: Iterable[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._known = {instrument: _Known(instrument) for instrument in instruments}
        self._subscribed_ms = 0
        self._by_wire: dict[tuple[int, bytes], _Known | None] = {}

    def subscribed(self, at_ms: int, instruments: Iterable[str] | None = None) -> None:
        """Note that these (None: all) were subscribed: the next packet of each tells how things stood then.

        On another day than the last time, nothing of that day is known any more.
        """
        if day_ordinal(at_ms) != day_ordinal(self._subscribed_ms):
            self._known = {instrument: _Known(instrument) for instrument in self._known}
            self._by_wire.clear()
        self._subscribed_ms = at_ms
        for instrument in self._known if instruments is None else instruments:
            known = self._known[instrument]
            known.fresh = True
            known.recent.clear()

    def instrument(self, packet: Packet) -> str | None:
        """Return the instrument of a packet, None for one that was not subscribed."""
        known = self._find(packet)
        return None if known is None else known.instrument

    def translate(self, packet: Packet, received_ms: int) -> Told:
        """Say what a packet tells; ``received_ms`` is when it came, in milliseconds since the epoch."""
        known = self._find(packet)
        if known is None:
            return self._nothing("unknown_instrument")
        if packet.price <= 0:
            return self._nothing("no_price")
        volume = 0 if isinstance(packet, Ltp) or not known.traded else packet.day_volume
        mark = (packet.sequence, packet.exchange_ms, packet.price, volume)
        if mark in known.recent:
            return self._nothing("repeat")
        known.recent.append(mark)
        return self._told(known, packet, received_ms)

    def _told(self, known: _Known, packet: Packet, received_ms: int) -> Told:
        fresh, known.fresh = known.fresh, False
        if fresh and packet.exchange_ms < self._subscribed_ms:
            self.counts["old_snapshot"] += 1
            return NOTHING if isinstance(packet, Ltp) else self._snapshot(known, packet)
        newest_ms = known.newest_ms
        time_ms, doubt = self._time(known, packet.exchange_ms, received_ms)
        if isinstance(packet, Ltp):
            return Told(Tick(known.instrument, packet.price, time_ms), doubt=doubt)
        quote = self._quote(known, packet, time_ms) if time_ms >= newest_ms else None  # a newer one was there before
        high, low = self._extremes(known, packet, fresh=fresh)
        baseline = self._back(known, packet, time_ms)
        if not (self._has_traded(known, packet) or fresh or not known.traded):
            self.counts["refresh"] += 1
            return Told(None, quote, baseline)
        if known.reset:
            self.counts["volume_reset"] += 1
            doubt = doubt or "volume_reset"
        return Told(self._tick(known, packet, time_ms, high=high, low=low), quote, baseline, doubt)

    def _time(self, known: _Known, exchange_ms: int, received_ms: int) -> tuple[int, str]:
        """Return the time of a tick, and what is doubtful about it."""
        time_ms, doubt = exchange_ms, ""
        if not received_ms - OLD_MS <= time_ms <= received_ms + AHEAD_MS:
            time_ms, doubt = received_ms, "clamped"
        elif time_ms < known.newest_ms:
            doubt = "reordered"
        if doubt:
            self.counts[doubt] += 1
        known.newest_ms = max(known.newest_ms, time_ms)
        return time_ms, doubt

    def _back(self, known: _Known, packet: QuotePacket | SnapQuote, time_ms: int) -> Baseline | None:
        """Note whether the day's volume has started again; tell what it is when it is back where it was."""
        if not known.traded:
            return None
        was_reset = known.reset
        known.reset = packet.day_volume < known.volume and time_ms >= known.newest_ms
        return Baseline(known.instrument, time_ms, packet.day_volume) if was_reset and not known.reset else None

    def _find(self, packet: Packet) -> _Known | None:
        wire = packet.exchange, packet.token
        try:
            return self._by_wire[wire]
        except KeyError:
            known = self._known.get(f"{EXCHANGES.get(packet.exchange, '?')}:{token_text(packet.token)}")
            if known is not None:  # what nobody subscribed is not kept: its number has no bound
                self._by_wire[wire] = known
            return known

    def _nothing(self, why: str) -> Told:
        self.counts[why] += 1
        return NOTHING

    def _snapshot(self, known: _Known, packet: QuotePacket | SnapQuote) -> Told:
        known.reset = known.reset and packet.day_volume < known.volume
        self._has_traded(known, packet)
        self._extremes(known, packet, fresh=True)
        time_ms, volume = packet.exchange_ms, max(packet.day_volume, 0)
        of_the_day = day_ordinal(time_ms) == day_ordinal(self._subscribed_ms)  # an older one says nothing of this day
        baseline = Baseline(known.instrument, time_ms, volume) if known.traded and of_the_day else None
        return Told(None, self._quote(known, packet, time_ms), baseline)

    def _has_traded(self, known: _Known, packet: QuotePacket | SnapQuote) -> bool:
        """Say whether something was traded since the packet before, as volume and time of the last trade tell."""
        traded = packet.day_volume != known.volume
        known.volume = max(known.volume, packet.day_volume)
        if isinstance(packet, SnapQuote):
            traded = traded or packet.last_traded_s > known.traded_s
            known.traded_s = max(known.traded_s, packet.last_traded_s)
        return traded

    def _extremes(
        self, known: _Known, packet: QuotePacket | SnapQuote, *, fresh: bool
    ) -> tuple[int | None, int | None]:
        """Return the day's high and low where they have moved since the packet before and its price is not them."""
        high, low = packet.high, packet.low
        moved_high = not fresh and high > known.high and high > packet.price
        moved_low = not fresh and 0 < low < (known.low or low) and low < packet.price
        known.high = max(known.high, high)
        known.low = min(known.low, low) if known.low and low > 0 else max(known.low, low)
        return high if moved_high else None, low if moved_low else None

    def _tick(
        self, known: _Known, packet: QuotePacket | SnapQuote, time_ms: int, *, high: int | None, low: int | None
    ) -> Tick:
        if not known.traded:
            return Tick(known.instrument, packet.price, time_ms, high=high, low=low)
        volume = None if known.reset else max(packet.day_volume, 0)
        return Tick(known.instrument, packet.price, time_ms, volume, max(packet.quantity, 0), high, low)

    def _quote(self, known: _Known, packet: QuotePacket | SnapQuote, time_ms: int) -> Quote:
        quote = Quote(
            known.instrument,
            time_ms,
            packet.price,
            max(packet.day_volume, 0) if known.traded else None,
            _told(packet.open),
            _told(packet.high),
            _told(packet.low),
            _told(packet.close),
            _told(packet.average_price),
        )
        return self._deepened(quote, packet, known) if isinstance(packet, SnapQuote) else quote

    def _deepened(self, quote: Quote, packet: SnapQuote, known: _Known) -> Quote:
        """Add what only the largest packets tell: the best prices, open interest and circuit limits."""
        buys, sells = levels(packet)
        bid, bid_quantity = max(_offers(buys), default=(0, 0))
        ask, ask_quantity = min(_offers(sells), default=(0, 0))
        if 0 < ask < bid:
            self.counts["crossed"] += 1
        return msgspec.structs.replace(
            quote,
            bid=_told(bid),
            bid_quantity=_told(bid_quantity),
            ask=_told(ask),
            ask_quantity=_told(ask_quantity),
            open_interest=packet.open_interest if known.traded and packet.open_interest >= 0 else None,
            upper_circuit=_told(packet.upper_circuit),
            lower_circuit=_told(packet.lower_circuit),
            last_traded_ms=_told(packet.last_traded_s * 1000),
        )


def _offers(found: Iterable[Level]) -> list[tuple[int, int]]:
    return [(level.price, level.quantity) for level in found if level.quantity > 0 and level.price > 0]


def _told(number: int) -> int | None:
    """Return what the broker tells; it writes 0 where it has nothing to tell."""
    return number if 0 < number <= LARGEST else None
