"""A real browser before a gateway: Chromium without a window, and what tests ask of a page."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Page, ViewportSize, async_playwright

from tests.support.until import until

DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no browser: set CHROMIUM, or install it (Debian, Ubuntu: apt install chromium; macOS: brew install chromium)"
PATIENCE_S = 60.0

SWITCHES = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # root has no sandbox

CHART = "document.getElementById('chart').panel"
DRAWN = f"{CHART}.drawing.candles.data()"
CANDLES = f"{CHART}.model.candles.rows"


def chromium() -> str:
    """The browser: what CHROMIUM names, else one of the PATH. Without one, tests are skipped; not so where CI=true."""
    for name in (os.environ.get("CHROMIUM", ""), *NAMES):
        if name and (found := shutil.which(name)):
            return found
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    pytest.skip(MISSING)


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A browser, for as long as it is needed."""
    path = chromium()
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        await browser.close()


class PageView:
    """A page as somebody sees it. What its scripts raise, and what its policy forbids, fails the test.

    Requests that fail don't, though the console tells of them: what a page makes of those is what tests look at.
    """

    def __init__(self, page: Page, url: str, pictures: Path) -> None:
        self.page, self.url, self.pictures = page, url, pictures
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._complain)

    def _complain(self, message: ConsoleMessage) -> None:
        text = message.text
        if message.type == "error" and not text.startswith(("Failed to load resource", "WebSocket connection to")):
            self.complaints.append(text)

    async def open(self, path: str) -> None:
        """Go to a page, and wait until its chart has candles and the connection is up."""
        await self.page.goto(f"{self.url}{path}")
        await self.until("document.getElementById('chart').dataset.state === 'ready'")
        await self.until("document.getElementById('connection').dataset.state === 'up'")
        await self.until(f"{DRAWN}.length > 0")

    async def ask(self, script: str) -> Any:
        """Evaluate an expression in the page."""
        return await self.page.evaluate(script)

    async def until(self, script: str, timeout_s: float = PATIENCE_S) -> Any:
        """Wait until an expression holds in the page; return its value. (Playwright's own wait is forbidden by CSP.)"""
        value = None

        async def holds() -> bool:
            nonlocal value
            return bool(value := await self.page.evaluate(script))

        try:
            await until(holds, timeout_s, state=lambda: script)
        except AssertionError:
            await self.picture("failed")
            raise
        return value

    async def text(self, selector: str) -> str:
        """What an element says."""
        return await self.page.inner_text(selector)

    async def get(self, path: str) -> Any:
        """Ask the gateway, as the page may."""
        answer = await self.page.request.get(f"{self.url}{path}")
        assert answer.ok, await answer.text()
        return await answer.json()

    async def picture(self, name: str) -> None:
        """Keep a picture of it."""
        await self.page.screenshot(path=self.pictures / f"{name}.png")

    async def barriers(self) -> str:
        """What keeps people from using the page, as axe finds it: WCAG A and AA."""
        rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
        results = await Axe().run(self.page, options=rules)
        return results.generate_report() if results.violations_count else ""
