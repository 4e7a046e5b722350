"""Who may ask for what: hosts and origins, the token, the rate of requests, and errors as JSON.

A gateway on loopback answers everybody on this machine, but for what changes something, which takes the token. Bound
elsewhere it takes the token for everything except the pages themselves, which ask for it. Host and Origin are checked
because a page of any web site can send requests to this machine out of its user's browser.
"""

from __future__ import annotations

import hmac
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from web.http.problem import Problem
from web.http.token_bucket import TokenBucket

logger = logging.getLogger(__name__)

COOKIE = "topology_token"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_PATHS = frozenset({"/", "/chart", "/health", "/api/session", "/favicon.ico"})
STATIC = "/static/"
RATE_PER_S, BURST = 200.0, 1_000.0
"""Requests of a client: a page that loads asks for a dozen, a program that pages through years for hundreds.

WebSockets have bounds of their own: many may be opened at once from one place, when a gateway has been started again.
"""

CLIENTS = 10_000
"""Clients whose rate is remembered."""

LOGO_STYLE = "sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY="
"""The one style sheet that is not a file: the chart library makes it for the logo that its licence asks for."""

HEADERS = {
    "Content-Security-Policy": f"default-src 'self'; style-src 'self' '{LOGO_STYLE}'; img-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Access:
    """Who is let in. ``origins`` are those of pages elsewhere that may use this gateway, such as ``http://host:5173``.

    ``token`` is asked for at each request, so that one that is rotated counts at once.
    """

    public: bool
    origins: frozenset[str]
    token: Callable[[], str]

    @property
    def hosts(self) -> frozenset[str]:
        """The names by which a gateway on loopback is known."""
        return LOOPBACK | {urlsplit(origin).hostname or "" for origin in self.origins}

    def holds(self, given: str) -> bool:
        """Whether this is the token."""
        return bool(given) and hmac.compare_digest(given.encode(), self.token().encode())


def token_of(request: web.Request) -> str:
    """Return the token that a request brings: ``Authorization: Bearer``, or the cookie of the pages."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")


class Rates:
    """A bucket of requests for each client. ``clock`` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, client: str) -> None:
        """Take one request. Raises Problem where the bucket is empty."""
        bucket = self._buckets.pop(client, None) or TokenBucket(self._clock, burst=BURST, rate_per_s=RATE_PER_S)
        self._buckets[client] = bucket
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        if not bucket.take():
            raise Problem(429, "too_many_requests", f"at most {RATE_PER_S:.0f} requests a second", retry_after_s=1)


def guard(access: Access, rates: Rates) -> list[Middleware]:
    """Return the middlewares, in the order in which a request passes them."""

    @web.middleware
    async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except Problem as problem:
            response = _explained(request, problem)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            word = error.reason.lower().replace(" ", "_")
            response = _explained(request, Problem(error.status, word, f"{request.method} {request.path}"[:200]))
            response.headers.update({name: error.headers[name] for name in ("Allow",) if name in error.headers})
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            response = _explained(request, Problem(500, "internal", "this is a defect: see the log of the gateway"))
        if not response.prepared:
            response.headers.update(HEADERS)
            _allow_origin(access, request, response)
        return response

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        upgrades = request.path == "/ws"
        if not upgrades:
            rates.take(request.remote or "")
        _check_host(access, request)
        changes = request.method not in ("GET", "HEAD", "OPTIONS")
        if changes or upgrades:
            _check_origin(access, request)
        if request.method == "OPTIONS" and request.headers.get("Origin") in access.origins:
            return web.Response(status=204)
        free = request.path in OPEN_PATHS or request.path.startswith(STATIC)
        if (changes or access.public) and not free and not access.holds(token_of(request)):
            raise Problem(
                401, "unauthorized", "send the token as `Authorization: Bearer`; `topology gateway token` shows it"
            )
        return await handler(request)

    return [explain, admit]


def _check_host(access: Access, request: web.Request) -> None:
    host = urlsplit(f"//{request.host}").hostname or ""
    if not access.public and host not in access.hosts:
        raise Problem(
            403, "wrong_host", f"this gateway isn't called {host[:100]!r}: ask localhost, or name it in ALLOWED_ORIGINS"
        )


def _check_origin(access: Access, request: web.Request) -> None:
    origin = request.headers.get("Origin")
    if origin is None or origin in access.origins:
        return  # a program sends none
    if urlsplit(origin).netloc != request.host:
        raise Problem(403, "wrong_origin", f"pages of {origin[:100]!r} may not do this: name it in ALLOWED_ORIGINS")


def _allow_origin(access: Access, request: web.Request, response: web.StreamResponse) -> None:
    origin = request.headers.get("Origin")
    if origin in access.origins and origin is not None:
        response.headers.update(
            {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
                "Access-Control-Allow-Headers": "Authorization, Content-Type",
                "Vary": "Origin",
            }
        )
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"


def _explained(request: web.Request, problem: Problem) -> web.Response:
    body = {"error": problem.error, "detail": problem.detail}
    if request.path.startswith("/udf/"):
        body |= {"s": "error", "errmsg": problem.detail}
    return web.Response(
        status=problem.status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        headers=problem.headers,
    )
