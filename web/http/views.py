"""Endpoints as Faust web views."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import groupby
from typing import Any

import faust
import msgspec
from faust.web import Request, Response, View

from topology.market import CalendarError
from topology.sinks.cursor import SinkError
from web.gateway import Gateway
from web.http.endpoint import Endpoint, Paged, Text
from web.http.problem import unavailable

Handler = Callable[[View, Request], Awaitable[Response]]


def serve(app: faust.App, endpoints: Iterable[Endpoint], gateway: Callable[[], Gateway]) -> None:
    """Serve endpoints; ``gateway`` is asked for each request, since it is made when the app has started."""
    for path, group in groupby(endpoints, key=lambda endpoint: endpoint.path):
        handlers: dict[str, Handler] = {one.method.lower(): _handler(one, gateway) for one in group}
        app.page(path)(type(f"View:{path}", (View,), handlers))


def _handler(endpoint: Endpoint, gateway: Callable[[], Gateway]) -> Handler:
    async def handle(view: View, request: Request) -> Response:
        body = await request.read() if endpoint.body is not None else b""
        try:
            answer = await endpoint(gateway(), request.query, body)
        except SinkError as error:
            raise unavailable("data", str(error)) from None
        except CalendarError as error:
            raise unavailable("calendar", str(error)) from None
        return _response(view, request, answer)

    return handle


def _response(view: View, request: Request, answer: Any) -> Response:
    headers: dict[str, str] = {"Cache-Control": "no-store"}
    if isinstance(answer, Text):
        return view.bytes(answer.text.encode(), content_type=answer.content_type, headers=headers)
    if isinstance(answer, Paged):
        if answer.before is not None:
            headers["Link"] = f'<{request.rel_url.update_query(before=answer.before)}>; rel="next"'
        answer = answer.rows
    return view.bytes(msgspec.json.encode(answer), content_type="application/json", headers=headers)
