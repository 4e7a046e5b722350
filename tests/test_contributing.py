"""The glossary of CONTRIBUTING.md, and the files that it and the other documents name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
GLOSSARY = re.findall(r"^\| `?([^|`]+?)`? \| [^|]+ \| `([^`|]+\.py)` \|$", CONTRIBUTING, re.MULTILINE)
NAMED = re.findall(r"`((?:topology|agents|tables|web|tests|deploy)/[\w./]+)`", CONTRIBUTING)


@pytest.mark.parametrize(("word", "file"), GLOSSARY, ids=[word for word, _ in GLOSSARY])
def test_each_word_of_the_glossary_is_in_its_file(word: str, file: str) -> None:
    assert re.search(rf"\b{word}", (ROOT / file).read_text(), re.IGNORECASE), f"{file} does not have the word {word!r}"


def test_no_word_has_two_meanings() -> None:
    words = [word.lower() for word, _ in GLOSSARY]
    assert len(words) > 40
    assert sorted(set(words)) == sorted(words)


@pytest.mark.parametrize("path", sorted({path for path in NAMED if "NAME" not in path}))
def test_what_it_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()
