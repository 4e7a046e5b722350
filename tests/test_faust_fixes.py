"""What Faust and its client leave undone is done: a recovery that gets nothing ends.

The order of resume and seek is tested with real workers, in `tests/crash/test_recovery.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, NoReturn

import faust
import pytest

from topology import faust_fixes

PATIENCE_S = faust_fixes.RECOVERY_SILENCE_S


class Ended(Exception):
    pass


class Over(Exception):
    pass


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Watch a recovery through these steps, each a time in seconds and what has become of it by then."""

    async def watch(steps: Iterable[tuple[float, dict[str, Any]]]) -> None:
        recovery = SimpleNamespace(in_recovery=False, _recovery_started_at=None, _active_events_received_at={})
        now, coming = [0.0], iter(steps)

        async def sleep(_seconds: float) -> None:
            step = next(coming, None)
            if step is None:
                raise Over
            now[0] = step[0]
            vars(recovery).update(step[1])

        def end(reason: str) -> NoReturn:
            raise Ended(reason)

        monkeypatch.setattr(faust_fixes, "asyncio", SimpleNamespace(sleep=sleep))
        monkeypatch.setattr(faust_fixes, "time", SimpleNamespace(monotonic=lambda: now[0]))
        monkeypatch.setattr(faust_fixes, "end_process", end)
        await faust_fixes.watch_recovery(SimpleNamespace(tables=SimpleNamespace(recovery=recovery)))  # type: ignore[arg-type]

    return watch


STARTED = {"in_recovery": True, "_recovery_started_at": 100.0}


async def test_a_recovery_that_is_given_nothing_ends_the_worker(watched: Callable[..., Any]) -> None:
    with pytest.raises(Ended, match="given nothing for 60 s"):
        await watched([(100.0, STARTED), (100.0 + PATIENCE_S, {}), (100.1 + PATIENCE_S, {})])


async def test_a_recovery_may_last_for_as_long_as_records_come(watched: Callable[..., Any]) -> None:
    coming = [
        (100.0 + 50 * n, {"_active_events_received_at": {"first": 100.0, "second": 100.0 + 50 * n}}) for n in range(5)
    ]
    with pytest.raises(Over):
        await watched([(100.0, STARTED), *coming])


async def test_a_worker_that_is_not_recovering_is_left_alone(watched: Callable[..., Any]) -> None:
    with pytest.raises(Over):
        await watched([(100.0, STARTED), (500.0, {"in_recovery": False})])


def test_a_version_of_faust_that_nobody_has_looked_at_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faust, "__version__", "0.16.0")
    with pytest.raises(RuntimeError, match=r"Faust 0\.16\.0 is not known here \(known: 0\.15\.3\): install"):
        faust_fixes.install(SimpleNamespace(), {})  # type: ignore[arg-type]
