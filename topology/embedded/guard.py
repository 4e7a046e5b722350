"""Runs a command and ends it when the pipe on stdin closes, which the death of the parent does too.

Started as a script, with the standard library alone. Linux could have the kernel do this (``PR_SET_PDEATHSIG``), but
that signal comes with the death of the *thread* that started the child, and macOS doesn't have it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

GRACE_S = 20.0
"""How long the command may take to end in order before it is killed."""


def _end_with_the_pipe(child: subprocess.Popen[bytes]) -> None:
    os.read(sys.stdin.fileno(), 1)
    child.terminate()
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()


def _main(command: list[str]) -> int:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    threading.Thread(target=_end_with_the_pipe, args=[child], daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
