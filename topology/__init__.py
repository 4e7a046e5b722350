"""Real-time market data and indicators for Indian markets, as a Faust topology.

A tick's way, file by file:

    topology/feeds/     a source's ticks, written into the tick log as frames       feeds/writer.py
    topology/log/       the format of the frames, the position, the stages: pure    log/frames.py, log/candles.py
    agents/             the arrows: read a frame, one pure call, send               agents/stage_runner.py
    topology/market/    candles, timeframes, sessions: pure                         market/seconds.py
    topology/indicators one file each: pure
    tables/             the row of each stage and partition that survives           tables/state.py
    topology/sinks/     SQLite and Redis
    topology/notifiers/ people are told: webhook, Telegram                          notifiers/notifications.py
    web/                what roles say of themselves; a gateway's REST and pages    web/rest/, web/static/

    topology/simulator/ the broker, played: what the feed is tested against

`topology/settings.py` reads the environment, `topology/kafka/topics.py` knows the topics on the broker,
`topology/faust_fixes.py` corrects Faust, `topology/roles/` builds the app of a role, `topology/cli/` holds the
commands. `topology/configuration/apply.py` changes what a log computes while everything runs.

``faust -A topology worker`` takes ``app`` from here. It is made when it is first asked for, so that the pure rooms can
be imported without Faust.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from topology.roles import app_of_role  # noqa: PLC0415 - see above

    globals()["app"] = app = app_of_role()
    return app
