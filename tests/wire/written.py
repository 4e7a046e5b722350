"""The written lists of what outside can see, in `tests/wire/lists/`: a file for each kind, to be read by people.

What a test finds must be what is written, word for word. Where a change is meant, `WIRE_LISTS=write pytest tests/wire`
writes them anew, and the difference belongs into the commit.
"""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Any

import pytest

LISTS = Path(__file__).parent / "lists"
WORDS = {"type", "status", "s", "error"}  # what programs look at: their values are names too


def check(name: str, found: Any) -> None:
    """Compare what was found with the list of this name; say what differs, line by line."""
    path = LISTS / f"{name}.json"
    made = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("WIRE_LISTS") == "write":
        path.write_text(made, encoding="utf-8")
        return
    written = path.read_text(encoding="utf-8")
    if made != written:
        lines = difflib.unified_diff(
            written.splitlines(), made.splitlines(), f"written in {path.name}", "found", lineterm="", n=2
        )
        pytest.fail("outside sees something else:\n" + "\n".join(lines), pytrace=False)


def shape(value: Any) -> Any:
    """Return the names and types of JSON: of an array all that its items have."""
    if isinstance(value, dict):
        return {name: f"= {of}" if name in WORDS and isinstance(of, str) else shape(of) for name, of in value.items()}
    if isinstance(value, list):
        shapes = [shape(item) for item in value]
        if shapes and all(isinstance(one, dict) for one in shapes):
            return [_merged(shapes)]
        return [one for number, one in enumerate(shapes) if one not in shapes[:number]]
    return "null" if value is None else type(value).__name__


def _merged(shapes: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in shapes:
        for name, of in one.items():
            kinds = {*str(found.get(name, of)).split(" or "), str(of)}
            found[name] = of if found.get(name, of) == of else " or ".join(sorted(kinds))
    return found
