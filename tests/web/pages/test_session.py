"""How a page gets in: the token becomes a cookie."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from web.http import session
from web.http.guard import COOKIE, Access, Rates, guard

TOKEN = "a-token"

Client = TestClient[web.Request, web.Application]


@pytest.fixture(params=[True, False], ids=["bound elsewhere", "on loopback"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    access = Access(public=request.param, origins=frozenset(), token=lambda: TOKEN)
    application = web.Application(middlewares=guard(access, Rates(lambda: 0.0)))
    session.serve(application, access)

    async def change(_: web.Request) -> web.Response:
        return web.Response(text="done")

    application.router.add_post("/reload", change)
    async with TestClient(TestServer(application)) as client:
        client.required = request.param  # type: ignore[attr-defined]
        yield client


async def session_state(client: Client) -> dict[str, bool]:
    answer = await client.get("/api/session")
    assert answer.headers["Cache-Control"] == "no-store"
    state: dict[str, bool] = await answer.json()
    return state


async def test_the_token_lets_a_page_in_until_it_is_forgotten(client: Client) -> None:
    required = client.required  # type: ignore[attr-defined]
    assert await session_state(client) == {"required": required, "authorized": False}
    assert (await client.post("/reload")).status == 401
    assert (await client.post("/api/session", json={"token": f" {TOKEN}\n"})).status == 200
    assert await session_state(client) == {"required": required, "authorized": True}
    assert (await client.post("/reload")).status == 200
    assert (await client.delete("/api/session")).status == 200
    assert await session_state(client) == {"required": required, "authorized": False}
    assert (await client.post("/reload")).status == 401


async def test_no_script_reads_the_cookie_and_no_other_site_brings_it(client: Client) -> None:
    answer = await client.post("/api/session", json={"token": TOKEN})
    cookie = answer.cookies[COOKIE]
    assert cookie["httponly"] is True
    assert cookie["samesite"] == "Strict"
    assert cookie["path"] == "/"
    assert TOKEN not in await answer.text()


@pytest.mark.parametrize("body", [b'{"token": "wrong"}', b'{"token": ""}', '{"token": "ä"}'.encode()])
async def test_what_is_not_the_token_is_refused(client: Client, body: bytes) -> None:
    answer = await client.post("/api/session", data=body)
    assert answer.status == 401
    assert COOKIE not in answer.cookies
    assert "topology gateway token" in (await answer.json())["detail"]


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b'{"token": 1}', b"\xff", b'{"token": "\\ud800"}'])
async def test_a_body_that_is_wrong_is_named(client: Client, body: bytes) -> None:
    answer = await client.post("/api/session", data=body)
    assert answer.status == 400
    assert (await answer.json())["error"] == "invalid"


async def test_pages_of_others_begin_no_session(client: Client) -> None:
    answer = await client.post("/api/session", json={"token": TOKEN}, headers={"Origin": "http://evil.example"})
    assert answer.status == 403
