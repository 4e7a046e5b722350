"""Who may ask for what."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway_fixture import NIFTY, TOKEN, Client, Stores, asked
from topology.embedded.loopback import free_port
from web.http.guard import BURST, RATE_PER_S

BODY = b'[{"TF":60}]'
RIGHT: dict[str, Any] = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer "},
        {"Cookie": "topology_token=x"},
    ],
)
async def test_what_changes_something_takes_the_token(client: Client, headers: dict[str, str]) -> None:
    problem = await client.post("/reload", BODY, status=401, **headers)
    assert problem["error"] == "unauthorized"
    assert TOKEN not in str(problem)
    await client.post("/reload", BODY, **RIGHT)
    await client.post("/reload", BODY, Cookie=f"topology_token={TOKEN}")


async def test_bound_elsewhere_everything_takes_the_token(filled: Stores) -> None:
    async with asked(filled, public=True) as client:
        client.headers = {"Host": "desk.example:8080"}
        assert (await client.get("/tokens", status=401))["error"] == "unauthorized"
        client.headers |= RIGHT
        assert len(await client.get("/tokens")) == 2


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8080", "", "[::2]"])
async def test_on_loopback_no_other_name_is_answered(client: Client, host: str) -> None:
    client.headers = {"Host": host}
    problem = await client.get("/tokens", status=403)
    assert problem["error"] == "wrong_host"


@pytest.mark.parametrize("host", ["localhost", "localhost:1234", "127.0.0.1", "[::1]:8080", "friend.example"])
async def test_loopback_has_several_names(client: Client, host: str) -> None:
    client.headers = {"Host": host}
    await client.get("/api/tfs")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://friend.example", "http://localhost:9999"])
async def test_pages_of_others_can_change_nothing(client: Client, origin: str) -> None:
    problem = await client.post("/reload", BODY, status=403, **RIGHT, Origin=origin)
    assert problem["error"] == "wrong_origin"


async def test_pages_of_friends_can_and_may_read(client: Client) -> None:
    await client.post("/reload", BODY, **RIGHT, Origin="http://friend.example")
    assert client.answer.headers["Access-Control-Allow-Origin"] == "http://friend.example"
    client.headers = {"Origin": "http://evil.example"}
    await client.get("/tokens")
    assert "Access-Control-Allow-Origin" not in client.answer.headers
    own = client.url
    await client.post("/reload", BODY, **RIGHT, Origin=own)


async def test_too_many_requests_are_refused_until_time_has_passed(filled: Stores) -> None:
    now_s = 0.0
    async with asked(filled, clock=lambda: now_s) as client:
        for _ in range(int(BURST)):
            await client.get("/udf/time")
        problem = await client.get("/udf/time", status=429)
        assert problem["error"] == "too_many_requests"
        assert client.answer.headers["Retry-After"] == "1"
        now_s = 1.0
        for _ in range(int(RATE_PER_S)):
            await client.get("/udf/time")
        await client.get("/udf/time", status=429)


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/static/../../etc/passwd", 404, "not_found"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404, "not_found"),
        ("DELETE", "/tokens", 405, "method_not_allowed"),
        ("POST", "/tokens", 405, "method_not_allowed"),
        ("GET", "/reload", 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_there_is_told_as_json(
    client: Client, method: str, path: str, status: int, error: str
) -> None:
    async with client.session.request(method, f"{client.url}{path}", headers=RIGHT) as answer:
        assert answer.status == status
        assert (await answer.json())["error"] == error


async def test_a_body_that_is_too_large_is_refused(client: Client) -> None:
    problem = await client.post("/reload", b"[" + b" " * 10_000_000 + b"]", status=413, **RIGHT)
    assert problem["error"] == "request_entity_too_large"


async def test_every_answer_has_the_headers_that_keep_pages_safe(client: Client) -> None:
    for path, status in (("/tokens", 200), ("/nowhere", 404), ("/udf/time", 200)):
        await client.get(path, status=status)
        policy = client.answer.headers["Content-Security-Policy"]
        assert "script-src 'unsafe-inline'" not in policy
        assert "default-src 'self'" in policy
        assert client.answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_defect_is_told_without_a_traceback_and_harms_nobody(
    filled: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asked(filled) as client:
        await client.get("/api/candles", token=NIFTY)
        with monkeypatch.context() as broken:
            broken.setattr("web.queries.store.Store.candles", _broken)
            problem = await client.get("/api/candles", token=NIFTY, status=500)
        assert problem["error"] == "internal"
        assert "secret" not in str(problem)
        await client.get("/api/candles", token=NIFTY)


async def _broken(*_: object) -> None:
    raise RuntimeError("a secret detail")


async def test_a_udf_client_gets_its_own_form_of_an_error(client: Client) -> None:
    problem = await client.get("/udf/history", status=404, symbol="NSE:NOBODY", resolution="1")
    assert (problem["s"], problem["error"]) == ("error", "unknown_symbol")
    assert problem["errmsg"] == problem["detail"]


async def test_redis_away_leaves_what_the_archive_has(filled: Stores) -> None:
    async with asked(filled) as client:
        before = await client.get("/api/candles", token=NIFTY, limit=500)
    async with asked(Stores(filled.path, free_port())) as client:
        assert await client.get("/api/candles", token=NIFTY, limit=500) == before
        problem = await client.get("/api/indicators/latest", status=503)
        assert problem["error"] == "data_unavailable"


async def test_many_sockets_may_be_opened_at_once(filled: Stores) -> None:
    async with asked(filled) as client:
        for _ in range(int(BURST) + 10):
            async with client.session.get(f"{client.url}/ws") as answer:
                assert answer.status == 404, "there is none here; what matters is that it isn't refused"
