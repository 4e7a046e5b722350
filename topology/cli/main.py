"""The command `topology`: finds the command that is meant, runs it, and says what went wrong in one line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from topology.settings import SIM, SettingsError, load

COMMANDS = {
    "up": "run everything on this machine",
    "run": "turn recorded days into candles and indicators, in one shot",
    "status": "show how far each role is, and how far behind",
    "tail": "print the frames of a topic as JSON lines",
    "topics": "make the topics of a log",
    "configure": "apply the environment's timeframes, indicators and calendar to the log",
    "simulate": "play the broker, SIMULATED: login, REST, instruments and the market data socket",
    "gateway": "show or rotate the token of the gateways",
    "doctor": "check what a first live morning trips over",
    "warmup": "bring the broker's candles of the past into the log, so that indicators are ready",
    "calendar": "show when the market is open on a day",
    "instruments": "fetch the broker's instruments, and find them by symbol, name or token",
    "prune": "remove what is older than LOG_KEEP_DAYS from the log",
}
"""What there is, each a module of this name beside this one: ``add(subparsers)``, ``run(arguments, settings)``."""

EXAMPLE = """example:
  topology up                        everything on this machine, with a demonstration feed
  topology run 2022-11-22.csv --instrument NSE:99926000
  topology status

Settings are environment variables, also read from the file .env of the current folder."""

HELP_WIDTH = 100
FAILED, INTERRUPTED, PIPE_CLOSED = 1, 130, 141

# Errors whose message says what to do. They are looked up where their module is loaded: to import all of them here
# would make every command wait for what it doesn't use.
_EXPLAINED = (
    ("topology.kafka.errors", "LogError"),
    ("topology.log.frames", "FrameError"),
    ("topology.angel.master", "MasterError"),
    ("topology.feeds", "FeedError"),
    ("topology.feeds.writer", "StaleSourceError"),
    ("topology.market.calendar", "CalendarError"),
    ("topology.market.instruments", "InstrumentError"),
    ("topology.sinks.cursor", "SinkError"),
    ("topology.embedded.child", "EmbeddedError"),
    ("topology.simulator.faults", "FaultError"),
    ("topology.cli.supervisor", "RoleError"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, by default that of this process, and return its exit code.

    0 is done, 1 an error that one line on stderr explains, 130 Ctrl-C; wrong usage leaves with 2 as argparse does.
    """
    # What a client of the broker logs while it fails comes as an exception too, and in one line.
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        code = _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return PIPE_CLOSED
    except Exception as error:
        if (line := _explanation(error)) is None:
            raise  # a defect: its traceback is what is needed
        print(f"topology: {line}", file=sys.stderr)
        return FAILED
    return code


class _Parser(argparse.ArgumentParser):
    """Wraps the description, and leaves the lines of the example after it as they are."""

    def __init__(self, *, description: str = "", **rest: Any) -> None:
        rest["formatter_class"] = argparse.RawDescriptionHelpFormatter
        super().__init__(description=textwrap.fill(description, HELP_WIDTH), **rest)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without the usage above it."""
        self.exit(2, f"{self.prog}: {message} (see `{self.prog} --help`)\n")


def _run(argv: list[str]) -> int:
    parser = _Parser(
        prog="topology",
        description="Real-time market data and indicators for Indian markets.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--sim", action="store_true", help="the simulated namespace (TOPOLOGY_NAMESPACE=sim)")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    command = next((word for word in argv if not word.startswith("-")), "")
    for name, summary in COMMANDS.items():
        if name == command:
            module = import_module(f"topology.cli.{name}")
            module.add(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    arguments = parser.parse_args(argv)
    settings = load(TOPOLOGY_NAMESPACE=SIM) if arguments.sim else load()
    code: int = module.run(arguments, settings)
    return code


def _explanation(error: Exception) -> str | None:
    """Say in one line what went wrong and what to do; None for what nobody has foreseen."""
    if isinstance(error, (SettingsError, *_loaded(_EXPLAINED))):
        return " ".join(str(error).split())
    if isinstance(error, _loaded([("aiokafka.errors", "KafkaError")])):
        return f"the broker does not do what was asked ({error}): look at its log, and try again when it is well"
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
        return f"{error.filename}: {reason}" if error.filename else reason
    return None


def _loaded(names: Sequence[tuple[str, str]]) -> tuple[type[Exception], ...]:
    return tuple(getattr(sys.modules[module], name) for module, name in names if module in sys.modules)


if __name__ == "__main__":
    sys.exit(main())
