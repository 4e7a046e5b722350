"""What pages say when things are not as they should be: a gateway whose socket, and some answers, are played."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route, WebSocketRoute

from tests.support.browser import CHART, DESKTOP, DRAWN, PageView, browsing
from tests.support.gateway_fixture import NIFTY, TOKEN, Stores, asked

CHART_PAGE = f"/chart?symbol={NIFTY}&tf=60"


@pytest.fixture
async def view(filled: Stores, tmp_path: Path) -> AsyncIterator[PageView]:
    async with asked(filled) as client, browsing() as browser:
        view = PageView(await browser.new_page(viewport=DESKTOP), client.url, tmp_path)
        yield view
        assert view.complaints == []


class GatewaySocket:
    """A gateway's socket, played: what it sends is said by the test."""

    def __init__(self) -> None:
        self._route: asyncio.Future[WebSocketRoute] = asyncio.get_running_loop().create_future()

    def connected(self, route: WebSocketRoute) -> None:
        route.on_message(lambda _: None)  # it answers nothing by itself
        if not self._route.done():
            self._route.set_result(route)

    async def send(self, **message: Any) -> None:
        (await self._route).send(json.dumps(message))


async def open_page(view: PageView, path: str) -> GatewaySocket:
    gateway = GatewaySocket()
    await view.page.route_web_socket("**/ws", gateway.connected)
    await view.page.goto(f"{view.url}{path}")
    return gateway


async def test_live_values_look_different_from_simulated_ones(view: PageView) -> None:
    gateway = await open_page(view, "/")
    badge = "document.getElementById('badge').textContent"
    colour = "getComputedStyle(document.querySelector('.badge')).backgroundColor"
    await view.until(f"{badge} === 'LIVE'")
    live = await view.ask(colour)
    await gateway.send(type="hello", epoch="e", log="l", simulated=True, server_ts=0)
    await view.until(f"{badge} === 'SIMULATED'")
    assert await view.ask(colour) != live
    assert "No price on this page is real" in await view.text(".badge")


async def test_what_happens_to_the_feed_is_told(view: PageView) -> None:
    gateway = await open_page(view, "/")
    at_ms = 1_795_495_500_000  # 10:15 in India
    await gateway.send(type="event", kind="gap", from_ms=at_ms, to_ms=at_ms + 42_000, instruments=2, detail="socket 0")
    toast = await view.until("document.querySelector('.toast.warn')?.textContent")
    assert "Gap in the feed" in toast
    assert "10:15:00 IST, 00:42 long" in toast
    assert "2 instruments" in toast
    await gateway.send(type="event", kind="resumed", at_ms=at_ms + 42_000, instruments=0, detail="")
    assert "Feed is back" in await view.until("document.querySelector('.toast.good')?.textContent")


async def test_loading_nothing_and_failing_are_told_apart(view: PageView) -> None:
    await view.page.route("**/api/candles?*", lambda route: route.fulfill(status=200, json=[]))
    await open_page(view, CHART_PAGE)
    state = "document.getElementById('chart').dataset.state"
    said = "document.querySelector('.state').innerText"
    await view.until(f"{state} === 'empty'")  # nothing came by the socket, so the archive was asked
    assert "No candles yet" in await view.ask(said)
    assert "Closed (after the close) · opens 23 Nov 09:15" in await view.ask(said)
    answered = asyncio.Event()

    async def answer(route: Route) -> None:
        await answered.wait()
        await route.fulfill(status=503, json={"error": "archive_unavailable", "detail": "the archive is away"})

    await view.page.route("**/api/candles?*", answer)
    await view.page.click(".segments button[value='300']")
    assert "Loading" in await view.until(f"{state} === 'loading' && {said}")
    answered.set()
    await view.until(f"{state} === 'error'")
    assert "the archive is away" in await view.ask(said)
    assert await view.page.is_visible(".state button")


async def test_a_gateway_that_asks_for_the_token_is_given_it_once(filled: Stores, tmp_path: Path) -> None:
    async with asked(filled, public=True) as client, browsing() as browser:
        view = PageView(await browser.new_page(viewport=DESKTOP), client.url, tmp_path)
        await open_page(view, "/")
        await view.page.fill("#token", "wrong")
        await view.page.keyboard.press("Enter")
        await view.until("document.querySelector('dialog .problem').textContent.includes('not the token')")
        await view.page.fill("#token", TOKEN)
        await view.page.keyboard.press("Enter")
        await view.until("document.querySelectorAll('#watch tbody tr').length === 2")
        await view.page.reload()
        await view.until("document.querySelectorAll('#watch tbody tr').length === 2")
        assert await view.page.query_selector("#token") is None
        assert await view.ask("document.cookie") == ""


async def test_a_page_that_was_there_before_the_first_price_finds_it(view: PageView) -> None:
    asked_times = 0

    async def nothing_at_first(route: Route) -> None:
        nonlocal asked_times
        asked_times += 1
        await (route.fulfill(status=200, json=[]) if asked_times == 1 else route.continue_())

    await view.page.route("**/tokens", nothing_at_first)
    await open_page(view, "/")
    await view.until("document.getElementById('watch-none').textContent.includes('No instrument has a price yet')")
    await view.until("document.querySelectorAll('#watch tbody tr').length === 2")
    await view.until("document.getElementById('chart').dataset.state === 'ready'")


async def test_types_of_indicators_are_those_that_the_gateway_tells_of(view: PageView) -> None:
    config = await view.get("/api/config")
    words = {"title": "Made up", "about": "For this test", "longest_period": 7, "default_period": 5}
    config["indicator_types"].append({"id": "XYZ", **words, "pane": "own", "levels": [1.5], "bounds": None})
    config["timeframes"]["60"].append("XYZ_5")
    await view.page.route("**/api/config", lambda route: route.fulfill(json=config))
    await view.page.route("**/api/indicators/history?*", lambda route: route.fulfill(json=[]))
    await open_page(view, f"{CHART_PAGE}&indicators=SMA_3,RSI_14,XYZ_5")
    await view.until(f"{DRAWN}.length > 0 && {CHART}.drawing.indicators.length === 3")
    assert await view.ask(f"{CHART}.drawing.indicators.map(({{ series }}) => series.getPane().paneIndex())") == [
        0,
        1,
        2,
    ]
    legends = await view.until(
        "(all => all.length === 3 && all)([...document.querySelectorAll('.legend:not([hidden])')])"
    )
    assert len(legends) == 3
    await view.page.click("#manage")
    await view.page.select_option("#add-type", "XYZ")
    assert await view.text("#add-about") == "Made up. For this test."
    assert await view.ask("(({ min, max, value }) => [min, max, value])(document.getElementById('add-period'))") == [
        "1",
        "7",
        "5",
    ]


async def test_a_page_that_cannot_read_the_configuration_says_so_and_tries_again(view: PageView) -> None:
    problem = {"error": "log_unavailable", "detail": "the log is away"}
    await view.page.route("**/api/config", lambda route: route.fulfill(status=503, json=problem))
    await open_page(view, CHART_PAGE)
    await view.until("document.querySelector('.state').innerText.includes('the log is away')")
    await view.page.click("#manage")
    assert "Which indicators there are is not known yet" in await view.text("#indicator-dialog")
    assert await view.page.is_disabled("form.add button")
    await view.page.unroute("**/api/config")
    await view.until("document.querySelectorAll('#add-type option').length > 0")
