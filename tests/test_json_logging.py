"""A log is one JSON object a line, whatever is logged."""

from __future__ import annotations

import json
import logging
import logging.config
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.json_logging import JsonLines, logging_config
from topology.settings import Settings

ROOT = Path(__file__).parents[1]


def line_of(message: str = "a message", *, exc_info: Any = None, **extra: object) -> dict[str, Any]:
    record = logging.makeLogRecord(
        {
            "name": "agents.stage_runner",
            "levelname": "INFO",
            "levelno": 20,
            "msg": message,
            "exc_info": exc_info,
            **extra,
        }
    )
    line = JsonLines("pipeline").format(record)
    assert "\n" not in line
    fields: dict[str, Any] = json.loads(line)
    return fields


@given(st.text(), st.dictionaries(st.sampled_from(["partition", "position", "stage"]), st.integers() | st.text()))
def test_any_message_and_what_it_adds_is_one_line(message: str, extra: dict[str, object]) -> None:
    found = line_of(message.replace("%", ""), **extra)
    assert found["message"] == message.replace("%", "")
    assert {name: found[name] for name in extra} == extra


def test_a_line_tells_who_says_what() -> None:
    found = line_of("partition taken up", partition=3, position=None)
    told = ("level", "message", "role", "worker", "logger", "partition", "position")
    assert {name: found[name] for name in told} == {
        "level": "INFO", "message": "partition taken up", "role": "pipeline", "worker": os.getpid(),
        "logger": "agents.stage_runner", "partition": 3, "position": None,
    }  # fmt: skip
    assert set(found) == {"time", "level", "message", "role", "worker", "logger", "partition", "position"}


def test_an_exception_is_in_the_same_line() -> None:
    try:
        raise ValueError("spoilt\nand more")
    except ValueError:
        found = line_of(exc_info=sys.exc_info())
    assert "Traceback" in found["error"]
    assert "ValueError: spoilt\nand more" in found["error"]


def test_what_is_no_json_is_told_as_text() -> None:
    assert line_of(folder=Path("data/live"))["folder"] == "data/live"


def logged(level: str, code: str) -> list[dict[str, Any]]:
    """Log from a process of its own, where Faust has nothing to say in how."""
    script = f"""
import logging, logging.config
from topology.json_logging import logging_config
from topology.settings import Settings
logging.config.dictConfig(logging_config(Settings.from_env({{"LOG_LEVEL": {level!r}, "TOPOLOGY_ROLE": "feed"}})))
{code}
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stderr.splitlines()]


SPEAKERS = (
    "topology.feeds",
    "agents.stage_runner",
    "tables.state",
    "web.http.health",
    "aiokafka",
    "faust.app",
    "mode",
    "asyncio",
)
EVERY_LEVEL = f"""
for name in {SPEAKERS}:
    for level in ("debug", "info", "warning"):
        getattr(logging.getLogger(name), level)(level)
"""


@pytest.mark.parametrize(
    ("level", "ours", "foreign"),
    [
        ("INFO", ["info", "warning"], ["warning"]),
        ("WARNING", ["warning"], ["warning"]),
        ("DEBUG", ["debug", "info", "warning"], ["debug", "info", "warning"]),
    ],
)
def test_others_speak_up_only_when_something_goes_wrong_or_when_asked(
    level: str, ours: list[str], foreign: list[str]
) -> None:
    lines = logged(level, EVERY_LEVEL)
    said = {name: [line["message"] for line in lines if line["logger"] == name] for name in SPEAKERS}
    assert all(said[name] == ours for name in SPEAKERS[:4])
    assert all(said[name] == foreign for name in SPEAKERS[4:])
    assert {line["role"] for line in lines} == {"feed"}


def test_debugging_is_off_unless_it_is_asked_for() -> None:
    config = logging_config(Settings.from_env({}))
    assert all(logger["level"] in ("INFO", "WARNING") for logger in config["loggers"].values())
    assert config["root"]["level"] == "WARNING"
