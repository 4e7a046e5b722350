"""What a role tells of itself while it runs."""

from __future__ import annotations

import uuid

import pytest
from prometheus_client import REGISTRY

import agents.metrics
from agents.metrics import STILL_S, Progress, StageMetrics
from topology.log.frames import VERSION, CandleFrame, IndicatorFrame, IndicatorValue, TimeframeFrame
from topology.market.candle import Candle
from topology.market.second_candles import LateTick


class Clock:
    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(agents.metrics, "time", clock)
    return clock


@pytest.fixture
def stage() -> str:
    """A stage of its own, since metrics belong to the process."""
    return f"stage-{uuid.uuid4().hex}"


def value(name: str, **labels: object) -> float:
    return REGISTRY.get_sample_value(name, {key: str(label) for key, label in labels.items()}) or 0.0


def test_progress_tells_position_lag_and_the_newest_clock(stage: str) -> None:
    metrics = StageMetrics(stage, lambda partition, offset: 100 * (partition + 1) - 1 - offset)
    metrics.opened(1, None, -1)
    metrics.opened(0, 40, 45)
    metrics.read(0, 59, 50, 7000)
    metrics.read(0, 60, 50, 0)  # a duplicate has no clock of its own
    assert metrics.progress() == [Progress(stage, 0, 50, 39, 7000, False), Progress(stage, 1, None, 200, 0, False)]
    assert value("mdengine_lag_frames", stage=stage, partition=0) == 39
    assert value("mdengine_position", stage=stage, partition=0) == 50


def test_a_partition_that_was_revoked_is_no_longer_told(stage: str) -> None:
    metrics = StageMetrics(stage, lambda *_: 0)
    metrics.opened(0, 1, 1)
    assert len(metrics.progress()) == 1
    metrics.closed(0)
    metrics.read(0, 2, 2, 0)  # a record that was on its way
    assert metrics.progress() == []
    assert REGISTRY.get_sample_value("mdengine_position", {"stage": stage, "partition": "0"}) is None


@pytest.mark.parametrize(
    ("lag", "since_s", "still"), [(1, STILL_S, False), (1, STILL_S + 0.1, True), (0, STILL_S + 0.1, False)]
)
def test_a_reader_with_lag_that_has_not_moved_stands_still(
    stage: str, clock: Clock, lag: int, since_s: float, still: bool
) -> None:
    metrics = StageMetrics(stage, lambda *_: lag)
    metrics.opened(0, 1, 1)
    clock.now_s += 100
    metrics.read(0, 2, 2, 0)
    clock.now_s += since_s
    assert [line.still for line in metrics.progress()] == [still]


def totals() -> list[float]:
    names = ("ticks", "late_ticks", "out_of_session_ticks", "candles", "indicators")
    minutes = [value("mdengine_tf_candles_total", tf=timeframe_s) for timeframe_s in (60, 300)]
    return [*(value(f"mdengine_{name}_total") for name in names), *minutes]


def candle_of(timeframe_s: int) -> Candle:
    return Candle("NSE:1", timeframe_s, 0, 1, 1, 1, 1, 0, 1)


def test_what_a_frame_brings_is_counted(stage: str) -> None:
    metrics = StageMetrics(stage, lambda *_: 0)
    candle = candle_of(1)
    before = totals()
    frame = CandleFrame(
        VERSION, "log", 0, 1, 0, [], "spoilt", [candle] * 2, [candle] * 3,
        accepted=5, out_of_session=4, late=[LateTick("NSE:1", 0, 1)],
    )  # fmt: skip
    metrics.applied(frame)
    minutes = [candle_of(60), candle_of(300), candle_of(60)]
    metrics.applied(TimeframeFrame(VERSION, "log", 0, 1, 0, [], "", minutes, []))
    metrics.applied(IndicatorFrame(VERSION, "log", 0, 2, 0, [], "", [IndicatorValue("NSE:1", "SMA_2", 60, 0, 1.0)], []))
    names = ("frames", "live_rows", "gap_frames")
    assert [value(f"mdengine_{name}_total", stage=stage) for name in names] == [3, 3, 1]
    assert [now - then for now, then in zip(totals(), before, strict=True)] == [5, 1, 4, 2, 1, 2, 1]


def test_a_checkpoint_is_told_by_its_offset(stage: str) -> None:
    StageMetrics(stage, lambda *_: 0).saved(3, 77)
    assert value("mdengine_checkpoint_offset", stage=stage, partition=3) == 77
