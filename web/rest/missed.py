"""Pushes of the WebSocket that a client has missed, by their numbers."""

from __future__ import annotations

from typing import Annotated

import msgspec

from web.gateway import Gateway
from web.http.endpoint import get
from web.http.problem import invalid

Number = Annotated[int, msgspec.Meta(ge=0, description="a channel_seq")]


class MissedQuery(msgspec.Struct):
    """Which pushes: those of a channel from one ``channel_seq`` to another, both included, of an epoch."""

    channel: Annotated[str, msgspec.Meta(min_length=1, max_length=100, description="pub:candle:60s:NSE:99926000")]
    from_seq: Number
    to_seq: Number
    epoch: Annotated[str, msgspec.Meta(max_length=40)] = ""


class MissedPushes(msgspec.Struct):
    """Confirmed values as they were pushed; what was still forming and ticks are not repeated.

    ``complete`` is false where some of them are no longer known, were never pushed, or were pushed in another epoch:
    subscribe again then, with ``resume``.
    """

    channel: str
    current_seq: int
    count: int
    messages: list[msgspec.Raw]
    complete: bool
    epoch: str


@get("/api/missed", example="channel=pub:candle:60s:NSE:99926000&from_seq=1&to_seq=9")
async def missed(gateway: Gateway, query: MissedQuery) -> MissedPushes:
    """Return pushes of a channel that is subscribed, or was two minutes ago: of the newest 500 confirmed ones."""
    if query.from_seq > query.to_seq:
        raise invalid(f"from_seq={query.from_seq} is after to_seq={query.to_seq}")
    pushes = gateway.pushes()
    if pushes is None:  # nobody has subscribed anything, and nobody can
        return MissedPushes(query.channel, 0, 0, [], complete=False, epoch="")
    replay = pushes.replay(query.channel, first=query.from_seq, last=query.to_seq, epoch=query.epoch)
    messages = [msgspec.Raw(text) for text in replay.messages]
    return MissedPushes(
        query.channel, replay.current, len(messages), messages, complete=replay.complete, epoch=replay.epoch
    )
