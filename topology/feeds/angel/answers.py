"""What the broker's answers mean. It has two dialects of error, and some that are neither. Pure.

Exceptions::

    BrokerError
    +-- UnreachableError     no answer, or none that says anything: try again later
    +-- RateLimitedError     called too often: rest
    +-- TokenDeadError       the session is over: log in again
    +-- LoginRefusedError    the credentials are refused: the account locks when that is repeated
    +-- RefusedError         any other refusal
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from topology.feeds.angel.limits import is_refusal

DEAD_TOKEN = {"AG8001", "AG8002", "AG8003", "AB8050", "AB8051", "AB1010", "AB1011"}
TRANSIENT = {"AB1004", "AB2000", "AB2001"}
LOGIN = "api.login"


class BrokerError(Exception):
    """The broker did not do what was asked. The message is one line without secrets; ``code`` is the broker's."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(f"{message} ({code})" if code else message)
        self.code = code


class UnreachableError(BrokerError):
    """No answer, or none that says anything: it may be there later."""


class RateLimitedError(BrokerError):
    """Called too often: the endpoint has to rest."""


class TokenDeadError(BrokerError):
    """The session is over: log in again."""


class LoginRefusedError(BrokerError):
    """The credentials are refused. To repeat that locks the account."""


class RefusedError(BrokerError):
    """Refused for a reason of its own."""


def checked(answer: object, *, route: str, secrets: Iterable[str]) -> dict[str, Any]:
    """Return an answer that is a success; raise what another one means. ``secrets`` are cut out of its message."""
    if not isinstance(answer, dict):
        raise UnreachableError("the broker's answer can't be read")
    if answer.get("status", answer.get("success")) is True:
        return answer
    code = "".join(str(answer.get("errorcode") or answer.get("errorCode") or "").split())[:20]
    message = str(answer.get("message") or "the broker gives no reason")
    limited = is_refusal(message, code=code)
    for secret in filter(None, secrets):
        message = message.replace(secret, "***")
    message = " ".join(message.split())[:200]
    if limited:
        raise RateLimitedError("called too often", code)
    if code in TRANSIENT or message.startswith("Couldn't parse"):
        raise UnreachableError("the broker's answer can't be read" if not code else message, code)
    if route == LOGIN:
        raise LoginRefusedError(message, code)
    if code in DEAD_TOKEN:
        raise TokenDeadError(message, code)
    raise RefusedError(message, code)
