"""The OpenAPI document, made from the endpoints as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec

from web.http.endpoint import Endpoint, Paged, Text

TITLE = "topology: market data and indicators"
OVERVIEW = (
    "Prices are whole numbers of the exchange's minor unit (paise), but for /udf, which is in rupees. `ts` is in epoch "
    "seconds at a candle's start. `position` and `partition` name the tick frame of the log that caused a value. "
    "What changes something takes the token (`topology gateway token`) as `Authorization: Bearer`, and so does "
    "everything where the gateway is bound to another address than loopback. /ws is the WebSocket."
)

_ROWS = (Paged, list, Sequence)


class ProblemJson(msgspec.Struct):
    """What is wrong: ``error`` is a word for programs, ``detail`` a sentence for people that says what to do."""

    error: str
    detail: str


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these endpoints."""
    known = list(endpoints)
    types = [kind for one in known for kind in _row_types(one.answer)]
    types += [one.query for one in known if one.query is not None] + [one.body for one in known if one.body is not None]
    _, components = msgspec.json.schema_components([*types, ProblemJson], ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for one in known:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": "1", "description": OVERVIEW},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": " ".join((endpoint.call.__doc__ or "").split()),
        "operationId": f"{endpoint.method.lower()}{endpoint.path.replace('/', '_').replace('-', '_')}",
        "responses": {
            "200": {"description": "what was asked for", "content": _content(endpoint)},
            "default": {"description": "a problem", "content": {"application/json": {"schema": _schema(ProblemJson)}}},
        },
    }
    if endpoint.query is not None:
        operation["parameters"] = _parameters(endpoint)
        operation["description"] = " ".join((endpoint.query.__doc__ or "").split())
    if endpoint.body is not None:
        example = msgspec.json.decode(endpoint.example)
        content = {"application/json": {"schema": _schema(endpoint.body), "example": example}}
        operation["requestBody"] = {"required": True, "content": content}
        operation["security"] = [{"token": []}]
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    (schema,), _ = msgspec.json.schema_components([endpoint.query], ref_template="#/components/schemas/{name}")
    _, components = msgspec.json.schema_components([endpoint.query])
    parameters = components[schema["$ref"].rpartition("/")[2]]
    example = dict(parse_qsl(endpoint.example))
    return [
        {"name": name, "in": "query", "required": name in parameters.get("required", ()), "schema": of}
        | ({"example": example[name]} if name in example else {})
        for name, of in parameters["properties"].items()
    ]


def _content(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.answer is Text:
        return {"text/plain": {"schema": {"type": "string"}}}
    return {"application/json": {"schema": _answer(endpoint.answer)}}


def _answer(kind: Any) -> dict[str, Any]:
    """Describe an answer: one type, or an array of rows that are of several types."""
    rows = [_schema(one) for one in _row_types(kind)]
    if get_origin(kind) not in _ROWS:
        return rows[0]
    return {"type": "array", "items": rows[0] if len(rows) == 1 else {"anyOf": rows}}


def _row_types(kind: Any) -> list[Any]:
    if kind is Text:
        return []
    if get_origin(kind) not in _ROWS:
        return [kind]
    (row,) = get_args(kind)
    return list(get_args(row)) if get_origin(row) is UnionType else [row]


def _schema(kind: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
    return schema
