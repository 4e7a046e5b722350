"""A value that is kept in a JSON file, so that a process that is started again goes on with it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

logger = logging.getLogger(__name__)

Value = TypeVar("Value")


class JsonFile(Generic[Value]):
    """The file at ``path``, which holds a value of ``kind`` or is not there."""

    def __init__(self, path: Path, kind: type[Value]) -> None:
        self.path = path
        self._kind = kind

    def read(self) -> Value | None:
        """Return the value, None where there is none; one that can't be read counts as none, with a warning."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=self._kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            logger.warning("%s can't be read and is begun anew: %s", self.path, error)
            return None

    def write(self, value: Value) -> None:
        """Replace the value; whoever is killed over it leaves the old one. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(value))
        beside.replace(self.path)
