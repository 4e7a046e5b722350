"""Hot reload: what the stages compute, changed through the log while they run."""

from __future__ import annotations

from typing import Annotated

import msgspec

from web.gateway import Gateway
from web.http.endpoint import post
from web.ports import Reloaded

MOST = 200  # timeframes, and indicators of one of them: more than anybody can look at


class Spec(msgspec.Struct, rename="pascal", forbid_unknown_fields=True):
    """An indicator: ``{"Type": "SMA", "Period": 34}``."""

    type: Annotated[str, msgspec.Meta(max_length=10)]
    period: int


class TimeframeSpecs(msgspec.Struct, rename={"tf": "TF", "indicators": "Indicators"}, forbid_unknown_fields=True):
    """A timeframe in seconds, and its indicators."""

    tf: int
    indicators: Annotated[list[Spec], msgspec.Meta(max_length=MOST)] = []


@post("/reload", example='[{"TF":60,"Indicators":[{"Type":"SMA","Period":34}]}]')
async def reload(gateway: Gateway, body: Annotated[list[TimeframeSpecs], msgspec.Meta(max_length=MOST)]) -> Reloaded:
    """Compute these timeframes and indicators from now on, in place of those there were; what stays isn't touched."""
    timeframes: list[tuple[int, list[str]]] = [
        (one.tf, [f"{spec.type}:{spec.period}" for spec in one.indicators]) for one in body
    ]
    return await gateway.log.reload(timeframes)
