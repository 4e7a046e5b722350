"""What a request asks for, as far as there is such a thing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from topology.market.instruments import Instrument, InstrumentError
from topology.sinks.channel_name import ChannelName
from web.gateway import Gateway
from web.http.problem import unknown
from web.live.requests import MOST_CANDLES, Request, indicator
from web.queries.resampling import part_of
from web.rest.indicators import is_computed


class Chart(NamedTuple):
    """What is subscribed by symbol: its candles, and values of indicators by name and timeframe."""

    instrument: str
    timeframe_s: int
    length: int
    values: tuple[ChannelName, ...]

    @property
    def channels(self) -> list[ChannelName]:
        """Its channels; the first is that of its candles."""
        return [ChannelName.of_candles(self.instrument, self.timeframe_s), *self.values]


async def chart_of(gateway: Gateway, request: Request) -> Chart:
    """Return the chart that is asked for. Raises Problem for what isn't there."""
    instrument = await _known(gateway, symbol_of(request.symbol))
    part_of(gateway, request.tf)
    values = []
    for one in request.indicators:
        value = ChannelName.of_indicator(instrument, indicator(one), one.tf or request.tf)
        _require_indicator(gateway, value)
        values.append(value)
    return Chart(instrument, request.tf, min(request.history.candles, MOST_CANDLES), tuple(dict.fromkeys(values)))


async def channels_of(gateway: Gateway, texts: Iterable[str]) -> list[ChannelName]:
    """Return the channels that are asked for, each once. Raises Problem for one that there isn't."""
    names = {}
    for text in texts:
        name = names[text] = ChannelName.parse(text)
        if name is None:
            raise unknown(
                "channel", f"{text!r} is no channel: there are pub:tick:NSE:2885, pub:candle:60s:NSE:2885, ..."
            )
        await _known(gateway, name.instrument)
        if name.indicator:
            _require_indicator(gateway, name)
        elif name.stage:
            part_of(gateway, name.timeframe_s)
    return [name for name in names.values() if name is not None]


def symbol_of(text: str) -> str:
    """Return the instrument that a symbol is, which may go without its exchange. Raises Problem."""
    try:
        return str(Instrument.parse(text if ":" in text else f"NSE:{text}"))
    except InstrumentError as error:
        raise unknown("symbol", str(error)) from None


async def _known(gateway: Gateway, instrument: str) -> str:
    if not await gateway.is_known(instrument):
        raise unknown("symbol", f"there is nothing of {instrument}; /tokens lists what there is")
    return instrument


def _require_indicator(gateway: Gateway, channel: ChannelName) -> None:
    if not is_computed(gateway, channel.indicator, channel.timeframe_s):
        raise unknown("indicator", f"{channel.indicator} of {channel.timeframe_s} s is not computed")
