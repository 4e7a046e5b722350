from __future__ import annotations

import socket

import pytest

from topology.embedded.loopback import LOOPBACK, free_port


def test_a_free_port_can_be_listened_on_and_is_below_those_that_the_system_gives_away() -> None:
    port = free_port()
    assert 10_000 <= port < 32_768
    with socket.create_server((LOOPBACK, port)) as listening:
        assert listening.getsockname()[1] == port


def test_the_port_that_is_wanted_is_given_unless_it_is_taken() -> None:
    wanted = free_port()
    assert free_port(wanted) == wanted
    with socket.create_server((LOOPBACK, wanted)):
        assert free_port(wanted) not in (wanted, 0)


def test_a_port_of_the_newer_protocol_is_looked_at_there() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    port = free_port(host="::1")
    assert free_port(port, host="::1") == port
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        assert free_port(port, host="::1") != port
