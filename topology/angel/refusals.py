"""Refused logins, counted on disk: the account locks after some, whoever starts this process again in between."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from topology.json_file import JsonFile
from topology.settings import Account

MOST = 3


class _Refused(msgspec.Struct):
    """What the file holds: a digest that tells whether the credentials are still the same, and the number."""

    credentials: str
    count: int


class Refusals:
    """The refusals of one account's credentials. Other credentials start from none."""

    def __init__(self, path: Path, account: Account) -> None:
        self.path = path
        self._file = JsonFile(path, _Refused)
        self._credentials = hashlib.sha256("\0".join(account.secrets).encode()).hexdigest()
        refused = self._file.read()
        self.count = refused.count if refused is not None and refused.credentials == self._credentials else 0

    @property
    def final(self) -> bool:
        """Whether another one may lock the account."""
        return self.count >= MOST

    def add(self) -> None:
        """Count one more."""
        self.count += 1
        self._file.write(_Refused(self._credentials, self.count))

    def reset(self) -> None:
        """Forget them: the credentials are good."""
        self.count = 0
        self.path.unlink(missing_ok=True)
