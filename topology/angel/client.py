"""The broker's client, smartapi-python, with what it does to its host mended; the rest of the project sees only this.

Observed in 1.5.5: its import asks the internet for our address; its constructors make a folder for logs wherever they
run and write passwords and tokens into it; its socket doesn't verify TLS, comes back by itself after a deliberate close
and gives up after one failure; an unusual answer of the broker ends in a KeyError. `tests/angel/test_client.py`
holds all of that.
"""

from __future__ import annotations

import json
import logging
import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any

import requests
import websocket

from topology.angel.answers import BrokerError, UnreachableError, checked, scrubbed
from topology.settings import Account


def _refuse(*_: object, **__: object) -> None:
    raise OSError("the client asks for its address at import")


_get, requests.get = requests.get, _refuse  # type: ignore[assignment] # only while it is imported
logging.disable(logging.CRITICAL)
try:
    from SmartApi import smartConnect, smartExceptions, smartWebSocketV2
finally:
    logging.disable(logging.NOTSET)
    requests.get = _get

PING_EVERY_S, PONG_WITHIN_S = 10, 5
DIAL_S = 20  # a server that accepts a connection and sends nothing is given up
TOKENS_A_MESSAGE = 200
"""Instruments in one subscription message; a thousand at once make a long one."""

# No file, no folder, no line: what the client would log holds secrets.
_SILENT = logging.Logger("smartapi", logging.CRITICAL + 1)
logging.getLogger("websocket").addFilter(lambda _: False)  # `disabled` is undone when logging is configured
websocket.setdefaulttimeout(DIAL_S)
for _module in (smartConnect, smartWebSocketV2):
    _module.logger = _SILENT
    _module.logzero = SimpleNamespace(logfile=lambda *_, **__: None)
    _module.os = SimpleNamespace(path=os.path, makedirs=lambda *_, **__: None)


class RestClient(smartConnect.SmartConnect):  # type: ignore[misc] # it has no types
    """The broker's REST calls, for threads. Each raises BrokerError in place of an answer that isn't a success."""

    def __init__(self, account: Account, *, timeout_s: float = 7.0) -> None:
        super().__init__(account.api_key, root=account.api_url, timeout=timeout_s)
        self._rootUrl = account.api_url
        self._secrets = account.secrets

    def _request(self, route: str, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = super()._request(route, method, parameters)
        except requests.RequestException as error:
            # Not from it: its text may hold the request, and that our secrets.
            raise UnreachableError(f"the broker can't be reached ({type(error).__name__})") from None
        except smartExceptions.SmartAPIException as error:
            answer = {"status": False, "message": str(error)}
        except (KeyError, AttributeError, TypeError):
            answer = None
        sent = [str(value) for value in (parameters or {}).values()]
        return checked(answer, route=route, secrets=[*self._secrets, *sent, *self._tokens()])

    def forget(self) -> None:
        """Forget the tokens of an earlier session: the client would send them along with the next login."""
        for name in ("access_token", "refresh_token", "feed_token"):
            setattr(self, name, None)

    def _tokens(self) -> list[str]:
        return [token for token in (self.access_token, self.refresh_token, self.feed_token) if token]


class EndKind(Enum):
    """How a connection ended."""

    CLOSED = "closed"  # by the broker
    ERROR = "error"
    CLOSED_BY_US = "closed by us"
    UNOPENED = "it did not open"
    DEAD = "the socket is dead"  # nothing came any more, not even a pong
    SILENT = "the socket is silent"  # no data came where there should be some


@dataclass(frozen=True)
class ConnectionEnd:
    """Why a connection is over: ``detail`` is for people, without secrets, by default what the kind says.

    ``http_status`` is the answer of a broker that refused to open it.
    """

    kind: EndKind
    detail: str = ""
    http_status: int | None = None

    def __str__(self) -> str:
        """Say it to people."""
        return self.detail or self.kind.value


class SocketClient(smartWebSocketV2.SmartWebSocketV2):  # type: ignore[misc] # it has no types
    """One connection to the market data socket: `connect` returns when it is over, and is called once.

    The callbacks are called in the thread that calls `connect`: ``on_packet`` with each binary message as it came,
    ``on_text`` with each text (a pong, or an error as JSON), ``on_alive`` when anything at all came, ``on_open`` when
    it is open, and ``on_end`` once, with `CLOSED` or `ERROR`, when it is over or could not be opened.
    """

    def __init__(
        self,
        account: Account,
        tokens: Mapping[str, str],
        *,
        on_packet: Callable[[bytes], None],
        on_text: Callable[[str], None],
        on_alive: Callable[[], None],
        on_open: Callable[[], None],
        on_end: Callable[[ConnectionEnd], None],
    ) -> None:
        super().__init__(tokens["jwt"], account.api_key, account.client_code, tokens["feed"], max_retry_attempt=0)
        self.ROOT_URI = account.feed_url
        self.input_request_dict: dict[int, Any] = {}  # the class shares its own among all
        self._at_packet, self._at_text, self._at_life = on_packet, on_text, on_alive
        self._at_open, self._at_end = on_open, on_end
        self._ended = False
        self._secrets = [*account.secrets, *tokens.values()]

    def connect(self) -> None:
        """Connect, and hand over what comes until the connection is over."""
        headers = {
            "Authorization": self.auth_token,
            "x-api-key": self.api_key,
            "x-client-code": self.client_code,
            "x-feed-token": self.feed_token,
        }
        self.wsapp = websocket.WebSocketApp(
            self.ROOT_URI,
            header=headers,
            on_open=lambda _: self._at_open(),
            on_data=self._received,
            on_error=lambda _, error: self._end(_error_end(error)),
            on_close=lambda _, code, text: self._end(
                ConnectionEnd(EndKind.CLOSED, scrubbed(f"{code or ''} {text or ''}", self._secrets))
            ),
            on_pong=lambda *_: self._at_life(),
        )
        try:
            self.wsapp.run_forever(
                sslopt={"cert_reqs": ssl.CERT_REQUIRED, "check_hostname": True},
                ping_interval=PING_EVERY_S,
                ping_timeout=PONG_WITHIN_S,
            )
        finally:
            self._end(ConnectionEnd(EndKind.CLOSED))

    def close_connection(self) -> None:
        """Close the connection, from any thread. It may take some seconds."""
        if self.wsapp is not None:
            self.wsapp.close()

    def ping(self) -> None:
        """Send the broker's own heartbeat, which it answers with a text."""
        self.wsapp.send(self.HEART_BEAT_MESSAGE)

    def subscribe_all(self, mode: int, tokens: Mapping[int, Iterable[str]]) -> None:
        """Subscribe tokens by exchange number in a mode, some at a time."""
        for exchange, of_exchange in tokens.items():
            names = list(of_exchange)
            for start in range(0, len(names), TOKENS_A_MESSAGE):
                some = [{"exchangeType": exchange, "tokens": names[start : start + TOKENS_A_MESSAGE]}]
                self.subscribe("subscribe1", mode, json.loads(json.dumps(some)))  # it keeps and changes what it gets

    def _received(self, _: object, data: bytes | str, kind: int, __: object) -> None:
        self._at_life()
        if kind == websocket.ABNF.OPCODE_BINARY:
            self._at_packet(data if isinstance(data, bytes) else data.encode())
        else:
            text = data if isinstance(data, str) else data.decode(errors="replace")
            self._at_text(scrubbed(text, self._secrets))

    def _end(self, end: ConnectionEnd) -> None:
        if not self._ended:
            self._ended = True
            self._at_end(end)


def _error_end(error: object) -> ConnectionEnd:
    """Return what an error makes of a connection, without what the error quotes: headers hold tokens."""
    if isinstance(error, websocket.WebSocketBadStatusException):
        return ConnectionEnd(EndKind.ERROR, f"refused with HTTP {error.status_code}", error.status_code)
    return ConnectionEnd(EndKind.ERROR, str(error) if isinstance(error, BrokerError) else type(error).__name__)
