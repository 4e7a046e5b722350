"""What `topology doctor` looks at, by where it looks: the account, the market, this machine, services, channels.

A check is a function that takes the settings and returns findings. It waits for nothing longer than some seconds, and
no finding holds a secret.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

CONNECT_S = 3.0
"""How long a check waits for a server."""


class Severity(StrEnum):
    """How bad a finding is: a warning needs a look, what is bad must be mended before the market opens."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


class Finding(msgspec.Struct, frozen=True):
    """What a check found, and what to do about it; nothing is to be done where it is ok."""

    check: str
    level: Severity
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Severity.OK, found)


def warn(check: str, found: str, advice: str) -> Finding:
    """It works, or nobody knows whether it does."""
    return Finding(check, Severity.WARN, found, advice)


def bad(check: str, found: str, advice: str) -> Finding:
    """It won't work."""
    return Finding(check, Severity.BAD, found, advice)
