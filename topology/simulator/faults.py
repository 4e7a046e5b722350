"""Faults on demand: what there is, how one is written, and which are active when. Pure.

    NAME[:KEY=VALUE[,KEY=VALUE...]][@WHEN]     silent:for=30s,socket=1@09:20

``for`` is how long, ``chance`` the part of packets it meets, ``by`` how much, ``socket`` and ``instrument`` whom alone,
``answer`` what REST says. A socket's number is the lowest of 1 to 3 that was free when it was opened. WHEN is an Indian
time of day, ``+30s`` from now, or ``2022-11-22T09:20``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from topology.market import Instrument, InstrumentError
from topology.market.times import DAY_MS, IST, last_midnight_ms
from topology.simulator.curve import mixed

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
_DURATION = re.compile(r"(-?)(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)")
_CHANCE = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)%")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_SOCKETS, _ANSWERS = ("1", "2", "3"), ("403", "AB1021", "429")
_SEVERAL = (1 << 64) - 1


class FaultError(ValueError):
    """A fault that can't be understood: one line that says what is allowed."""


class _Kind(NamedTuple):
    """What a fault does, in a line, and the keys it has with their defaults."""

    does: str
    keys: Mapping[str, str]


_WHOM = {"socket": "", "instrument": ""}
_SOME = {"for": "1m", "chance": "5%", **_WHOM}
KINDS: Mapping[str, _Kind] = {
    "drop": _Kind("close sockets with 1011, and open none while it lasts", {"for": "0s", "socket": ""}),
    "abort": _Kind("cut sockets off without a close, and open none while it lasts", {"for": "0s", "socket": ""}),
    "silent": _Kind("send no data, but answer pings", {"for": "30s", "chance": "100%", **_WHOM}),
    "half-open": _Kind("answer nothing any more on sockets that are open while it lasts", {"for": "0s", "socket": ""}),
    "refuse-login": _Kind("refuse to log in", {"for": "1m"}),
    "expire-token": _Kind("let the tokens die, those to renew them with not", {}),
    "expire-session": _Kind("let all tokens die", {}),
    "rate-limit": _Kind("answer REST with 403, AB1021 or 429; 429 sockets too", {"for": "10s", "answer": "403"}),
    "duplicate": _Kind("send packets twice", _SOME),
    "reorder": _Kind("send packets after the next one of the instrument", _SOME),
    "delay": _Kind("send packets later", {"for": "1m", "chance": "100%", "by": "2s", **_WHOM}),
    "wrong-sequence": _Kind("send another sequence number", _SOME),
    "garbage": _Kind("send random bytes in place of packets", _SOME),
    "truncate": _Kind("cut packets short", _SOME),
    "oversize": _Kind("send packets with bytes too many", _SOME),
    "volume-reset": _Kind("let the day's volume start again from 0 while it lasts", {"for": "1m", **_WHOM}),
    "clock-jump": _Kind("send another exchange time", {"for": "1m", "chance": "100%", "by": "1h", **_WHOM}),
    "holiday": _Kind("stay connected without any data, candles neither, until midnight", {"for": ""}),
}
"""Every fault by name."""

AT_ONCE = ("drop", "abort", "half-open", "expire-token", "expire-session")
"""Those that do something when they begin."""
SHUT = ("drop", "abort")
"""Those during which no socket is opened."""
HIDING = ("silent", "holiday")
"""Those that hold packets back for good."""
DISTORTING = (
    *HIDING, "duplicate", "reorder", "delay", "wrong-sequence", "garbage", "truncate", "oversize", "volume-reset",
    "clock-jump",
)  # fmt: skip
"""Those that meet packets."""


class Fault(msgspec.Struct, frozen=True):
    """A fault in ``[from_ms, until_ms)``, of the market's time; ``text`` is how it was written.

    ``socket`` and ``instrument`` are None where it is for all; ``chance`` is from 0 to 1.
    """

    id: int
    name: str
    text: str
    from_ms: int
    until_ms: int
    chance: float = 1.0
    by_ms: int = 0
    socket: int | None = None
    instrument: str | None = None
    answer: str = ""

    def meets(self, socket: int, instrument: str) -> bool:
        """Whether it is about packets of this instrument on this socket."""
        return self.socket in (None, socket) and self.instrument in (None, instrument)


def read(text: str, *, now_ms: int, number: int = 0) -> Fault:
    """Read a fault from ``NAME[:KEY=VALUE,...][@WHEN]``; ``number`` becomes its id. Raises FaultError."""
    head, _, when = text.partition("@")
    name, _, rest = head.partition(":")
    given: dict[str, str] = {}
    for part in rest.split(",") if rest else ():
        key, equals, value = part.partition("=")
        if not equals or key in given:
            raise FaultError(f"fault {text!r}: write it as NAME:KEY=VALUE,KEY=VALUE@WHEN, each key once")
        given[key.strip()] = value.strip()
    kind = KINDS.get(name)
    if kind is None:
        raise FaultError(f"fault {name!r} is not one of {', '.join(KINDS)}")
    if unknown := set(given) - set(kind.keys):
        allowed = ", ".join(kind.keys) or "no keys at all"
        raise FaultError(f"fault {name} does not know {', '.join(sorted(unknown))}: it takes {allowed}")
    values = {**kind.keys, **given}
    from_ms = _when_ms(when.strip(), now_ms) if when else now_ms
    until_ms = last_midnight_ms(from_ms) + DAY_MS if not values.get("for", "0s") else from_ms + _length_ms(values)
    return Fault(
        number, name, text, from_ms, until_ms,
        chance=_chance(values.get("chance", "100%")),
        by_ms=_by_ms(name, values.get("by", "0s")),
        socket=_socket(values.get("socket", "")),
        instrument=_instrument(values.get("instrument", "")),
        answer=_answer(values.get("answer", "")),
    )  # fmt: skip


def read_fields(fields: Mapping[str, object], *, now_ms: int, number: int = 0) -> Fault:
    """Read a fault from the same keys as JSON: ``{"name": "silent", "for": "30s", "at": "+5s"}``. Raises FaultError."""
    keys = ",".join(f"{key}={value}" for key, value in fields.items() if key not in ("name", "at"))
    at = fields.get("at", "")
    return read(
        f"{fields.get('name', '')}{':' if keys else ''}{keys}{'@' if at else ''}{at}", now_ms=now_ms, number=number
    )


class Faults:
    """The faults of a simulator: to come, active and past, on the market's time, which :meth:`advance` moves on."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.all: list[Fault] = []
        self.active: list[Fault] = []
        self.now_ms = 0
        self._added = 0
        self.version = 0  # moves on whenever `active` has changed

    def add(self, text: str | Mapping[str, object]) -> Fault:
        """Take a fault, as text or as fields. Raises FaultError, also for one that would have begun before now."""
        self._added += 1
        number = self._added
        if isinstance(text, str):
            fault = read(text, now_ms=self.now_ms, number=number)
        else:
            fault = read_fields(text, now_ms=self.now_ms, number=number)
        if fault.from_ms < self.now_ms:
            raise FaultError(f"fault {fault.text!r} would have begun already")
        self.all.append(fault)
        self._renew()
        return fault

    def clear(self) -> None:
        """End what is active and forget what is to come."""
        now_ms = self.now_ms
        self.all = [_ended(fault, now_ms) for fault in self.all if fault.from_ms <= now_ms]
        self._renew()

    def next_edge_ms(self, until_ms: int) -> int:
        """Give when next a fault begins or ends after now, or ``until_ms`` if that is earlier."""
        edges = (edge for fault in self.all for edge in (fault.from_ms, fault.until_ms) if edge > self.now_ms)
        return min(edges, default=until_ms) if self.all else until_ms

    def advance(self, now_ms: int) -> list[Fault]:
        """Move on to an edge or less far; return the faults that begin by it."""
        begun = [fault for fault in self.all if self.now_ms < fault.from_ms <= now_ms]
        self.now_ms = now_ms
        self._renew()
        return begun

    def named(self, *names: str) -> list[Fault]:
        """Give the active faults of these names."""
        return [fault for fault in self.active if fault.name in names]

    def happens(self, fault: Fault, *about: int) -> bool:
        """Whether a fault meets what ``about`` numbers: by chance, but always the same under one seed."""
        return fault.chance >= 1 or mixed(self._seed, fault.id, *about) < fault.chance * _SEVERAL

    def number(self, fault: Fault, *about: int) -> int:
        """Give a number of 64 bits for a detail of a fault, always the same under one seed."""
        return mixed(self._seed, fault.id, 1, *about)

    def _renew(self) -> None:
        active = [fault for fault in self.all if fault.from_ms <= self.now_ms < fault.until_ms]
        if active != self.active:
            self.active = active
            self.version += 1


def _ended(fault: Fault, now_ms: int) -> Fault:
    return msgspec.structs.replace(fault, until_ms=min(fault.until_ms, now_ms))


def _length_ms(values: Mapping[str, str]) -> int:
    length_ms = _duration_ms(values.get("for", "0s"))
    if length_ms < 0:
        raise FaultError(f"for={values['for']} is wrong: it can't be negative")
    return length_ms


def _duration_ms(text: str) -> int:
    match = _DURATION.fullmatch(text)
    if not match:
        raise FaultError(f"{text!r} is no duration: write 500ms, 30s, 2m, 1h or 1d")
    return round(float(match[2]) * _UNITS_MS[match[3]]) * (-1 if match[1] else 1)


def _by_ms(name: str, text: str) -> int:
    by_ms = _duration_ms(text)
    if by_ms < 0 and name != "clock-jump":
        raise FaultError(f"by={text} is wrong: only a clock can jump back")
    return by_ms


def _chance(text: str) -> float:
    match = _CHANCE.fullmatch(text)
    if not match or float(match[1]) > 100:
        raise FaultError(f"chance={text} is wrong: write a part of the packets from 0% to 100%")
    return float(match[1]) / 100


def _socket(text: str) -> int | None:
    if text not in ("", *_SOCKETS):
        raise FaultError(f"socket={text} is wrong: it must be one of {', '.join(_SOCKETS)}")
    return int(text) if text else None


def _instrument(text: str) -> str | None:
    try:
        return str(Instrument.parse(text)) if text else None
    except InstrumentError as error:
        raise FaultError(str(error)) from None


def _answer(text: str) -> str:
    if text not in ("", *_ANSWERS):
        raise FaultError(f"answer={text} is wrong: it must be one of {', '.join(_ANSWERS)}")
    return text


def _when_ms(text: str, now_ms: int) -> int:
    if text.startswith("+"):
        return now_ms + _duration_ms(text[1:])
    if match := _CLOCK.fullmatch(text):
        hour, minute, second = (int(part or 0) for part in match.groups())
        at_ms = last_midnight_ms(now_ms) + ((hour * 60 + minute) * 60 + second) * 1_000
        return at_ms if at_ms >= now_ms else at_ms + DAY_MS
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise FaultError(f"{text!r} is no time: write +30s, 09:20, 09:20:30 or 2022-11-22T09:20") from None
    return round((at.replace(tzinfo=at.tzinfo or IST) - _EPOCH) / timedelta(milliseconds=1))


_EPOCH = datetime.fromtimestamp(0, IST)
