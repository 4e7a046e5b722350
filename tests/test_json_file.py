"""A value survives its file; a file that is none is begun anew."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.json_file import JsonFile


@settings(deadline=None, max_examples=20)
@given(values=st.lists(st.dictionaries(st.text(), st.text()), min_size=1, max_size=5))
def test_the_newest_value_is_read_and_nothing_else_is_left(values: list[dict[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made" / "value.json"
        for value in values:
            JsonFile(path, dict[str, str]).write(value)
        assert JsonFile(path, dict[str, str]).read() == values[-1]
        assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_not_there_is_no_value(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert JsonFile(tmp_path / "value.json", dict[str, str]).read() is None
    assert caplog.text == ""


@pytest.mark.parametrize("content", [b"", b"torn {", b"[1]", b"\xff", b'{"a": "\xff"}'])
def test_a_file_that_cannot_be_read_is_no_value_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(content)
    assert JsonFile(path, dict[str, str]).read() is None
    assert f"{path} can't be read" in caplog.text
    JsonFile(path, dict[str, str]).write({"a": "b"})
    assert JsonFile(path, dict[str, str]).read() == {"a": "b"}
