"""What a gateway has to know of a message to pass it on."""

from __future__ import annotations

import msgspec


class MessageHeader(msgspec.Struct, frozen=True, gc=False):
    """Of a message's fields those that say which it is: a confirmed one is known by position, ``ts`` and revision.

    ``tick_ts`` is the time of a tick in milliseconds.
    """

    position: int
    partition: int
    ts: int = 0
    tick_ts: int = 0
    forming: bool = False
    live: bool = False
    revision: int = -1


message_header = msgspec.json.Decoder(MessageHeader).decode
"""Read the header of a message; its other fields are skipped."""
