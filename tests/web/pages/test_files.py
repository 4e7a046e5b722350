"""The files of the pages, as they are served."""

from __future__ import annotations

import gzip
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import PurePosixPath

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from web.http import pages
from web.http.guard import LOGO_STYLE, Access, Rates, guard

ASSETS = pages.assets()
FILES = ASSETS.files
SCRIPTS = sorted(name for name in FILES if name.startswith("js/"))
BUDGET = 150 * 1024  # bytes that a first load of a page may take, compressed
LONGEST = 250  # lines of a script

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    access = Access(public=True, origins=frozenset(), token=lambda: "a-token")
    application = web.Application(middlewares=guard(access, Rates(lambda: 0.0)))
    pages.serve(application, ASSETS)
    async with TestClient(TestServer(application)) as client:
        yield client


def imported(name: str) -> set[str]:
    """A script, and all that it imports, directly or not."""
    names: set[str] = set()
    wanted = [name]
    while wanted:
        one = wanted.pop()
        if one in names:
            continue
        names.add(one)
        wanted += [_joined(one, other) for other in re.findall(r'from "(\.[^"]+)"', FILES[one].body.decode())]
    return names


def _joined(name: str, other: str) -> str:
    parts = list(PurePosixPath(name).parent.parts)
    for part in PurePosixPath(other).parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def referred(page: str) -> dict[str, list[str]]:
    """What a page names, by the kind of the link."""
    html = FILES[page].body.decode()
    base = f"/static/{ASSETS.version}/"
    kinds = ("stylesheet", "modulepreload", "icon")
    links = {kind: re.findall(rf'rel="{kind}" href="{base}([^"]+)"', html) for kind in kinds}
    return links | {"script": re.findall(rf'<script[^>]* src="{base}([^"]+)"', html)}


@pytest.mark.parametrize(("path", "name"), pages.PAGES.items())
async def test_pages_are_there_without_the_token(client: Client, path: str, name: str) -> None:
    answer = await client.get(path)
    assert answer.status == 200
    assert await answer.read() == FILES[name].body
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("js/chart.js", "text/javascript"),
        ("vendor/lightweight-charts.mjs", "text/javascript"),
        ("css/base.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
        ("vendor/LICENSE", "text/plain"),
    ],
)
async def test_files_have_the_type_that_a_browser_wants(client: Client, name: str, kind: str) -> None:
    answer = await client.get(f"/static/{name}")
    assert answer.content_type == kind


async def test_a_file_is_compressed_for_those_that_can_read_it(client: Client) -> None:
    plain = await client.get("/static/js/chart.js", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    url, wanted = client.make_url("/static/js/chart.js"), {"Accept-Encoding": "gzip"}
    async with aiohttp.ClientSession(auto_decompress=False) as raw, raw.get(url, headers=wanted) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        zipped = await answer.read()
    assert gzip.decompress(zipped) == await plain.read()
    assert len(zipped) < len(FILES["js/chart.js"].body) / 2
    assert plain.headers["Vary"] == answer.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["ETag"] != answer.headers["ETag"]


async def test_a_copy_is_asked_about_and_stays_while_nothing_has_changed(client: Client) -> None:
    first = await client.get("/chart")
    assert first.headers["Cache-Control"] == "no-cache"
    again = await client.get("/chart", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    other = await client.get("/chart", headers={"If-None-Match": '"of-a-release-before"'})
    assert other.status == 200


async def test_files_of_a_version_are_kept_for_good(client: Client) -> None:
    page = await (await client.get("/chart")).text()
    (address,) = re.findall(r'src="(/static/[^"]+/chartpage.js)"', page)
    answer = await client.get(address)
    assert await answer.read() == FILES["js/chartpage.js"].body
    assert "immutable" in answer.headers["Cache-Control"]
    assert (await client.get("/static/of-a-release-before/js/chartpage.js")).status == 404
    assert (await client.get("/static/js/chartpage.js")).headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["../guard.py", "..%2Fguard.py", "js/../../guard.py", "/etc/passwd", "js", "js/", "js/nothing.js", "%00"]
)
async def test_nothing_else_is_served(client: Client, path: str) -> None:
    url = URL(f"{str(client.make_url('/')).rstrip('/')}/static/{path}", encoded=True)
    answer = await client.session.get(url)
    assert answer.status == (404 if answer.url.path.startswith("/static/") else 401)
    assert b"Who may ask for what" not in await answer.read()


@pytest.mark.parametrize("page", ["dashboard.html", "chart.html"])
def test_a_page_names_all_scripts_that_it_will_need_and_no_other(page: str) -> None:
    names = referred(page)
    classic, entry = names["script"]
    assert classic == "js/inittheme.js"
    assert set(names["modulepreload"]) == imported(entry) - {entry}


@pytest.mark.parametrize("page", ["dashboard.html", "chart.html"])
def test_a_first_load_is_light(page: str) -> None:
    names = {page, *(name for some in referred(page).values() for name in some)}
    assert sum(len(FILES[name].compressed) for name in names) <= BUDGET


@pytest.mark.parametrize("page", ["dashboard.html", "chart.html"])
def test_pages_have_no_script_style_or_address_of_elsewhere_in_them(page: str) -> None:
    html = FILES[page].body.decode()
    assert not re.findall(r"<style|style=|\son\w+=|https?://|<script(?![^>]* src=)", html)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_short_and_take_what_comes_from_outside_as_text(name: str) -> None:
    text = FILES[name].body.decode()
    assert text.count("\n") <= LONGEST
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)


def test_every_script_is_somebodys() -> None:
    used = imported("js/dashboard.js") | imported("js/chartpage.js") | {"js/inittheme.js"}
    assert set(SCRIPTS) <= used


def test_the_library_is_the_one_that_is_named_with_its_licence() -> None:
    library = FILES["vendor/lightweight-charts.mjs"].body
    assert sha256(library).hexdigest() in FILES["vendor/README"].body.decode()
    assert b"Apache License" in FILES["vendor/LICENSE"].body
    assert b"https://www.tradingview.com/" in FILES["vendor/NOTICE"].body
    assert b"attributionLogo: true" in FILES["js/chart.js"].body


def test_the_policy_lets_the_librarys_own_style_in_and_no_other() -> None:
    text = FILES["vendor/lightweight-charts.mjs"].body.decode()
    (style,) = re.findall(r'createElement\("style"\),this\.\w+\.innerText="([^"]+)"', text)
    assert f"sha256-{b64encode(sha256(style.encode()).digest()).decode()}" == LOGO_STYLE
