"""Ports of this machine: a free one, and whether something answers at one."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def free_port(wanted: int = 0, *, host: str = LOOPBACK) -> int:
    """Give the port that is wanted if nothing listens on it at this moment, any free TCP port otherwise."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, wanted))
        except OSError:
            if not wanted:
                raise
            return free_port(host=host)
        port: int = listener.getsockname()[1]
    return port


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
