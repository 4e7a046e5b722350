"""The broker's client does nothing to its host: no network at import, no file, no secret, and TLS is verified."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import requests

from topology.angel.answers import UnreachableError
from topology.angel.client import TOKENS_A_MESSAGE, ConnectionEnd, EndKind, RestClient, SocketClient
from topology.embedded import free_port
from topology.feeds.angel import KNOWN_SMARTAPI
from topology.settings import Account, Settings

ROOT = Path(__file__).parents[2]
SECRETS = {
    "ANGEL_API_KEY": "geheim-key", "ANGEL_CLIENT_CODE": "D12345", "ANGEL_PASSWORD": "geheim-pin",
    "ANGEL_TOTP_SECRET": "GEHEIMGEHEIMGEHEIMGEHEIMGEHEIMGE",
}  # fmt: skip
SCRIPT = """
import logging, socket, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
reached = []
real = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **more: (reached.append(host), real(host, *rest, **more))[1]
from topology.angel import client as sdk
from topology.angel.answers import BrokerError
from topology.settings import load
assert reached == [], reached
account = load().account
for work in (
    lambda rest: rest.generateSession(account.client_code, account.password, "123456"),
    lambda rest: rest.getProfile("geheim-refresh"),
    lambda rest: rest.getCandleData({"exchange": "NSE"}),
):
    rest = sdk.RestClient(account, timeout_s=2)
    rest.access_token = "geheim-token"
    try:
        work(rest)
    except BrokerError as error:
        print(type(error).__name__, error)
ends = []
sdk.SocketClient(
    account, {"jwt": "geheim-jwt", "feed": "geheim-feed"}, on_packet=print, on_text=print, on_alive=print,
    on_open=print, on_end=ends.append,
).connect()
print([(end.kind.name, str(end)) for end in ends])
"""


def account(**urls: str) -> Account:
    return Settings.from_env({**SECRETS, **urls}).account


def test_it_is_the_version_that_is_known_here() -> None:
    assert version("smartapi-python") in KNOWN_SMARTAPI


def test_import_and_failures_reach_nobody_else_write_no_file_and_show_no_secret(tmp_path: Path) -> None:
    port = free_port()
    urls = {"ANGEL_API_URL": f"http://127.0.0.1:{port}", "ANGEL_FEED_URL": f"ws://127.0.0.1:{port}/smart-stream"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env={**os.environ, **SECRETS, **urls, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert said.count("UnreachableError the broker can't be reached (ConnectionError)") == 3
    assert "[('ERROR', 'ConnectionRefusedError')]" in said
    assert not any(secret in said for secret in ("geheim", *SECRETS.values()))
    assert list(tmp_path.iterdir()) == []


def test_the_libraries_of_others_are_left_as_they_were() -> None:
    assert requests.get.__module__ == "requests.api"


SERVES_TLS = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    try:
        context.wrap_socket(connection, server_side=True)
    except OSError:
        pass
"""


@pytest.fixture
def distrusted(tmp_path: Path) -> Iterator[int]:
    """A port that serves TLS with a certificate of its own."""
    if shutil.which("openssl") is None and os.environ.get("CI") != "true":
        pytest.skip("no openssl to make a certificate with")
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], capture_output=True, check=True)
    server = subprocess.Popen([sys.executable, "-c", SERVES_TLS, certificate, key], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    yield int(server.stdout.readline())
    server.kill()
    server.communicate()


def test_a_certificate_that_nobody_vouches_for_is_refused(distrusted: int) -> None:
    ends: list[ConnectionEnd] = []
    SocketClient(
        account(ANGEL_FEED_URL=f"wss://127.0.0.1:{distrusted}/smart-stream"), {"jwt": "j", "feed": "f"},
        on_packet=print, on_text=print, on_alive=print, on_open=print, on_end=ends.append,
    ).connect()  # fmt: skip
    assert ends == [ConnectionEnd(EndKind.ERROR, "SSLCertVerificationError")]
    with pytest.raises(UnreachableError, match="SSLError"):
        RestClient(account(ANGEL_API_URL=f"https://127.0.0.1:{distrusted}")).getProfile("r")


def test_a_thousand_tokens_are_asked_for_in_slices_and_the_caller_s_list_stays_as_it_is() -> None:
    sent: list[str] = []
    one = SocketClient(
        account(), {"jwt": "j", "feed": "f"}, on_packet=print, on_text=print, on_alive=print,
        on_open=print, on_end=print,
    )  # fmt: skip
    one.wsapp = type("Sent", (), {"send": lambda _, text: sent.append(text)})()
    tokens = [str(number) for number in range(2 * TOKENS_A_MESSAGE + 1)]
    for _ in range(2):
        one.subscribe_all(2, {1: tokens})
    assert len(sent) == 6
    assert len(tokens) == 2 * TOKENS_A_MESSAGE + 1
    assert sent[:3] == sent[3:]


def test_two_sockets_share_nothing() -> None:
    made = [
        SocketClient(
            account(),
            {"jwt": "j", "feed": "f"},
            on_packet=print,
            on_text=print,
            on_alive=print,
            on_open=print,
            on_end=print,
        )
        for _ in range(2)
    ]
    assert made[0].input_request_dict is not made[1].input_request_dict
    assert sys.modules["SmartApi.smartWebSocketV2"].SmartWebSocketV2.input_request_dict == {}
