"""Instruments by exchange and token, and the instrument class whose sessions they trade in."""

from __future__ import annotations

import re
from dataclasses import dataclass

EXCHANGES = {1: "NSE", 2: "NFO", 3: "BSE", 4: "BFO", 5: "MCX", 7: "NCX", 13: "CDE"}
"""Exchange segments by the number that the broker's feed gives them."""

NUMBERS = {name: number for number, name in EXCHANGES.items()}
"""The other way round."""

EXCHANGES_BY_TEXT = {str(number): name for number, name in EXCHANGES.items()} | {
    name: name for name in EXCHANGES.values()
}
"""Exchange segments by the number or the name that people write."""
_CLASSES = {
    "NSE": "equity",
    "BSE": "equity",
    "NFO": "derivative",
    "BFO": "derivative",
    "MCX": "commodity",
    "NCX": "commodity",
    "CDE": "currency",
}
_INDEX_TOKENS = {"NSE": re.compile(r"99926\d{3}|26000|26009"), "BSE": re.compile(r"99919\d{3}")}
_TOKEN = re.compile(r"[0-9]{1,25}")  # the token field of the broker's packets holds 25 characters


class InstrumentError(ValueError):
    """The text doesn't name an instrument; the message is one line."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is traded: an exchange segment and its token there, written ``NSE:99926000``."""

    exchange: str
    token: str

    @classmethod
    def parse(cls, text: str) -> Instrument:
        """Read ``NSE:99926000`` or the broker's ``1:99926000``; InstrumentError says what is allowed.

        >>> str(Instrument.parse("1:99926000"))
        'NSE:99926000'
        """
        shorthand, _, token = text.partition(":")
        exchange = EXCHANGES_BY_TEXT.get(shorthand)
        if exchange is None or not _TOKEN.fullmatch(token):
            known = ", ".join(f"{name} or {number}" for number, name in EXCHANGES.items())
            raise InstrumentError(
                f"instrument {text!r}: write exchange and token, such as NSE:99926000 (exchanges: {known})"
            )
        return cls(exchange, token)

    def __str__(self) -> str:
        """Return ``exchange:token``, as the log and every key has it."""
        return f"{self.exchange}:{self.token}"


def price_divisor(exchange: str) -> int:
    """Return how many units of the prices of an exchange segment make a rupee."""
    return 10_000_000 if exchange == "CDE" else 100


def default_class(instrument: str) -> str:
    """Return the instrument class that follows from exchange and token alone. Raises InstrumentError.

    ``index``, ``equity``, ``derivative``, ``commodity`` or ``currency``. Stocks with derivatives close with an auction
    (``equity_cas``), but their tokens don't tell: the log's configuration names them. Index tokens are those of the
    broker's instrument master, and two older ones.

    >>> default_class("NSE:99926000"), default_class("NSE:2885")
    ('index', 'equity')
    """
    parsed = Instrument.parse(instrument)
    index_tokens = _INDEX_TOKENS.get(parsed.exchange)
    if index_tokens is not None and index_tokens.fullmatch(parsed.token):
        return "index"
    return _CLASSES[parsed.exchange]
