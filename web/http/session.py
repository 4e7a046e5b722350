"""`/api/session`: how a page gets in. The token, given once, becomes a cookie that no script can read.

Whether a request holds the token is decided by `web.http.guard`.
"""

from __future__ import annotations

import msgspec
from aiohttp.web import Application, Request, Response

from web.http.guard import COOKIE, Access, token_of
from web.http.problem import Problem, invalid

KEPT_S = 30 * 86_400


class SessionStatus(msgspec.Struct):
    """Whether reading takes the token here (changes always do), and whether this client holds it."""

    required: bool
    authorized: bool


class GivenToken(msgspec.Struct):
    """The token, as `topology gateway token` shows it."""

    token: str


def serve(application: Application, access: Access) -> None:
    """Serve the three of them."""

    async def tell(request: Request) -> Response:
        return _status(access, authorized=access.holds(token_of(request)))

    async def begin(request: Request) -> Response:
        try:
            given = msgspec.json.decode(await request.read(), type=GivenToken).token.strip()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise invalid(f"the body is wrong: {error}") from None
        if not access.holds(given):
            raise Problem(401, "unauthorized", "this is not the token: `topology gateway token` shows it")
        response = _status(access, authorized=True)
        response.set_cookie(
            COOKIE, given, max_age=KEPT_S, httponly=True, samesite="Strict", secure=request.secure, path="/"
        )
        return response

    async def end(_: Request) -> Response:
        response = _status(access, authorized=False)
        response.del_cookie(COOKIE, httponly=True, samesite="Strict", path="/")
        return response

    application.router.add_get("/api/session", tell)
    application.router.add_post("/api/session", begin)
    application.router.add_delete("/api/session", end)


def _status(access: Access, *, authorized: bool) -> Response:
    return Response(
        body=msgspec.json.encode(SessionStatus(access.public, authorized)),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
