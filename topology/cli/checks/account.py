"""The broker account and the way to the broker: credentials, addresses, and this machine's clock against the broker's.

TLS is checked as a client will: by the certificates that Python trusts on this machine.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pyotp
import requests

from topology.cli.checks import CONNECT_S, Finding, bad, ok, warn
from topology.settings import SIM, Settings

CREDENTIALS, CLOCK = "credentials", "clock"
FINE_S, USABLE_S = 1.0, 5.0
_SHAPES = {
    "ANGEL_API_KEY": ("api_key", "[A-Za-z0-9]{8}", "eight letters and digits, see the SmartAPI page of your app"),
    "ANGEL_CLIENT_CODE": ("client_code", "[A-Za-z]{1,4}[0-9]{2,10}", "a letter or some, then digits"),
    "ANGEL_PASSWORD": ("password", "[0-9]{4}", "the PIN of four digits that the login takes, no password"),
}


def credentials(settings: Settings) -> list[Finding]:
    """Whether all that a login needs is set and looks like what it is; no value is ever shown."""
    account = settings.account
    missing = account.missing
    if settings.namespace == SIM and len(missing) == 1 + len(_SHAPES):
        return [ok(CREDENTIALS, "none are set; simulated data needs none")]
    if missing:
        return [bad(CREDENTIALS, f"not set: {', '.join(missing)}", "set them in the environment or in the file .env")]
    found = [
        warn(CREDENTIALS, f"{variable} doesn't look like one", f"it should be {shape}")
        for variable, (name, pattern, shape) in _SHAPES.items()
        if not re.fullmatch(pattern, getattr(account, name))
    ]
    if problem := _totp_problem(account.totp_secret):
        advice = "it must be the base32 secret shown beside the QR code when TOTP is enabled, not a code of six digits"
        found.insert(0, bad(CREDENTIALS, f"ANGEL_TOTP_SECRET {problem}", advice))
    return found or [ok(CREDENTIALS, "all are set and well-formed")]


def _totp_problem(secret: str) -> str:
    if not re.fullmatch("[A-Za-z2-7]+=*", secret):
        return "is not base32"
    try:
        pyotp.TOTP(secret)
    except ValueError:
        return "is too short, or cut off"
    return ""


def clock(settings: Settings, now_s: Callable[[], float] = time.time) -> list[Finding]:
    """How far this machine's clock is from that of the broker's server, which tells whole seconds."""
    sent_s = now_s()
    try:
        answer = requests.head(settings.account.api_url, timeout=CONNECT_S, allow_redirects=False)
        received_s = now_s()
        told_s = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (requests.RequestException, KeyError, ValueError):
        return [warn(CLOCK, "not compared: the broker doesn't tell its time", "see `egress api`, and look at NTP")]
    ahead_s = (sent_s + received_s) / 2 - (told_s + 0.5)
    found = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} the broker's"
    if abs(ahead_s) <= FINE_S:
        return [ok(CLOCK, f"within {FINE_S:.0f} s of the broker's")]
    level = warn if abs(ahead_s) <= USABLE_S else bad
    return [level(CLOCK, found, "let NTP set this machine's clock (timedatectl set-ntp true): logins depend on it")]


def egress(settings: Settings, which: str) -> list[Finding]:
    """Whether a server of the broker can be reached, with TLS where its address asks for it: api, feed or master."""
    check, variable = f"egress {which}", f"ANGEL_{which.upper()}_URL"
    url = urlsplit(getattr(settings.account, f"{which}_url"))
    tls = url.scheme in ("https", "wss")
    try:
        host, port = url.hostname or "", url.port or (443 if tls else 80)
    except ValueError:
        host, port = "", 0
    if not host:
        return [bad(check, f"{variable} names no host and port", f"correct {variable}")]
    try:
        _connect(host, port, tls=tls)
    except ssl.SSLError:
        advice = "look at this machine's clock and CA certificates, and for a proxy that reads along"
        return [bad(check, f"{host}:{port} answers, but with no certificate that is trusted here", advice)]
    except socket.gaierror:
        return [bad(check, f"the name {host} is not known here", f"look at this machine's DNS, and at {variable}")]
    except (OSError, UnicodeError) as error:
        advice = "let this machine through to it: firewall, network, proxy"
        return [bad(check, f"{host}:{port} can't be reached ({_reason(error)})", advice)]
    return [ok(check, f"{host}:{port} answers{' with a trusted certificate' if tls else ''}")]


def _connect(host: str, port: int, *, tls: bool) -> None:
    with socket.create_connection((host, port), timeout=CONNECT_S) as connection:
        if tls:
            ssl.create_default_context().wrap_socket(connection, server_hostname=host).close()


def _reason(error: Exception) -> str:
    return "no answer" if isinstance(error, TimeoutError) else getattr(error, "strerror", "") or type(error).__name__
