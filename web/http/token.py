"""The token that gateways ask for: a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

SIZE = 32  # bytes of chance


def token(path: Path) -> str:
    """Return the token; where there is none yet, one is made."""
    try:
        return path.read_text(encoding="ascii").strip() or rotate(path)
    except FileNotFoundError:
        return rotate(path, only_new=True)


def rotate(path: Path, *, only_new: bool = False) -> str:
    """Make a new token in place of the one there is. With ``only_new`` one that another process has just made stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = secrets.token_urlsafe(SIZE)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.touch(mode=0o600)
    try:
        new.write_text(made + "\n", encoding="ascii")
        if not only_new:
            new.replace(path)
            return made
        try:
            os.link(new, path)
        except FileExistsError:
            return path.read_text(encoding="ascii").strip()
        return made
    finally:
        new.unlink(missing_ok=True)
