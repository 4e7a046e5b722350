"""What a client may ask for."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from topology import indicators
from web.http.problem import Problem, invalid
from web.rest.queries import Timeframe

LONGEST = 4096  # bytes of a message
MOST_CANDLES = 1_000
MOST_CHANNELS = 500
MOST_INDICATORS = 50

Text = Annotated[str, msgspec.Meta(max_length=100)]


class SnapshotLength(msgspec.Struct):
    """How many candles there shall be in the snapshot."""

    candles: Annotated[int, msgspec.Meta(ge=0)] = 500


class Parameters(msgspec.Struct):
    """Of an indicator: its period."""

    length: Annotated[int, msgspec.Meta(ge=1, le=500)] = 14


class IndicatorRequest(msgspec.Struct):
    """An indicator: ``id`` is its type, as ``sma``; ``tf`` is that of the subscription where it has none."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
    params: Parameters = msgspec.field(default_factory=Parameters)
    source: Literal["close"] = "close"
    tf: Timeframe | None = None


class Resume(msgspec.Struct):
    """The last confirmed message of a channel that a client has had."""

    partition: int
    position: int


class Request(msgspec.Struct):
    """A message of a client. ``channels`` are asked for by name, or a symbol's candles and indicators with history."""

    type: Literal["SUBSCRIBE", "UNSUBSCRIBE", ""] = ""
    req_id: Text = msgspec.field(name="reqId", default="")
    symbol: Text = ""
    tf: Timeframe = 60
    history: SnapshotLength = msgspec.field(default_factory=SnapshotLength)
    indicators: Annotated[list[IndicatorRequest], msgspec.Meta(max_length=MOST_INDICATORS)] = []
    channels: Annotated[list[Text], msgspec.Meta(max_length=MOST_CHANNELS)] | None = None
    resume: dict[str, Resume] = {}
    ping: int | float | None = None


_decode = msgspec.json.Decoder(Request).decode


class RequestId(msgspec.Struct):
    """Of a request that is wrong, what its error is known by."""

    req_id: Text = msgspec.field(name="reqId", default="")


def read(text: str) -> Request:
    """Read a message of a client. Raises Problem."""
    try:
        request = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise invalid(f"the message is wrong: {error}") from None
    if request.ping is None and not request.type:
        raise invalid("the message has no type: there are SUBSCRIBE, UNSUBSCRIBE and ping")
    if request.type and request.channels is None and not request.symbol:
        raise invalid("name a symbol, or channels")
    return request


def id_of(text: str) -> str:
    """Return the ``reqId`` of a message that is wrong otherwise, as far as it has one."""
    try:
        return msgspec.json.decode(text, type=RequestId).req_id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""


def indicator(request: IndicatorRequest) -> str:
    """Return the name of an indicator that is asked for, ``SMA_20``. Raises Problem."""
    try:
        return indicators.name(f"{request.id}:{request.params.length}")
    except indicators.IndicatorError as error:
        raise Problem(404, "unknown_indicator", str(error)) from None
