"""The parameters that several endpoints have."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import Annotated

import msgspec

from topology.market.times import IST
from web.http.problem import invalid

LONGEST_PAGE = 5_000
_PLUS = re.compile(r"(?<=:\d\d) (?=\d\d:\d\d\Z)")  # the plus of a time zone, as it comes out of a query string
FAR_S = 1 << 45  # later than any candle; times beyond it mean the same

Timeframe = Annotated[int, msgspec.Meta(ge=1, le=86_400, description="seconds")]
Limit = Annotated[int, msgspec.Meta(ge=1, le=LONGEST_PAGE)]
Token = Annotated[
    str, msgspec.Meta(min_length=1, max_length=40, description="99926000, or with its exchange NSE:99926000")
]
Exchange = Annotated[str, msgspec.Meta(max_length=10, description="NSE where nothing is said")]
Time = Annotated[
    str,
    msgspec.Meta(max_length=40, description="epoch seconds, or a time such as 2026-11-24T09:15:00+05:30"),
]


def seconds(name: str, text: str, default: int) -> int:
    """Read a time as epoch seconds, rounded up. Raises Problem.

    >>> seconds("before", "2026-11-24T09:15", 0) == seconds("before", "1795491900", 0)
    True
    """
    if not text:
        return default
    try:
        return min(max(int(text), 0), FAR_S)
    except ValueError:
        pass
    try:
        time = aware(_PLUS.sub("+", text), IST)
    except ValueError:
        raise invalid(f"{name}={text!r}: write epoch seconds, or a time like 2026-11-24T09:15:00+05:30") from None
    try:
        time_s = time.astimezone(UTC).timestamp()
    except (OverflowError, ValueError):
        raise invalid(f"{name}={text!r}: no such time") from None
    return max(-int(-time_s // 1), 0)


def aware(text: str, zone: tzinfo) -> datetime:
    """Read a time of RFC 3339 or ISO 8601; one that names no zone is of this one. Raises ValueError.

    >>> aware("2026-11-24T09:15", IST) == aware("2026-11-24T03:45", UTC)
    True
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=zone)
