"""The pages of the dashboard and the chart: the files of ``web/static``, read once and held as they are served.

They are small and change only with a release, so each is compressed when the gateway starts. Pages name their files
under ``/static/{version}/``, where version is a checksum of them all: a browser keeps those for good, and asks for new
ones when there is a new release. Pages themselves, and files that are asked for without a version, are asked about at
each load: their ``ETag`` tells whether a copy is still the newest.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp.web import Application, HTTPNotFound, Request, Response

PAGES = {"/": "dashboard.html", "/chart": "chart.html", "/favicon.ico": "icon.svg"}
CONTENT_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
PLAIN = "text/plain; charset=utf-8"
ASKED_ABOUT, KEPT = "no-cache", "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """A file as it is served."""

    content_type: str
    body: bytes
    compressed: bytes
    checksum: str


@dataclass(frozen=True)
class Assets:
    """All files, by their paths under ``web/static``."""

    version: str
    files: Mapping[str, Asset]


def assets() -> Assets:
    """Read the files; pages name the version of all."""
    bodies = dict(sorted(_files(files("web") / "static", "")))
    checksums = b"".join(name.encode() + sha256(body).digest() for name, body in bodies.items())
    version = sha256(checksums).hexdigest()[:12]
    base = f"/static/{version}/".encode()
    made = {
        name: _asset(name, body.replace(b"/static/", base) if name.endswith(".html") else body)
        for name, body in bodies.items()
    }
    return Assets(version, made)


def serve(application: Application, held: Assets) -> None:
    """Serve the pages at their addresses, and every file under ``/static/``, with the version and without."""

    async def page(request: Request) -> Response:
        return _response(request, held.files[PAGES[request.path]], ASKED_ABOUT)

    async def static(request: Request) -> Response:
        name = request.match_info["name"].removeprefix(f"{held.version}/")
        if name not in held.files:
            raise HTTPNotFound
        kept = ASKED_ABOUT if name == request.match_info["name"] else KEPT
        return _response(request, held.files[name], kept)

    for path in PAGES:
        application.router.add_get(path, page)
    application.router.add_get("/static/{name:.+}", static)


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            yield from _files(entry, f"{name}/")
        else:
            yield name, entry.read_bytes()


def _asset(name: str, body: bytes) -> Asset:
    kind = CONTENT_TYPES.get(name.rpartition(".")[2], PLAIN)
    return Asset(kind, body, gzip.compress(body, mtime=0), sha256(body).hexdigest()[:32])


def _response(request: Request, asset: Asset, kept: str) -> Response:
    zipped = "gzip" in request.headers.get("Accept-Encoding", "").lower()
    tag = f"{asset.checksum}-gzip" if zipped else asset.checksum
    headers = {"ETag": f'"{tag}"', "Cache-Control": kept, "Vary": "Accept-Encoding"}
    if any(known.value in (tag, "*") for known in request.if_none_match or ()):
        return Response(status=304, headers=headers)
    if zipped:
        headers["Content-Encoding"] = "gzip"
    headers["Content-Type"] = asset.content_type
    return Response(body=asset.compressed if zipped else asset.body, headers=headers)
