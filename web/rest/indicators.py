"""Values of indicators: pages of confirmed ones, the latest, and which of them the dashboard shows."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from topology import indicators
from topology.sinks.archive.reader import PageQuery
from topology.sinks.channel_name import channel, indicator_name
from topology.sinks.values import IndicatorJson
from web.gateway import Gateway
from web.http.endpoint import Paged, get, post
from web.http.problem import invalid, unknown
from web.queries.computed_indicators import computed
from web.rest.queries import FAR_S, Exchange, Limit, Time, Timeframe, Token, seconds

ACTIVE_KEY = "gateway:active_config"
MOST_ENTRIES = 500

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=20, description="SMA_20")]


class HistoryQuery(msgspec.Struct):
    """Which page: the newest ``limit`` values of candles that start before ``before``.

    With ``fill=computed`` the candles from before the first value that was published have one as well, and so have
    those of timeframes and indicators that aren't configured: they say ``computed``.
    """

    name: Name
    token: Token
    exchange: Exchange = ""
    tf: Timeframe = 60
    limit: Limit = 300
    before: Time = ""
    fill: Literal["none", "computed"] = "none"


class Entry(msgspec.Struct, omit_defaults=True):
    """An indicator that is shown, and in which colour (``#26a69a``)."""

    name: Name
    tf: Timeframe
    color: Annotated[str, msgspec.Meta(pattern=r"^(#[0-9a-fA-F]{6})?\Z")] = ""


class Active(msgspec.Struct):
    """The indicators that the dashboards show."""

    entries: Annotated[list[Entry], msgspec.Meta(max_length=MOST_ENTRIES)]


class Done(msgspec.Struct):
    """The change is made."""

    status: str = "ok"


@get("/api/indicators/history", example="name=SMA_20&tf=60&token=99926000&limit=2")
async def history(gateway: Gateway, query: HistoryQuery) -> Paged[IndicatorJson]:
    """Return confirmed values, the newest first; the next page's address is in the header Link."""
    instrument = await gateway.instrument(query.token, query.exchange)
    name = known_name(query.name)
    page = PageQuery(query.limit, before_s=seconds("before", query.before, FAR_S))
    rows = await gateway.store.values(instrument, name, query.tf, page)
    if query.fill == "computed" and len(rows) < query.limit:
        before_s = rows[-1].ts if rows else page.before_s
        missing = PageQuery(query.limit - len(rows), before_s=before_s)
        rows = rows + await computed(gateway, instrument, name, query.tf, missing)
    elif not rows:
        require_computed(gateway, name, query.tf)
    return Paged(rows, rows[-1].ts if len(rows) == query.limit else None)


@get("/api/indicators/latest")
async def latest(gateway: Gateway) -> dict[str, msgspec.Raw]:
    """Return the newest confirmed value of every indicator and instrument, by its channel."""
    timeframes = gateway.log.configuration.timeframes
    names = [indicator_name(indicators.name(spec), tf) for tf, specs in timeframes.items() for spec in specs]
    found = await gateway.store.mirror.latest(names, sorted(await gateway.instruments()))
    return {channel(name, instrument): msgspec.Raw(data) for (name, instrument), data in found.items()}


@get("/api/indicators/active")
async def active(gateway: Gateway) -> Active:
    """Return which indicators the dashboards show; all that are computed, where nobody has chosen."""
    kept = await gateway.store.mirror.kept(ACTIVE_KEY)
    if kept is not None:
        return msgspec.json.decode(kept, type=Active)
    timeframes = gateway.log.configuration.timeframes
    return Active([Entry(indicators.name(spec), tf) for tf, specs in sorted(timeframes.items()) for spec in specs])


@post("/api/indicators/active", example='{"entries":[{"name":"SMA_20","tf":60,"color":"#26a69a"}]}')
async def activate(gateway: Gateway, body: Active) -> Done:
    """Choose which indicators the dashboards show, on all gateways."""
    for entry in body.entries:
        name = known_name(entry.name)
        if not is_computed(gateway, name, entry.tf):
            raise unknown("indicator", f"{name} of {entry.tf} s is not computed: add it by POST /reload")
    await gateway.store.mirror.keep(ACTIVE_KEY, msgspec.json.encode(body))
    return Done()


def known_name(name: str) -> str:
    """Check the name of an indicator, ``SMA_20``. Raises Problem."""
    try:
        return indicators.IndicatorSpec.of_name(name).name
    except indicators.IndicatorError as error:
        raise invalid(f"name={name!r}: {error}") from None


def require_computed(gateway: Gateway, name: str, timeframe_s: int) -> None:
    """Refuse an indicator that the configuration in force doesn't have. Raises Problem."""
    if not is_computed(gateway, name, timeframe_s):
        raise unknown("indicator", f"{name} of {timeframe_s} s is not computed: /api/config lists what is")


def is_computed(gateway: Gateway, name: str, timeframe_s: int) -> bool:
    """Whether the configuration in force has this indicator."""
    specs = gateway.log.configuration.timeframes.get(timeframe_s, [])
    return name in map(indicators.name, specs)
