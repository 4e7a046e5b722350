"""Structured logs: a JSON object a line on stderr, with role, worker and what a message adds (partition, position)."""

from __future__ import annotations

import logging
import os
from typing import Any

import msgspec

from topology.settings import Settings

_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "data", "stack"}
_OURS = ("topology", "agents", "tables", "web")
_FOREIGN = ("aiokafka", "kafka", "faust", "mode", "aiohttp", "asyncio", "rocksdict")


class JsonLines(logging.Formatter):
    """Writes a record as a JSON object: time, level, message, role, worker, and the record's own extra fields."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._always = {"role": role, "worker": os.getpid()}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}",
            "level": record.levelname,
            "message": record.getMessage(),
            **self._always,
            "logger": record.name,
            **{name: value for name, value in vars(record).items() if name not in _PLAIN},
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(fields, enc_hook=str).decode()


def logging_config(settings: Settings) -> dict[str, Any]:
    """Return the configuration for the standard library: Faust and the Kafka client say only what goes wrong."""
    foreign = "DEBUG" if settings.log_level == "DEBUG" else "WARNING"
    # With handlers of their own, since Faust raises the level of the first handler of the root logger.
    ours = {"level": settings.log_level, "handlers": ["ours"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": JsonLines, "role": settings.role}},
        "handlers": {name: {"class": "logging.StreamHandler", "formatter": "lines"} for name in ("stderr", "ours")},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {name: {"level": foreign} for name in _FOREIGN} | dict.fromkeys(_OURS, ours),
    }
