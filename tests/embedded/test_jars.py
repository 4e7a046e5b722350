from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import pytest
from jgo.maven import PythonResolver

from topology.embedded import EmbeddedError
from topology.embedded.jars import BROKER, LOGGING, jars

PINS: dict[str, str] = json.loads(files("topology.embedded").joinpath("jars.json").read_text())


def test_the_lock_pins_the_broker_and_its_logging() -> None:
    assert {BROKER, LOGGING} <= PINS.keys()


def test_every_jar_has_a_name_of_its_own() -> None:
    assert len({path.name for path in jars(print)}) == len(PINS)


def test_every_jar_is_the_one_that_was_pinned() -> None:
    found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in jars(print)]
    assert found == list(PINS.values())


def test_a_second_start_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = jars(print)
    monkeypatch.setattr(PythonResolver, "download", refuse)
    assert jars(print) == paths


def test_a_jar_that_is_not_the_pinned_one_stops_with_one_line_and_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PythonResolver, "download", forge)
    with pytest.raises(EmbeddedError, match="is not the file that was pinned") as caught:
        jars(print, cache=tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PythonResolver, "download", refuse)
    with pytest.raises(EmbeddedError, match=r"can't be fetched: ConnectionError; check the network") as caught:
        jars(print, cache=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match=f"can't be kept in {tmp_path}/file/jars"):
        jars(print, cache=tmp_path / "file/jars")


def refuse(_resolver: PythonResolver, _artifact: object) -> Path:
    raise ConnectionError("refused")


def forge(_resolver: PythonResolver, artifact: object) -> Path:
    path: Path = artifact.cached_path  # type: ignore[attr-defined]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"forged")
    return path
