"""Small servers on loopback that answer as a check may find it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from topology.embedded.loopback import LOOPBACK
from topology.settings import Settings

Serve = Callable[..., int]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"DATA_DIR": str(tmp_path / "data")})


@pytest.fixture
def taken() -> list[bytes]:
    """What was posted to the servers."""
    return []


@pytest.fixture
def serve(taken: list[bytes]) -> Iterator[Serve]:
    """Serve HTTP: ``serve(body, date=..., wrap=...)`` gives the port; ``wrap`` makes TLS of the socket."""
    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(_serving(taken, *args, **options))


@contextmanager
def _serving(
    taken: list[bytes],
    body: bytes = b"{}",
    *,
    date: str | None = None,
    wrap: Callable[[socket.socket], socket.socket] | None = None,
) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            taken.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_POST = do_HEAD = do_GET  # noqa: N815 - the name that the base class looks for

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(timestamp) if date is None else date

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    if wrap is not None:
        server.socket = wrap(server.socket)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def with_account(settings: Settings) -> Callable[..., Settings]:
    """Give the settings another account: ``with_account(api_url=...)``."""
    return lambda **changed: replace(settings, account=replace(settings.account, **changed))
