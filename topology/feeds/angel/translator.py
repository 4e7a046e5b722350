"""The broker's packets to ticks, quotes and baselines. Pure: the time of receipt is passed in.

The feed is a stream of snapshots with a cumulative volume, no trade tape. Hence the rules:

- A packet of a stock whose volume has not moved is a refresh of its quote: nothing was traded, so it is no tick. An
  index has no volume: each of its packets is a tick.
- A packet that came before, field by field, is a repeat and nothing.
- The first packet after a subscription is a snapshot of the last state, however old that is. Where its exchange time is
  before the subscription it gives the volume so far (a baseline) and the last price (a quote), and is no tick.
- Any other exchange time that is far from the time of receipt is wrong, and the time of receipt takes its place.
- A volume that starts again from a smaller number is wrong until it is back: no candle gets what was traded meanwhile.
- Where the day's high or low has moved and no price has shown it, the tick carries it: it was traded in between.
  Not with the first packet after a subscription, which can't say when.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from topology.feeds.angel.packets import DAY, HEAD, LTP, REST, SELL, SNAP_QUOTE, Fields, token_text
from topology.market.gaps import Baseline
from topology.market.instruments import EXCHANGES, default_class
from topology.market.quotes import Quote
from topology.market.ticks import LARGEST, Tick
from topology.market.times import day_ordinal

OLD_MS = 5000  # an exchange time further than this from the time of receipt is old, or wrong
AHEAD_MS = 1000  # and so is one that is further than this in the future
REMEMBERED = 8  # packets of an instrument, to know repeats by


class Translation(NamedTuple):
    """What a packet holds; None where it holds nothing of the kind.

    ``suspicion`` is not empty where something about the packet is wrong, and so about the candle of its tick.
    """

    tick: Tick | None = None
    quote: Quote | None = None
    baseline: Baseline | None = None
    suspicion: str = ""


NOTHING = Translation()


class _InstrumentDay:
    """What has been seen of an instrument in a day; ``volume`` and extremes are those of the day so far."""

    __slots__ = (
        "fallen", "fresh", "high", "instrument", "jumped", "low", "newest_ms", "newest_volume", "recent", "reset",
        "traded", "traded_s", "volume",
    )  # fmt: skip

    def __init__(self, instrument: str) -> None:
        self.instrument = instrument
        self.traded = default_class(instrument) != "index"
        self.recent: deque[tuple[int, int, int, int]] = deque(maxlen=REMEMBERED)
        self.fresh = True  # no packet since the subscription
        self.reset = False  # the day's volume has started again from a smaller number
        self.fallen = 0  # by how much it fell then, until it has jumped back
        self.jumped = False  # it has done so only after it had caught up by itself
        self.newest_volume = 0  # as the newest packet has it, right or wrong
        self.volume = self.high = self.low = self.traded_s = self.newest_ms = 0

    def has_traded(self, volume: int, traded_s: int) -> bool:
        """Say whether something was traded since the packet before, as volume and time of the last trade show."""
        traded = volume != self.volume
        if volume > self.volume:
            self.volume = volume
        if traded_s > self.traded_s:
            self.traded_s, traded = traded_s, True
        return traded

    def end_reset(self, volume: int, time_ms: int) -> Baseline | None:
        """Note whether the day's volume has started again; return what it is when it is back where it was.

        What started again may catch up with what was there before, and only then be put right: by at least as much as
        it fell.
        """
        if not self.traded:
            return None
        was_reset, more = self.reset, volume - self.newest_volume
        self.reset = volume < self.volume and time_ms >= self.newest_ms
        if self.reset and not was_reset:
            self.fallen = self.volume - volume
        returned = 0 < self.fallen <= more and not self.reset
        self.jumped = returned and not was_reset
        self.keep_volume(volume, time_ms, returned=returned)
        over = (was_reset and not self.reset) or self.jumped
        return Baseline(self.instrument, time_ms, volume) if over else None

    def keep_volume(self, volume: int, time_ms: int, *, returned: bool) -> None:
        """Keep the volume of the newest packet."""
        if time_ms >= self.newest_ms:
            self.newest_volume = volume
        if returned:
            self.fallen = 0

    def extremes(self, price: int, high: int, low: int, *, fresh: bool) -> tuple[int | None, int | None]:
        """Return the day's high and low where they have moved since the packet before and its price is not them."""
        new_high = high if high > self.high and high > price and not fresh else None
        new_low = low if 0 < low < self.low and low < price and not fresh else None
        if high > self.high:
            self.high = high
        if 0 < low < self.low or not self.low:
            self.low = max(low, 0)
        return new_high, new_low

    def tick(self, price: int, time_ms: int, volume: int, quantity: int, *, high: int | None, low: int | None) -> Tick:
        """Give the tick of a packet that has quantities; an index has none whatever its packets hold."""
        if not self.traded:
            return Tick(self.instrument, price, time_ms, None, None, high, low)
        day_volume = None if self.reset else max(volume, 0)
        return Tick(self.instrument, price, time_ms, day_volume, max(quantity, 0), high, low)


class Translator:
    """Translates the packets of the instruments that one socket has subscribed (``"NSE:2885"``).

    ``counts`` says how often something was left out or mended: ``unknown_instrument``, ``no_price``, ``repeat``,
    ``refresh``, ``old_snapshot``, ``clamped``, ``reordered``, ``volume_reset``, ``crossed`` (a best bid above the best
    ask).
    """

    def __init__(self, instruments: Iterable[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._days = {instrument: _InstrumentDay(instrument) for instrument in instruments}
        self._subscribed_ms = 0
        self._by_wire: dict[tuple[int, bytes], _InstrumentDay | None] = {}

    def subscribed(self, at_ms: int, instruments: Iterable[str] | None = None) -> None:
        """Note that these (None: all) were subscribed: the next packet of each is a snapshot of the state then.

        On another day than the last time, nothing of that day is known any more.
        """
        if day_ordinal(at_ms) != day_ordinal(self._subscribed_ms):
            self._days = {instrument: _InstrumentDay(instrument) for instrument in self._days}
            self._by_wire.clear()
        self._subscribed_ms = at_ms
        for instrument in self._days if instruments is None else instruments:
            day = self._days[instrument]
            day.fresh = True
            day.recent.clear()

    def instrument(self, packet: Fields) -> str | None:
        """Return the instrument of a packet, None for one that was not subscribed."""
        day = self._find(packet)
        return None if day is None else day.instrument

    def translate(self, packet: Fields, received_ms: int) -> Translation:
        """Return what a packet holds; ``received_ms`` is when it came, in milliseconds since the epoch."""
        mode, _, _, sequence, exchange_ms, price = packet[HEAD]
        day = self._find(packet)
        if day is None:
            return self._nothing("unknown_instrument")
        if price <= 0:
            return self._nothing("no_price")
        volume = packet[DAY][2] if day.traded and mode != LTP else 0
        fingerprint = (sequence, exchange_ms, price, volume)
        if fingerprint in day.recent:
            return self._nothing("repeat")
        day.recent.append(fingerprint)
        return self._translate(day, packet, received_ms)

    def _translate(self, day: _InstrumentDay, packet: Fields, received_ms: int) -> Translation:
        mode, _, _, _, exchange_ms, price = packet[HEAD]
        fresh, day.fresh = day.fresh, False
        if fresh and exchange_ms < self._subscribed_ms:
            self.counts["old_snapshot"] += 1
            return NOTHING if mode == LTP else self._snapshot(day, packet)
        newest_ms = day.newest_ms
        time_ms, suspicion = self._time(day, exchange_ms, received_ms)
        if mode == LTP:
            return Translation(Tick(day.instrument, price, time_ms), suspicion=suspicion)
        quantity, _, volume, _, _, _, high, low, _ = packet[DAY]
        traded_s = packet[REST][0] if mode == SNAP_QUOTE else 0
        quote = self._quote(day, packet, time_ms) if time_ms >= newest_ms else None  # a newer one was there before
        new_high, new_low = day.extremes(price, high, low, fresh=fresh)
        baseline = day.end_reset(volume, time_ms)
        if not (day.has_traded(volume, traded_s) or fresh or not day.traded):
            self.counts["refresh"] += 1
            return Translation(None, quote, baseline)
        if day.reset or day.jumped:
            self.counts["volume_reset"] += 1
            suspicion = suspicion or "volume_reset"
        return Translation(
            day.tick(price, time_ms, volume, quantity, high=new_high, low=new_low), quote, baseline, suspicion
        )

    def _time(self, day: _InstrumentDay, exchange_ms: int, received_ms: int) -> tuple[int, str]:
        """Return the time of a tick, and what is suspect about it."""
        time_ms, suspicion = exchange_ms, ""
        if not received_ms - OLD_MS <= time_ms <= received_ms + AHEAD_MS:
            time_ms, suspicion = received_ms, "clamped"
        elif time_ms < day.newest_ms:
            suspicion = "reordered"
        if suspicion:
            self.counts[suspicion] += 1
        if time_ms > day.newest_ms:
            day.newest_ms = time_ms
        return time_ms, suspicion

    def _find(self, packet: Fields) -> _InstrumentDay | None:
        wire = exchange, token = packet[1:3]
        try:
            return self._by_wire[wire]
        except KeyError:
            day = self._days.get(f"{EXCHANGES.get(exchange, '?')}:{token_text(token)}")
            if day is not None:  # what nobody subscribed is not kept: its number has no bound
                self._by_wire[wire] = day
            return day

    def _nothing(self, why: str) -> Translation:
        self.counts[why] += 1
        return NOTHING

    def _snapshot(self, day: _InstrumentDay, packet: Fields) -> Translation:
        mode, _, _, _, time_ms, price = packet[HEAD]
        _, _, volume, _, _, _, high, low, _ = packet[DAY]
        day.reset = day.reset and volume < day.volume
        day.keep_volume(volume, day.newest_ms, returned=not day.reset and volume - day.newest_volume >= day.fallen)
        day.has_traded(volume, packet[REST][0] if mode == SNAP_QUOTE else 0)
        day.extremes(price, high, low, fresh=True)
        of_the_day = day_ordinal(time_ms) == day_ordinal(self._subscribed_ms)  # an older one says nothing of this day
        baseline = Baseline(day.instrument, time_ms, max(volume, 0)) if day.traded and of_the_day else None
        return Translation(None, self._quote(day, packet, time_ms), baseline)

    def _quote(self, day: _InstrumentDay, packet: Fields, time_ms: int) -> Quote:
        mode, _, _, _, _, price = packet[HEAD]
        _, average_price, volume, _, _, open_, high, low, close = packet[DAY]
        quote = Quote(
            day.instrument,
            time_ms,
            price,
            max(volume, 0) if day.traded else None,
            _known(open_),
            _known(high),
            _known(low),
            _known(close),
            _known(average_price),
        )
        return self._with_depth(quote, packet, day) if mode == SNAP_QUOTE else quote

    def _with_depth(self, quote: Quote, packet: Fields, day: _InstrumentDay) -> Quote:
        """Add what only the largest packets hold: the best prices, open interest and circuit limits."""
        traded_s, open_interest, _, upper, lower, _, _, depth = packet[REST]
        bid, bid_quantity, ask, ask_quantity = _best(depth)
        if 0 < ask < bid:
            self.counts["crossed"] += 1
        return msgspec.structs.replace(
            quote,
            bid=_known(bid),
            bid_quantity=_known(bid_quantity),
            ask=_known(ask),
            ask_quantity=_known(ask_quantity),
            open_interest=open_interest if day.traded and open_interest >= 0 else None,
            upper_circuit=_known(upper),
            lower_circuit=_known(lower),
            last_traded_ms=_known(traded_s * 1000),
        )


def _best(depth: Sequence[int]) -> tuple[int, int, int, int]:
    """Return price and quantity of the best bid and of the best ask; zeros where there is none."""
    bid = bid_quantity = ask = ask_quantity = 0
    for flag, quantity, price in zip(depth[0::4], depth[1::4], depth[2::4], strict=True):
        if quantity <= 0 or price <= 0:
            continue
        if flag != SELL:
            if price > bid:
                bid, bid_quantity = price, quantity
        elif price < ask or not ask:
            ask, ask_quantity = price, quantity
    return bid, bid_quantity, ask, ask_quantity


def _known(number: int) -> int | None:
    """Return a number of the broker, None where it has none: then it writes 0."""
    return number if 0 < number <= LARGEST else None
