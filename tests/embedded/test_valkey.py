from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from topology.embedded import EmbeddedError, Valkey, free_port
from topology.embedded.valkey import answers


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path, free_port())
    server.start()
    yield server
    server.stop()


def client(server: Valkey, password: str | None = None) -> Redis:
    return Redis(port=server.port, password=password, retry=Retry(NoBackoff(), retries=0))


def test_a_started_server_answers_and_a_stopped_one_does_not(server: Valkey) -> None:
    assert server.running
    assert answers("127.0.0.1", server.port)
    server.stop()
    assert not server.running
    assert not answers("127.0.0.1", server.port)


def test_what_it_held_at_a_clean_stop_is_there_at_the_next_start(server: Valkey) -> None:
    client(server).set("position", 7)
    server.stop()
    server.start()
    assert client(server).get("position") == b"7"


def test_after_a_crash_it_holds_what_it_held_at_the_last_clean_stop(server: Valkey) -> None:
    client(server).mset({"position": 7, "value": "a"})
    server.stop()
    server.start()
    client(server).mset({"position": 8, "value": "b"})
    server.kill()
    server.start()
    assert client(server).mget("position", "value") == [b"7", b"a"]


def test_a_password_with_quotes_and_blanks_is_asked_for(tmp_path: Path) -> None:
    password = 'a "b" \\c'
    server = Valkey(tmp_path, free_port(), password=password)
    server.start()
    try:
        assert answers("127.0.0.1", server.port)
        assert client(server, password).ping()
        with pytest.raises(AuthenticationError):
            client(server, "wrong").ping()
    finally:
        server.stop()


def test_the_file_with_the_password_is_for_its_owner_alone(server: Valkey) -> None:
    assert (server.folder / "valkey.conf").stat().st_mode & 0o077 == 0


def test_it_listens_on_loopback_alone(server: Valkey) -> None:
    assert client(server).config_get("bind") == {"bind": "127.0.0.1"}


def test_a_port_that_is_taken_is_one_line_that_names_the_log(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = Valkey(tmp_path, other.getsockname()[1])
        with pytest.raises(EmbeddedError) as caught:
            server.start()
    assert str(caught.value).splitlines() == [f"the embedded Valkey ended while it started; see {tmp_path}/valkey.log"]
    assert "Address already in use" in (tmp_path / "valkey.log").read_text()


PARENT = """
import sys
from pathlib import Path
from topology.embedded import Valkey
server = Valkey(Path(sys.argv[1]), int(sys.argv[2]))
server.start()
print("started", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process of its own session that has started a server, and the server's port."""
    port = free_port()
    command = [sys.executable, "-c", PARENT, str(tmp_path), str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        yield process, port
        process.kill()


def test_it_dies_with_a_parent_that_is_killed(parent: tuple[subprocess.Popen[bytes], int]) -> None:
    process, port = parent
    with socket.create_connection(("127.0.0.1", port)) as connection:
        process.kill()
        connection.settimeout(30)
        assert connection.recv(1) == b""  # the server has closed it


def test_it_has_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(server: Valkey) -> None:
    pid = client(server).info("server")["process_id"]
    assert os.getsid(pid) != os.getsid(0)
