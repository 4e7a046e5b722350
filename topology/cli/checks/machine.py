"""This machine: space for data, ports, and the versions of what is installed."""

from __future__ import annotations

import errno
import http.client
import json
import os
import platform
import shutil
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from topology.cli.checks import CONNECT_S, Finding, bad, ok, warn
from topology.faust_fixes import KNOWN_FAUST
from topology.feeds.angel import KNOWN_SMARTAPI
from topology.settings import SIM, Address, Settings

DISK, PORTS, VERSIONS = "disk", "ports", "versions"
GB = 1_000_000_000
LOW_GB, FULL_GB = 10, 1
OLDEST_PYTHON = (3, 11)


def disk(settings: Settings) -> list[Finding]:
    """Whether the data folder can be written to and has room."""
    folder = settings.data_dir.absolute()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return [bad(DISK, f"{existing} can't be written to", "make it writable, or set DATA_DIR")]
    return [room(existing, shutil.disk_usage(existing).free)]


def room(folder: Path, free_bytes: int) -> Finding:
    """Whether so much space is enough: a live day of some hundred instruments takes about a gigabyte."""
    found = f"{free_bytes / GB:,.1f} GB free in {folder}"
    advice = "free some, lower LOG_KEEP_DAYS (`topology prune`), or set DATA_DIR to a larger disk"
    if free_bytes < FULL_GB * GB:
        return bad(DISK, found, advice)
    return warn(DISK, found, advice) if free_bytes < LOW_GB * GB else ok(DISK, found)


def ports(settings: Settings) -> list[Finding]:
    """Whether what we listen on is free, or held by a role of ours."""
    used = {
        "METRICS_ADDR": settings.metrics_addr,
        "DASHBOARD_ADDR": settings.dashboard_addr,
        "GATEWAY_ADDR": settings.gateway_addr,
    }
    if settings.namespace == SIM:
        used["TICK_SERVER_ADDR"] = settings.tick_server_addr
    return [_port(variable, address) for variable, address in used.items()]


def versions() -> list[Finding]:
    """Whether Python and the packages that are patched or wrapped here are the known ones."""
    packages = [("faust-streaming", KNOWN_FAUST), ("smartapi-python", KNOWN_SMARTAPI)]
    installed = {package: _installed(package) for package, _ in packages}
    found = [
        bad(VERSIONS, f"{package} {installed[package]} is not known here", f"install {package}=={max(known)}")
        for package, known in packages
        if installed[package] not in known
    ]
    if sys.version_info < OLDEST_PYTHON:
        found.append(bad(VERSIONS, f"Python {platform.python_version()} is too old", "install 3.11 or newer"))
    together = ", ".join(f"{package} {number}" for package, number in installed.items())
    return found or [ok(VERSIONS, f"Python {platform.python_version()}, {together}")]


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(none)"


def _port(variable: str, address: Address) -> Finding:
    host = address.host.strip("[]")
    try:
        family, kind, protocol, _, bound_to = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(bound_to)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            reason = error.strerror or type(error).__name__
            return bad(PORTS, f"{variable}={address} can't be listened on ({reason})", f"set {variable}")
        if _is_ours(host, address.port):
            return ok(PORTS, f"{variable}={address} is in use by one of ours")
        return bad(PORTS, f"{variable}={address} is in use by something else", f"end it, or set {variable}")
    return ok(PORTS, f"{variable}={address} is free")


def _is_ours(host: str, port: int) -> bool:
    """Whether `/health` is answered as our roles and servers do: by a JSON object."""
    connection = http.client.HTTPConnection(host, port, timeout=CONNECT_S)
    try:
        connection.request("GET", "/health")
        return isinstance(json.loads(connection.getresponse().read(65_536)), dict)
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
