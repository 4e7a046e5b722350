"""What pages say when things are not as they should be: a gateway whose socket, and some answers, are played."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route, WebSocketRoute

from tests.support.browser import CHART, DESKTOP, DRAWN, Seen, browsing
from tests.support.gateway_fixture import NIFTY, TOKEN, Stores, asked

CHART_PAGE = f"/chart?symbol={NIFTY}&tf=60"


@pytest.fixture
async def seen(filled: Stores, tmp_path: Path) -> AsyncIterator[Seen]:
    async with asked(filled) as client, browsing() as browser:
        seen = Seen(await browser.new_page(viewport=DESKTOP), client.url, tmp_path)
        yield seen
        assert seen.complaints == []


class Played:
    """A gateway's socket, played: what it sends is said by the test."""

    def __init__(self) -> None:
        self._line: asyncio.Future[WebSocketRoute] = asyncio.get_running_loop().create_future()

    def connected(self, line: WebSocketRoute) -> None:
        line.on_message(lambda _: None)  # it answers nothing by itself
        if not self._line.done():
            self._line.set_result(line)

    async def send(self, **message: Any) -> None:
        (await self._line).send(json.dumps(message))


async def played(seen: Seen, path: str) -> Played:
    gateway = Played()
    await seen.page.route_web_socket("**/ws", gateway.connected)
    await seen.page.goto(f"{seen.url}{path}")
    return gateway


async def test_live_values_look_different_from_simulated_ones(seen: Seen) -> None:
    gateway = await played(seen, "/")
    badge = "document.getElementById('badge').textContent"
    colour = "getComputedStyle(document.querySelector('.badge')).backgroundColor"
    await seen.until(f"{badge} === 'LIVE'")
    live = await seen.ask(colour)
    await gateway.send(type="hello", epoch="e", log="l", simulated=True, server_ts=0)
    await seen.until(f"{badge} === 'SIMULATED'")
    assert await seen.ask(colour) != live
    assert "No price on this page is real" in await seen.text(".badge")


async def test_what_happens_to_the_feed_is_told(seen: Seen) -> None:
    gateway = await played(seen, "/")
    at_ms = 1_795_495_500_000  # 10:15 in India
    await gateway.send(type="event", kind="gap", from_ms=at_ms, to_ms=at_ms + 42_000, instruments=2, detail="socket 0")
    told = await seen.until("document.querySelector('.toast.warn')?.textContent")
    assert "Gap in the feed" in told
    assert "10:15:00 IST, 00:42 long" in told
    assert "2 instruments" in told
    await gateway.send(type="event", kind="resumed", at_ms=at_ms + 42_000, instruments=0, detail="")
    assert "Feed is back" in await seen.until("document.querySelector('.toast.good')?.textContent")


async def test_loading_nothing_and_failing_are_told_apart(seen: Seen) -> None:
    await seen.page.route("**/api/candles?*", lambda route: route.fulfill(status=200, json=[]))
    await played(seen, CHART_PAGE)
    state = "document.getElementById('chart').dataset.state"
    said = "document.querySelector('.state').innerText"
    await seen.until(f"{state} === 'empty'")  # nothing came by the socket, so the archive was asked
    assert "No candles yet" in await seen.ask(said)
    assert "Closed (after the close) · opens 23 Nov 09:15" in await seen.ask(said)
    answered = asyncio.Event()

    async def answer(route: Route) -> None:
        await answered.wait()
        await route.fulfill(status=503, json={"error": "archive_unavailable", "detail": "the archive is away"})

    await seen.page.route("**/api/candles?*", answer)
    await seen.page.click(".segments button[value='300']")
    assert "Loading" in await seen.until(f"{state} === 'loading' && {said}")
    answered.set()
    await seen.until(f"{state} === 'error'")
    assert "the archive is away" in await seen.ask(said)
    assert await seen.page.is_visible(".state button")


async def test_a_gateway_that_asks_for_the_token_is_given_it_once(filled: Stores, tmp_path: Path) -> None:
    async with asked(filled, public=True) as client, browsing() as browser:
        seen = Seen(await browser.new_page(viewport=DESKTOP), client.url, tmp_path)
        await played(seen, "/")
        await seen.page.fill("#token", "wrong")
        await seen.page.keyboard.press("Enter")
        await seen.until("document.querySelector('dialog .problem').textContent.includes('not the token')")
        await seen.page.fill("#token", TOKEN)
        await seen.page.keyboard.press("Enter")
        await seen.until("document.querySelectorAll('#watch tbody tr').length === 2")
        await seen.page.reload()
        await seen.until("document.querySelectorAll('#watch tbody tr').length === 2")
        assert await seen.page.query_selector("#token") is None
        assert await seen.ask("document.cookie") == ""


async def test_a_page_that_was_there_before_the_first_price_finds_it(seen: Seen) -> None:
    asked_times = 0

    async def nothing_at_first(route: Route) -> None:
        nonlocal asked_times
        asked_times += 1
        await (route.fulfill(status=200, json=[]) if asked_times == 1 else route.continue_())

    await seen.page.route("**/tokens", nothing_at_first)
    await played(seen, "/")
    await seen.until("document.getElementById('watch-none').textContent.includes('No instrument has a price yet')")
    await seen.until("document.querySelectorAll('#watch tbody tr').length === 2")
    await seen.until("document.getElementById('chart').dataset.state === 'ready'")


async def test_types_of_indicators_are_those_that_the_gateway_tells_of(seen: Seen) -> None:
    config = await seen.get("/api/config")
    words = {"title": "Made up", "about": "For this test", "longest_period": 7, "default_period": 5}
    config["indicator_types"].append({"id": "XYZ", **words, "pane": "own", "levels": [1.5], "bounds": None})
    config["timeframes"]["60"].append("XYZ_5")
    await seen.page.route("**/api/config", lambda route: route.fulfill(json=config))
    await seen.page.route("**/api/indicators/history?*", lambda route: route.fulfill(json=[]))
    await played(seen, f"{CHART_PAGE}&indicators=SMA_3,RSI_14,XYZ_5")
    await seen.until(f"{DRAWN}.length > 0 && {CHART}.drawing.indicators.length === 3")
    assert await seen.ask(f"{CHART}.drawing.indicators.map(({{ series }}) => series.getPane().paneIndex())") == [
        0,
        1,
        2,
    ]
    legends = await seen.until(
        "(all => all.length === 3 && all)([...document.querySelectorAll('.legend:not([hidden])')])"
    )
    assert len(legends) == 3
    await seen.page.click("#manage")
    await seen.page.select_option("#add-type", "XYZ")
    assert await seen.text("#add-about") == "Made up. For this test."
    assert await seen.ask("(({ min, max, value }) => [min, max, value])(document.getElementById('add-period'))") == [
        "1",
        "7",
        "5",
    ]


async def test_a_page_that_cannot_read_the_configuration_says_so_and_tries_again(seen: Seen) -> None:
    problem = {"error": "log_unavailable", "detail": "the log is away"}
    await seen.page.route("**/api/config", lambda route: route.fulfill(status=503, json=problem))
    await played(seen, CHART_PAGE)
    await seen.until("document.querySelector('.state').innerText.includes('the log is away')")
    await seen.page.click("#manage")
    assert "Which indicators there are is not known yet" in await seen.text("#indicator-dialog")
    assert await seen.page.is_disabled("form.add button")
    await seen.page.unroute("**/api/config")
    await seen.until("document.querySelectorAll('#add-type option').length > 0")
