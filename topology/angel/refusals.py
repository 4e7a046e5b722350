"""Refused logins, counted on disk: the account locks after some, whoever starts this process again in between."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from topology.settings import Account

MOST = 3


class _Kept(msgspec.Struct):
    """What the file holds: a digest that tells whether the credentials are still the same, and the number."""

    credentials: str
    count: int


class Refusals:
    """The refusals of one account's credentials. Other credentials start from none."""

    def __init__(self, path: Path, account: Account) -> None:
        self.path = path
        self._credentials = hashlib.sha256("\0".join(account.secrets).encode()).hexdigest()
        self.count = self._kept()

    @property
    def final(self) -> bool:
        """Whether another one may lock the account."""
        return self.count >= MOST

    def add(self) -> None:
        """Count one more."""
        self.count += 1
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(msgspec.json.encode(_Kept(self._credentials, self.count)))

    def reset(self) -> None:
        """Forget them: the credentials are good."""
        self.count = 0
        self.path.unlink(missing_ok=True)

    def _kept(self) -> int:
        try:
            kept = msgspec.json.decode(self.path.read_bytes(), type=_Kept)
        except (OSError, msgspec.DecodeError):
            return 0
        return kept.count if kept.credentials == self._credentials else 0
