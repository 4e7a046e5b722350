"""A gateway as its clients see it: REST, the charts' data feed, the WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.support.gateway_fixture import (
    NIFTY,
    NOW_MS,
    STOCK,
    TOKEN,
    Client,
    Served,
    Stores,
    asked,
    stored,
    two_days,
    write,
)
from tests.support.ws_market import CANDLES_60, SMA, TICK, Listening, Market, served
from tests.wire.inside import (
    GOES_AWAY,
    GONE,
    STORM,
    TOO_SLOW,
    UNDECIDED,
    ChannelName,
    Clock,
    Configure,
    FeedEvent,
    Gap,
    Request,
    Valkey,
    free_port,
    wait_shorter,
)
from tests.wire.written import check, shape

RECENT = 720  # frames of 10 s
OF_NIFTY, OF_STOCK = "token=99926000&exchange=NSE", "token=500325&exchange=BSE"
ASKED = (
    f"/api/candles?{OF_NIFTY}&tf=1&limit=2",
    f"/api/candles?{OF_NIFTY}&tf=60&limit=2",
    f"/api/candles?{OF_NIFTY}&tf=900&limit=2",
    f"/api/candles?{OF_STOCK}&tf=60&limit=9&fill=flat",
    f"/api/gaps?{OF_NIFTY}",
    f"/api/indicators/history?name=SMA_3&{OF_NIFTY}&limit=2",
    f"/api/indicators/history?name=EMA_5&{OF_NIFTY}&limit=2&fill=computed",
    "/api/indicators/latest",
    "/api/indicators/active",
    "/api/tfs",
    "/api/config",
    "/api/market-status",
    "/api/market-status?instrument_class=index",
    "/api/pipeline",
    "/api/metrics",
    f"/api/missed?channel={CANDLES_60}&from_seq=1&to_seq=2",
    "/api/session",
    "/tokens",
    f"/candles?{OF_NIFTY}&limit=2",
    f"/indicators?{OF_NIFTY}&name=SMA_3&limit=2",
    "/udf/config",
    "/udf/symbols?symbol=NSE:NIFTY",
    "/udf/search?query=n",
    "/udf/time",
    "/udf/history?symbol=NSE:NIFTY&resolution=1&to=4000000000&countback=2",
    "/udf/history?symbol=NSE:NIFTY&resolution=1D&from=0&to=1",
    "/udf/quotes?symbols=NSE:NIFTY,NSE:1",
    "/udf/marks?symbol=NSE:NIFTY&resolution=1&from=0&to=4000000000",
    "/api/candles?token=1",
    "/api/candles?token=99926000&tf=0",
    "/api/candles?token=99926000&tf=7",
    "/udf/history?symbol=NOBODY&resolution=1",
    "/nowhere",
    "/",
    "/chart",
    "/static/nowhere.js",
)
HEADERS = ("Cache-Control", "Link", "Retry-After", "Content-Type", "ETag", "Vary", "Allow", "Set-Cookie")
GENERAL = {"Content-Length", "Date", "Server", "Content-Type", *HEADERS}


@pytest.fixture
async def stores(valkey: Valkey, tmp_path: Path) -> AsyncIterator[Stores]:
    """Two days in the archive, the last two hours in the streams, and a gap."""
    found = Stores(tmp_path / "candles.db", valkey.port)
    await found.client.flushall()
    frames, made = two_days()
    recent = stored(made)
    first = recent["candles_1s"][0]
    gap = msgspec.structs.replace(first.frame, gaps=[Gap([NIFTY], first.frame.clock_ms - 9, first.frame.clock_ms)])
    recent["candles_1s"][0] = first._replace(frame=gap)
    await asyncio.to_thread(write, found.path, recent)
    await found.mirrored(stored(made[-RECENT:]))
    await found.ticked(frames[-RECENT:], len(frames) - RECENT)
    yield found
    await found.client.aclose()


async def test_answers_have_the_status_headers_and_fields_that_are_written(stores: Stores) -> None:
    found: dict[str, Any] = {}
    async with asked(stores) as client:
        for path in ASKED:
            found[f"GET {path}"] = await _answered(client, "GET", path)
        for method, path, body in (
            ("POST", "/reload", b'[{"TF":60,"Indicators":[{"Type":"SMA","Period":34}]}]'),
            ("POST", "/reload", b"[]"),
            ("POST", "/reload", b"{}"),
            ("POST", "/api/indicators/active", b'{"entries":[{"name":"SMA_3","tf":60,"color":"#26a69a"}]}'),
            ("POST", "/api/session", b'{"token":"%b"}' % TOKEN.encode()),
            ("POST", "/api/session", b'{"token":"another"}'),
            ("DELETE", "/api/session", b""),
            ("PUT", "/tokens", b""),
            ("OPTIONS", "/tokens", b""),
        ):
            of_body = f" {body.decode()}" if body else ""
            found[f"{method} {path}{of_body}"] = await _answered(client, method, path, body)
        found["POST /reload without a token"] = await _answered(client, "POST", "/reload", b"[]", token="")
        found["GET /tokens of a stranger's host"] = await _answered(client, "GET", "/tokens", Host="evil.example")
        found["GET /tokens of a friend"] = await _answered(client, "GET", "/tokens", Origin="http://friend.example")
    async with asked(stores, public=True) as client:
        found["GET /tokens where a token is asked for"] = await _answered(client, "GET", "/tokens", token="")
        cookie = f"topology_token={TOKEN}"
        found["GET /tokens with the cookie"] = await _answered(client, "GET", "/tokens", token="", Cookie=cookie)
    check("answers", found)


async def _answered(
    client: Client, method: str, path: str, body: bytes = b"", *, token: str = TOKEN, **headers: str
) -> dict[str, Any]:
    if token:
        headers["Authorization"] = f"Bearer {token}"
    async with client.session.request(method, client.url + path, data=body, headers=headers) as answer:
        shown = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
        others = sorted(set(answer.headers) - GENERAL)
        is_json = answer.content_type == "application/json"
        told = shape(await answer.json()) if is_json else answer.content_type
    if "ETag" in shown:
        shown["ETag"] = "a checksum"
    if "Set-Cookie" in shown:
        shown["Set-Cookie"] = shown["Set-Cookie"].partition("; expires=")[0]
    return {"status": answer.status, "headers": shown, "others": ", ".join(others), "answer": told}


async def test_paths_parameters_and_fields_are_those_that_are_written(stores: Stores) -> None:
    async with asked(stores) as client:
        document = await client.get("/api/docs")
        reached = await client.get("/api/config")
    assert reached
    schemas = document["components"]["schemas"]
    found: dict[str, Any] = {"security": document["components"]["securitySchemes"], "paths": {}}
    for path, methods in sorted(document["paths"].items()):
        for method, of in methods.items():
            parameters = {_field(one["name"], one["required"]): _shape(one["schema"], schemas) for one in _queried(of)}
            told = {"operationId": of["operationId"], "parameters": parameters}
            if "requestBody" in of:
                told["body"] = _content(of["requestBody"], schemas)
            told |= {status: _content(answer, schemas) for status, answer in of["responses"].items()}
            found["paths"][f"{method.upper()} {path}"] = told
    check("rest", found)


def _queried(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return list(operation.get("parameters", ()))


def _content(of: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    return {kind: _shape(one["schema"], schemas) for kind, one in of["content"].items()}


def _shape(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return what a schema says of JSON: not what its types are called, nor its words for people."""
    if "$ref" in schema:
        of = schemas[schema["$ref"].rpartition("/")[2]]
        if "properties" not in of:
            return _shape(of, schemas)
        required = of.get("required", ())
        return {_field(name, name in required): _shape(one, schemas) for name, one in of["properties"].items()}
    if "items" in schema:
        return [_shape(schema["items"], schemas)]
    if "anyOf" in schema:
        return {"any of": [_shape(one, schemas) for one in schema["anyOf"]]}
    return msgspec.json.encode(_plain(schema)).decode()


def _field(name: str, required: bool) -> str:
    return f"{name} (required)" if required else name


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(of) for key, of in value.items() if key not in ("description", "title")}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def test_routes_are_those_that_are_written(stores_of_nobody: Served) -> None:
    router = stores_of_nobody._runner._app.router
    check("routes", sorted(f"{route.method} {route.resource.canonical}" for route in router.routes() if route.resource))


@pytest.fixture
def stores_of_nobody() -> Served:
    """A gateway before nothing."""
    return Served(None)  # type: ignore[arg-type] # nobody asks it


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey that may be stopped."""
    server = Valkey(tmp_path / "valkey", free_port())
    server.start()
    yield server
    server.kill()


async def test_messages_of_the_socket_are_those_that_are_written(
    own_valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_shorter(monkeypatch, UNDECIDED, 600.0)
    found: dict[str, Any] = {}
    market = Market(own_valkey.port, tmp_path / "candles.db")
    await market.run(4, seconds=60)
    hurried = Clock(lambda: NOW_MS, _hurried)
    async with asyncio.timeout(60), served(market, clock=hurried) as gateway, gateway.client_of() as client:
        found["first of all"] = shape(await client.next())
        await _subscribe(client, market, found)
        gateway.start_broadcasts()
        found["every two seconds"] = shape(await client.until(type="metrics"))
        gateway.live.broadcaster.broadcast_event(FeedEvent(1, "log", 1, "gap", 0, "detail", 1, 2, 3))
        found["of the feed"] = shape(await client.until(type="event"))
        gateway.log.configuration = Configure(2, {60: ["SMA:3"]}, {}, gateway.log.configuration.calendar, 1000)
        found["of a new configuration"] = shape(await client.until(type="configuration"))
        await gateway.gateway.store.mirror.keep("gateway:active_config", b'{"entries":[{"name":"SMA_3","tf":60}]}')
        found["of what is shown"] = shape(await client.until(type="config_update"))
        own_valkey.stop()
        found["of Redis"] = shape(await client.until(type="source"))
        gateway.hub.close()
        assert (await _closed(client), client.socket.close_code) == (aiohttp.WSMsgType.CLOSE, GOES_AWAY[0])
    await market.close()
    found["requests"] = _requests()
    found["closes"] = [f"{code:d} {text}" for code, text in (GOES_AWAY, TOO_SLOW, STORM, GONE)]
    check("socket", found)


async def _subscribe(client: Listening, market: Market, found: dict[str, Any]) -> None:
    """Ask for all that can be asked for."""
    resume = {CANDLES_60: {"partition": 0, "position": 1}}
    await client.send(
        type="SUBSCRIBE", reqId="2", channels=[TICK, CANDLES_60, SMA, f"pub:candle:1s:{STOCK}"], resume=resume
    )
    found["channels"] = shape(await client.until(type="SNAPSHOT"))
    wanted = [{"id": "sma", "params": {"length": 3}}]
    await client.send(type="SUBSCRIBE", reqId="1", symbol=NIFTY, tf=60, history={"candles": 2}, indicators=wanted)
    found["a chart"] = shape(await client.until(type="SNAPSHOT"))
    await market.mirrored(market.step(60, live=True, correct=1))
    for channel in (TICK, CANDLES_60, SMA):
        found[f"a push of {channel}"] = shape(await client.until(channel=channel))
    await client.send(type="UNSUBSCRIBE", reqId="3", channels=[TICK])
    found["an unsubscription"] = shape(await client.until(type="UNSUBSCRIBED"))
    await client.send(type="SUBSCRIBE", reqId="4", channels=["pub:nothing"])
    refused = await client.until(type="ERROR")
    found["an error"] = {**shape(refused), "reqId": refused["reqId"]}
    await client.send(ping=1)
    found["a pong"] = shape(await client.until(type="pong"))


async def _closed(client: Listening) -> aiohttp.WSMsgType:
    while True:
        message = await client.socket.receive(20)
        if message.type is not aiohttp.WSMsgType.TEXT:
            return message.type


def _requests() -> dict[str, Any]:
    """Return what a client may ask for, and the channels that there are."""
    (_, components) = msgspec.json.schema_components([Request], ref_template="{name}")
    texts = ("pub:tick:NSE:1", "pub:candle:1s:NSE:1", "pub:candle:60s:NSE:1", "pub:ind:SMA_20:60s:NSE:1", "pub:x:NSE:1")
    return {
        "request": _shape({"$ref": "Request"}, components),
        "channels": {text: ChannelName.parse(text) is not None for text in texts},
    }


async def _hurried(seconds: float) -> None:
    """Wait a little, for what is told now and then."""
    await asyncio.sleep(600.0 if seconds > 100 else 0.01)


async def test_a_client_that_subscribes_nothing_is_told_everything_as_it_is_written(
    valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_shorter(monkeypatch, UNDECIDED, 0.0)
    market = Market(valkey.port, tmp_path / "candles.db")
    await market.client.flushall()
    await market.run(1, seconds=60)
    async with served(market) as gateway, gateway.client_of() as client:
        check("everything", shape(await client.until(channel=CANDLES_60, initial=True)))
    await market.close()
