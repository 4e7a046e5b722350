"""Structured logs: one line a message on stderr, with role, worker and whatever a message adds (partition, position)."""

from __future__ import annotations

import logging
import os
import sys

import msgspec

from topology.settings import Settings

_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOISY = ("aiokafka", "kafka", "faust", "mode", "rocksdict")


class JsonLines(logging.Formatter):
    """Writes a record as a JSON object: time, level, message, role, worker, and the record's own extra fields."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._always = {"role": role, "worker": os.getpid()}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname,
            "message": record.getMessage(),
            **self._always,
            "logger": record.name,
            **{name: value for name, value in vars(record).items() if name not in _PLAIN},
        }
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(fields, enc_hook=str).decode()


def configure_logging(settings: Settings) -> None:
    """Log to stderr. Faust and the Kafka client say only what goes wrong, since their INFO is not for users."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(settings.role))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.DEBUG if settings.log_level == "DEBUG" else logging.WARNING)
