"""The README's example runs, and gives what it says."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_example_turns_ticks_into_candles_and_an_indicator() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    found: dict[str, object] = {}
    exec(example, found)
    assert len(found["minutes"]) == 10  # type: ignore[arg-type]
    values = found["values"]
    assert isinstance(values, list)
    assert [value is None for value in values] == [True] * 8 + [False] * 2


def test_every_variable_in_the_readme_is_read_by_the_settings_and_the_other_way_round() -> None:
    written = set(re.findall(r"`([A-Z][A-Z_]{4,})`", README.read_text()))
    source = (README.parent / "topology/settings.py").read_text()
    read = set(re.findall(r'"([A-Z][A-Z_]{4,})"', source)) - {"DEBUG", "WARNING", "ERROR", "JAVA_HOME"}
    assert written == read
