"""JSON lines as a sink: asked from beside, and used only where its role has run."""

from __future__ import annotations

from pathlib import Path

import pytest

from topology.log.frames import CANDLES, CandleFrame, LogHeader
from topology.log.lag import FramePosition
from topology.settings import Settings
from topology.sinks.cursor import SinkAwayError, SinkCursor, StoredFrame
from topology.sinks.jsonl.sink import JsonlSink
from topology.sinks.registry import used_sinks

HEADER = LogHeader(1, "log", "live", 1)


async def test_it_is_asked_and_in_the_status_from_when_its_role_has_run(tmp_path: Path) -> None:
    settings = Settings.from_env({"DATA_DIR": str(tmp_path)})
    sink = JsonlSink(settings)
    assert [used.name for used in used_sinks(settings)] == ["mirror", "archive"]
    with pytest.raises(SinkAwayError, match="start the role `jsonl`"):
        await sink.reached(HEADER)
    await sink.open(HEADER)
    await sink.write([StoredFrame(CANDLES, 0, 7, CandleFrame(1, "log", 0, 5, 1000, [], "", [], []))])
    assert await sink.positions() == {(CANDLES, 0): SinkCursor(5, 7, 1000)}
    await sink.close()
    assert [used.name for used in used_sinks(settings)] == ["mirror", "archive", "jsonl"]
    assert await JsonlSink(settings).reached(HEADER) == {(CANDLES, 0): FramePosition(5, 1000)}
