"""Real-time market data and indicators for Indian markets, as a Faust topology.

A tick's way, file by file (CONTRIBUTING.md tells it in sentences, and has the words):

    topology/feeds/          ticks of a source, written into the tick log            feeds/live.py, feeds/writer.py
      feeds/angel/           the broker's sockets and history                        feeds/angel/translator.py
      feeds/recorded/        files                                                   feeds/recorded/files.py
    agents/                  read a frame, one pure call, send, checkpoint           agents/stage_runner.py
    topology/log/            frames, their order, the three stages: pure             log/frames.py, log/candle_stage.py
    topology/market/         candles, timeframes, sessions: pure                     market/second_candles.py
    topology/indicators/     one file each: pure                                     indicators/sma.py
    tables/                  the row of each stage and partition that survives       tables/state.py
    topology/sinks/          one folder each: what keeps the log's facts             sinks/cursor.py
      sinks/archive/         SQLite                                                  sinks/archive/archive.py
      sinks/mirror/          Redis                                                   sinks/mirror/mirror.py
      sinks/jsonl/           lines of JSON                                           sinks/jsonl/files.py
    web/                     the gateway                                             web/gateway.py
      web/queries/           what is read for an answer                              web/queries/store.py
      web/rest/, web/udf/    its endpoints                                           web/rest/candles.py
      web/live/              its WebSocket                                           web/live/channel.py
      web/http/, web/static/ what every endpoint needs, and the pages                web/http/guard.py

Beside it:

    topology/kafka/          the topics on the broker, and how far roles are         kafka/topics.py
    topology/angel/          the account at the broker; in master/ its instruments   angel/login.py
    topology/configuration/  what a log computes, changed while everything runs      configuration/apply.py
    topology/roles/          the Faust app of each role                              roles/base.py
    topology/notifiers/      one file for each way to reach people                   notifiers/notifications.py
    topology/simulator/      the broker, SIMULATED: what the feed is tested against  simulator/server.py
    topology/embedded/       Kafka and Valkey as child processes                     embedded/kafka.py
    topology/cli/            the commands, one file each                             cli/main.py

`topology/settings.py` reads the environment, `topology/clock.py` the time, `topology/json_logging.py` writes logs, and
`topology/faust_fixes.py` corrects Faust. `.importlinter` says which room may import which.

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
