"""One POST of a JSON object, whose failures never name the address: in it are the secrets of a channel."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

import aiohttp

from topology.notifiers.notice import UndeliveredError

LONGEST_WAIT_S = 300.0


class PostResponse(NamedTuple):
    """What a server answered: its HTTP status, and how many seconds it wants to be left alone."""

    status: int
    wait_s: float

    def undelivered(self, advice: Mapping[int, str]) -> UndeliveredError | None:
        """Return the error that this answer is, None if it is none. ``advice`` says by status what to do.

        Nothing of what the server wrote is quoted: it may well repeat the address it was asked at.
        """
        if self.status < HTTPStatus.MULTIPLE_CHOICES:
            return None
        passing = self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status == HTTPStatus.TOO_MANY_REQUESTS
        known = self.status in HTTPStatus._value2member_map_
        reason = f"HTTP {self.status}" + (f" {HTTPStatus(self.status).phrase}" if known else "")
        if self.status in advice:
            reason += f": {advice[self.status]}"
        return UndeliveredError(reason, passing=passing, wait_s=self.wait_s)


async def post(url: str, body: Mapping[str, object], *, timeout_s: float) -> PostResponse:
    """Send ``body``, follow no redirect, and return the answer. Raises UndeliveredError where there is none."""
    try:
        return await _post(url, body, timeout_s)
    except TimeoutError:
        problem = UndeliveredError(f"no answer within {timeout_s:g} s", passing=True)
    except (aiohttp.InvalidURL, ValueError):
        problem = UndeliveredError("the address can't be used: it is no URL", passing=False)
    except aiohttp.ClientSSLError:
        problem = UndeliveredError("the server's certificate is not trusted, or it speaks no TLS", passing=True)
    except aiohttp.ClientConnectorDNSError:
        problem = UndeliveredError("the name of the server is not known: check the address, and DNS", passing=True)
    except (aiohttp.ClientError, OSError) as error:
        problem = UndeliveredError(f"no connection ({type(error).__name__})", passing=True)
    # Out here, so that the error doesn't carry along the one that names the address.
    raise problem


async def _post(url: str, body: Mapping[str, object], timeout_s: float) -> PostResponse:
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url, json=body, allow_redirects=False) as answer,
    ):
        return PostResponse(answer.status, _seconds(answer.headers.get("Retry-After", "")))


def _seconds(retry_after: str) -> float:
    """Read the header; its other form, a date, counts as nothing."""
    return min(float(retry_after), LONGEST_WAIT_S) if retry_after.isascii() and retry_after.isdigit() else 0.0
