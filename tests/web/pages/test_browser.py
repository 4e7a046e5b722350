"""The pages in a real browser, before everything that `topology up` starts, with a simulated broker."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.cli.test_up import Up
from tests.support.browser import CHART, DESKTOP, DRAWN, HELD, PATIENCE_S, PHONE, Seen, browsing, chromium
from topology.embedded import Valkey, free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

RELIANCE = "NSE:2885"
CHART_PAGE = f"/chart?symbol={RELIANCE}&tf=5"
IST_S = 19_800
LOOKS: dict[str, dict[str, Any]] = {
    "dark": {"color_scheme": "dark"},
    "light": {"color_scheme": "light"},
    "dark-phone": {"color_scheme": "dark", "viewport": PHONE},
    "light-phone": {"color_scheme": "light", "viewport": PHONE},
}
CELLS = "((n) => [...document.querySelectorAll(`#watch tbody td:nth-child(${n})`)].map((cell) => cell.textContent))"
ALL_COMPARED = f"{CELLS}(5).every((text) => text.endsWith('%'))"  # each with the close of the day before
FRAMED = "((look) => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(look())))))"
SORTED_BY_PERCENT = "document.querySelector('#watch thead button[value=percent]')"
PARTS = "[...document.querySelectorAll('[data-part]')].filter((one) => one.offsetParent).map((one) => one.dataset.part)"
SMALL = """[...document.querySelectorAll('a, button, select, input, tbody tr, summary')].filter((one) => {
    const { width, height } = (one.type === 'checkbox' ? one.closest('li') : one).getBoundingClientRect();
    return one.checkVisibility() && !one.matches('.skip, #tv-attr-logo') && Math.min(width, height) < 43.5;
}).map((one) => one.outerHTML.slice(0, 80))"""


class System(Up):
    """Everything, with candles of 5 s too, so that some close while a test looks on; Redis can be ended apart."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.redis = Valkey(folder / "redis", free_port())
        self.env |= {
            "REDIS_ADDR": f"127.0.0.1:{self.redis.port}",
            "ENABLED_TFS": "5,60,300",
            "INDICATOR_CONFIGS": "SMA:9,SMA:200,RSI:14",
        }

    @property
    def url(self) -> str:
        return f"http://localhost{self.env['DASHBOARD_ADDR']}"

    @property
    def token(self) -> str:
        return (self.folder / "data" / "gateway-token").read_text().strip()


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    chromium()
    system = System(tmp_path_factory.mktemp("pages"))
    system.redis.start()
    try:
        system.start()
        yield system
    finally:
        system.close()
        system.redis.stop()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages go: PICTURES, or a folder for now."""
    folder = Path(os.environ.get("PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(system: System) -> AsyncIterator[Browser]:
    async with browsing() as browser:
        yield browser


@pytest.fixture
def looks() -> dict[str, Any]:
    """How the browser shows pages; tests ask for others by parameter."""
    return {}


@pytest_asyncio.fixture(loop_scope="module")
async def seen(browser: Browser, system: System, pictures: Path, looks: dict[str, Any]) -> AsyncIterator[Seen]:
    context = await browser.new_context(**({"viewport": DESKTOP, "color_scheme": "dark"} | looks))
    seen = Seen(await context.new_page(), system.url, pictures)
    yield seen
    await context.close()
    assert seen.complaints == []


async def equal_to_the_archive(seen: Seen, tf: int) -> bool:
    """Whether the closed candles that are drawn are those of the archive, one by one."""
    rows = await seen.get(f"/api/candles?token={RELIANCE}&tf={tf}&limit=300")
    drawn = {bar["time"] - IST_S: bar for bar in await seen.ask(DRAWN)}
    names = ("open", "high", "low", "close")
    return all(
        row["ts"] in drawn and [round(drawn[row["ts"]][name] * 100) for name in names] == [row[name] for name in names]
        for row in rows
    )


async def becomes_equal_to_the_archive(seen: Seen, tf: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await equal_to_the_archive(seen, tf):
            await seen.page.wait_for_timeout(100)


async def test_the_dashboard_shows_every_instrument_moving(seen: Seen) -> None:
    await seen.open("/")
    assert await seen.text("#badge") == "SIMULATED"
    assert await seen.ask("document.querySelectorAll('#watch tbody tr').length") == 7
    await seen.until("document.querySelectorAll('.spark polyline[points]').length === 7")
    prices = f"{CELLS}(3).join()"
    before = await seen.ask(prices)
    await seen.until(f"{prices} !== {before!r}")
    await seen.until("document.querySelectorAll('.flash-up, .flash-down').length > 0")
    await seen.until(ALL_COMPARED)
    assert "Open · closes in" in await seen.text("#market")
    await seen.until("document.querySelectorAll('#stages tbody tr').length >= 8")
    assert await seen.text("#redis") == await seen.text("#sqlite") == "ok"


async def test_the_keyboard_alone_is_enough(seen: Seen) -> None:
    await seen.open("/")
    title = "document.querySelector('.legend .strong').textContent"
    await seen.page.focus("#watch tbody tr[aria-selected=true]")
    before = await seen.ask(title)
    await seen.page.keyboard.press("Home")
    await seen.until(f"{title} === document.querySelector('#watch tbody tr .symbol').textContent")
    await seen.page.keyboard.press("ArrowDown")
    await seen.until(f"{title} === document.querySelector('#watch tbody tr:nth-child(2) .symbol').textContent")
    assert await seen.ask("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await seen.page.keyboard.type("nifty")
    await seen.until("document.querySelector('dialog.search').open")
    await seen.page.keyboard.press("Enter")
    await seen.until(f"{title} === 'Nifty 50'")
    await seen.page.keyboard.press("/")
    await seen.page.keyboard.type("no such thing")
    assert "SUBSCRIBE_TOKENS" in await seen.text("dialog.search [role=status]")
    assert before


async def test_the_watchlist_is_sorted_and_filtered(seen: Seen) -> None:
    await seen.open("/")
    await seen.until(ALL_COMPARED)
    # Rows are put in order once, by what is known then, and shown with what is known at the next frame: prices go on.
    column = f"{CELLS}(5).map((text) => parseFloat(text.replace('\u2212', '-')))"
    percents = await seen.ask(f"{FRAMED}(() => {{ {SORTED_BY_PERCENT}.click(); return {column}; }})")
    assert percents == sorted(percents, reverse=True)
    assert await seen.ask("document.querySelector('th[aria-sort] button').value") == "percent"
    await seen.page.fill("#filter", "bank")
    names = await seen.ask("[...document.querySelectorAll('#watch tbody .symbol')].map((cell) => cell.textContent)")
    assert sorted(names) == ["HDFCBANK-EQ", "ICICIBANK-EQ"]
    await seen.page.fill("#filter", "zzz")
    assert "zzz" in await seen.text("#watch-none")


async def test_the_live_candle_moves_and_closes_as_the_archive_has_it(seen: Seen) -> None:
    await seen.open(CHART_PAGE)
    forming = await seen.until(f"{HELD}.at(-1).forming && {HELD}.at(-1)")
    await seen.until(f"{HELD}.at(-1).ts > {forming['ts']}")
    closed = await seen.until(f"{HELD}.find(({{ts, forming}}) => ts === {forming['ts']} && !forming)")
    assert closed["high"] >= forming["high"]
    await becomes_equal_to_the_archive(seen, 5)
    assert "closes in 00:0" in await seen.until("document.getElementById('countdown').textContent")
    assert "IST" in await seen.text("#clock")


async def test_timeframes_change_and_stay_in_the_address(seen: Seen) -> None:
    await seen.open(CHART_PAGE)
    await seen.page.click(".segments button[value='60']")
    await seen.until(f"{CHART}.subject.tf === 60 && {DRAWN}.length > 100")
    await becomes_equal_to_the_archive(seen, 60)
    assert await seen.ask(f"{DRAWN}.every(({{ time }}) => time % 60 === 0)")
    await seen.page.select_option(".timeframes select", "900")  # folded
    await seen.until(f"{CHART}.subject.tf === 900 && {CHART}.subject.state === 'ready' && {DRAWN}.length > 10")
    await becomes_equal_to_the_archive(seen, 900)
    assert f"symbol={RELIANCE}&tf=900" in seen.page.url
    await seen.page.reload()
    await seen.until(f"{CHART}?.subject.tf === 900 && {CHART}.subject.state === 'ready'")


async def test_a_day_further_back_comes_by_scrolling(seen: Seen) -> None:
    # History reaches back by numbers of candles, 600 here, to the midnight before: with 5 minutes that is two days at
    # any hour, with one minute it may be this day alone. 300 of them come first.
    last = (await seen.get(f"/api/candles?token={RELIANCE}&tf=300&limit=1"))[0]["ts"]
    days_ago = last - 2 * 86_400
    async with asyncio.timeout(PATIENCE_S):
        while not await seen.get(f"/api/candles?token={RELIANCE}&tf=300&limit=1&before={days_ago}"):
            await seen.page.wait_for_timeout(100)
    await seen.open(f"/chart?symbol={RELIANCE}&tf=300")
    assert await seen.ask(f"{HELD}[0].ts") > days_ago
    await seen.page.mouse.move(600, 400)
    async with asyncio.timeout(PATIENCE_S):
        while await seen.ask(f"{HELD}[0].ts") >= days_ago:
            await seen.page.mouse.wheel(-2_500, 0)
            await seen.page.wait_for_timeout(50)
    times = await seen.ask(f"{HELD}.map(({{ts}}) => ts)")
    assert times == sorted(set(times))
    await seen.until("document.querySelector('.realtime:not([hidden])')")
    await seen.until("location.search.includes('visible=')")
    await seen.page.click(".realtime")
    await seen.until(f"{CHART}.drawing.isAtRealTime")
    await seen.until("!location.search.includes('visible=')")


async def test_an_indicator_is_added_with_the_token_shown_and_taken_away(seen: Seen, system: System) -> None:
    await seen.open(CHART_PAGE)
    await seen.page.click("#manage")
    await seen.page.select_option("#add-kind", "SMA")
    await seen.page.fill("#add-period", "3")
    await seen.page.click("form.add button")
    await seen.page.fill("#token", "wrong")
    await seen.page.click("dialog button.primary:has-text('Go on')")
    await seen.until("document.querySelector('dialog .problem').textContent.includes('not the token')")
    await seen.page.fill("#token", system.token)
    await seen.page.click("dialog button.primary:has-text('Go on')")
    await seen.until(f"{CHART}.drawing.indicators.some(({{name}}) => name === 'SMA_3')")
    await seen.page.keyboard.press("Escape")
    value = f"{CHART}.subject.values.at('SMA_3', {HELD}.at(-1).ts)"
    await seen.until(f"{value} !== undefined")
    assert "SMA 3" in await seen.text(".legend")
    assert "SMA_3" in seen.page.url
    await seen.page.click("#manage")
    await seen.page.click("[aria-label='Remove SMA 3']")
    await seen.until(f"!{CHART}.drawing.indicators.some(({{name}}) => name === 'SMA_3')")
    await seen.until("!document.getElementById('show-SMA_3')")
    config = await seen.get("/api/config")
    assert config["timeframes"]["5"] == config["timeframes"]["60"] == ["SMA_9", "SMA_200", "RSI_14"]


async def test_a_gateway_that_is_killed_leaves_no_trace_in_the_chart(seen: Seen, system: System) -> None:
    await seen.open(CHART_PAGE)
    loaded = await seen.ask("performance.timeOrigin")
    newest = await seen.ask(f"{HELD}.at(-1).ts")
    os.kill(system.role("gateway-0"), signal.SIGKILL)
    await seen.until("document.getElementById('connection').dataset.state === 'down'")
    assert "stands still" in await seen.text(".offline")
    await seen.picture("disconnected")
    await seen.until("document.getElementById('connection').dataset.state === 'up'")
    await seen.until(f"{HELD}.at(-1).ts > {newest} + 10")
    await becomes_equal_to_the_archive(seen, 5)
    assert await seen.ask("performance.timeOrigin") == loaded
    assert not await seen.page.is_visible(".offline")


async def test_redis_that_starts_anew_leaves_no_trace_in_the_chart(seen: Seen, system: System) -> None:
    await seen.open(CHART_PAGE)
    newest = await seen.ask(f"{HELD}.at(-1).ts")
    system.redis.kill()
    system.redis.start()
    await seen.until(f"{HELD}.at(-1).ts > {newest} + 15")
    await becomes_equal_to_the_archive(seen, 5)


@pytest.mark.parametrize("looks", [{"viewport": PHONE, "has_touch": True}], ids=["phone"])
async def test_on_a_phone_one_part_is_shown_with_room_for_thumbs(seen: Seen) -> None:
    await seen.open("/")
    shown = f"{PARTS}.join()"
    assert await seen.ask(shown) == "watch"
    for part in ("chart", "indicators", "status", "watch"):
        await seen.page.tap(f".tabs button[value={part}]")
        assert await seen.ask(shown) == part
        assert await seen.ask("document.documentElement.scrollWidth <= innerWidth")
        small = await seen.ask(SMALL)
        assert small == [], part
        await seen.picture(f"phone-{part}")
    await seen.page.tap("#watch tbody tr:nth-child(2)")
    assert await seen.ask(shown) == "chart"
    await seen.open("/chart")
    assert await seen.ask("document.documentElement.scrollWidth <= innerWidth")
    assert await seen.ask(SMALL) == []
    await seen.picture("phone-chart-page")


@pytest.mark.parametrize(("page", "path"), [("dashboard", "/"), ("chart", "/chart")])
@pytest.mark.parametrize("looks", LOOKS.values(), ids=LOOKS)
async def test_nobody_is_kept_out(seen: Seen, page: str, path: str, looks: dict[str, Any]) -> None:
    await seen.open(path)
    await seen.picture(f"{page}-{'phone' if looks.get('viewport') == PHONE else 'desktop'}-{looks['color_scheme']}")
    assert not await seen.barriers()


@pytest.mark.parametrize("looks", [{"reduced_motion": "reduce"}], ids=["reduced"])
async def test_nothing_moves_for_those_who_do_not_want_it(seen: Seen) -> None:
    await seen.open("/")
    await seen.until("document.querySelectorAll('.flash-up, .flash-down').length > 0")
    assert await seen.ask("document.getAnimations().length") == 0


async def test_the_theme_that_is_chosen_stays(seen: Seen) -> None:
    await seen.open("/")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = await seen.ask(background)
    await seen.page.click("#theme")
    light = await seen.ask(background)
    assert light != dark
    await seen.open("/chart")
    assert await seen.ask(background) == light


async def test_the_picture_of_a_chart_is_a_png(seen: Seen, pictures: Path) -> None:
    await seen.open(CHART_PAGE)
    async with seen.page.expect_download() as waiting:
        await seen.page.click("#screenshot")
    download = await waiting.value
    await download.save_as(pictures / "saved.png")
    assert download.suggested_filename.startswith("RELIANCE-EQ-5s-")
    assert (pictures / "saved.png").read_bytes().startswith(b"\x89PNG")


async def test_a_chart_moves_by_keyboard(seen: Seen) -> None:
    await seen.open(f"/chart?symbol={RELIANCE}&tf=60")
    await seen.page.focus(".canvas")
    for _ in range(5):
        await seen.page.keyboard.press("ArrowLeft")
    await seen.until(f"!{CHART}.drawing.isAtRealTime")
    await seen.page.keyboard.press("End")
    await seen.until(f"{CHART}.drawing.isAtRealTime")
