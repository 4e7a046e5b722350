"""Ports of this machine: a free one, and whether something answers at one."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
_QUIET_PORTS = range(10_000, 32_768)
"""Linux (from 32768) and macOS (from 49152) give none of these to a connection, or to a server that names no port.

Who is given one listens on it seconds later, when one that the system hands out may be somebody else's.
"""


def free_port(wanted: int = 0, *, host: str = LOOPBACK) -> int:
    """Give the port that is wanted if nothing listens on it at this moment, any free TCP port otherwise."""
    for port in (wanted, *random.sample(_QUIET_PORTS, 100)):
        if port and _is_free(host, port):
            return port
    with socket.create_server((host, 0), family=_family(host)) as listener:
        free: int = listener.getsockname()[1]
    return free


def _is_free(host: str, port: int) -> bool:
    with socket.socket(_family(host)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def ask(host: str, port: int, *, request: bytes, size: int) -> bytes:
    """Send ``request`` to a TCP server and give the first ``size`` bytes it answers, fewer if it doesn't within 2 s."""
    answer = b""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.sendall(request)
            while len(answer) < size and (received := connection.recv(size - len(answer))):
                answer += received
    except OSError:
        pass  # refused, reset or silent: what has come so far is the answer
    return answer
