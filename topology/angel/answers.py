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

from topology.angel.rate_limits import is_refusal

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
    if not isinstance(answer, dict) or not isinstance(status := answer.get("status", answer.get("success")), bool):
        raise UnreachableError("the broker's answer can't be read")
    if status:
        return answer
    code = "".join(str(answer.get("errorcode") or answer.get("errorCode") or "").split())[:20]
    message = str(answer.get("message") or "the broker gives no reason")
    if is_refusal(message, code=code):
        raise RateLimitedError("called too often", code)
    if message.startswith("Couldn't parse"):
        raise UnreachableError("the broker's answer can't be read", code)
    message = scrubbed(message, secrets)
    if code in TRANSIENT:
        raise UnreachableError(message, code)
    if code in DEAD_TOKEN:
        raise TokenDeadError(message, code)
    raise (LoginRefusedError if route == LOGIN else RefusedError)(message, code)


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """Return a text of the broker on one line, not too long, without the secrets that it may quote."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return " ".join(text.split())[:200]
