"""An endpoint of the REST interface: a function, and what is needed to serve and to describe it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_type_hints

import msgspec

from web.gateway import Gateway
from web.http.problem import invalid

Row = TypeVar("Row")
Call = Callable[..., Awaitable[Any]]
LONGEST_SHOWN = 40  # characters of a value that is wrong


@dataclass(frozen=True)
class Paged(Generic[Row]):
    """A page of rows, the newest first; ``before`` is what to ask for next, None at the end."""

    rows: Sequence[Row]
    before: int | None


@dataclass(frozen=True)
class Text:
    """An answer that is no JSON."""

    text: str
    content_type: str = "text/plain"


@dataclass(frozen=True)
class Endpoint:
    """``call`` takes a Gateway and, as its hints say, ``query`` and ``body``, both msgspec structs or the like.

    ``example`` is a query string, or the JSON of a body.
    """

    method: str
    path: str
    call: Call
    query: type[msgspec.Struct] | None
    body: Any
    answer: Any
    example: str

    async def __call__(self, gateway: Gateway, query: Mapping[str, str], body: bytes) -> Any:
        """Call it with what a request brings. Raises Problem for what is not as its hints say."""
        given: dict[str, Any] = {}
        if self.query is not None:
            given["query"] = _converted(self.query, query)
        if self.body is not None:
            try:
                given["body"] = msgspec.json.decode(body, type=self.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise invalid(f"the body is wrong: {error}") from None
        return await self.call(gateway, **given)


def get(path: str, *, example: str = "") -> Callable[[Call], Endpoint]:
    """Make an endpoint for GET out of a function."""
    return _endpoint("GET", path, example)


def post(path: str, *, example: str) -> Callable[[Call], Endpoint]:
    """Make an endpoint for POST, which changes something, out of a function."""
    return _endpoint("POST", path, example)


def _endpoint(method: str, path: str, example: str) -> Callable[[Call], Endpoint]:
    def made(call: Call) -> Endpoint:
        hints = get_type_hints(call, include_extras=True)
        return Endpoint(method, path, call, hints.get("query"), hints.get("body"), hints["return"], example)

    return made


def _converted(kind: type[msgspec.Struct], query: Mapping[str, str]) -> msgspec.Struct:
    try:
        return msgspec.convert(dict(query), kind, strict=False)
    except msgspec.ValidationError as error:
        reason, _, name = str(error).partition(" - at `$.")
        name = name.rstrip("`")
        if not name:
            raise invalid(reason) from None
        raise invalid(f"{name}={query.get(name, '')[:LONGEST_SHOWN]!r}: {reason}") from None
