"""The lines of a recorded file, plain or gzip, in blocks that can be found again by their offset."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from topology.feeds import FeedError
from topology.feeds.recorded.rows import LONGEST_LINE


class LineStart(NamedTuple):
    """The start of a line: its offset in the unpacked file, and how many lines stand before it."""

    offset: int
    line: int


class LineFile:
    """A file open for reading. Every error of the file or its packing is a `FeedError` with the file and line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._line = 0
        try:
            self._bytes = _open(path)
        except OSError as error:
            raise FeedError(f"{path} cannot be opened: {error.strerror}") from None

    def __enter__(self) -> LineFile:
        """Return the open file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        self._bytes.close()

    @property
    def place(self) -> LineStart:
        """Where the next line starts."""
        return LineStart(self._bytes.tell(), self._line)

    def read(self, place: LineStart, count: int) -> list[bytes]:
        """Up to ``count`` lines from ``place`` on, each with its line break; fewer only at the end of the file.

        A line longer than `LONGEST_LINE` is cut to one byte more than that.
        """
        self._line = place.line
        lines: list[bytes] = []
        try:
            self._bytes.seek(place.offset)
            readline = self._bytes.readline
            while len(lines) < count and (line := readline(LONGEST_LINE + 1)):
                lines.append(line)
                if len(line) > LONGEST_LINE:
                    self._finish(line)
        except (EOFError, OSError, zlib.error) as error:
            raise FeedError(f"{self.path}, line {place.line + len(lines) + 1} cannot be read: {error}") from None
        self._line += len(lines)
        return lines

    def _finish(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._bytes.readline(LONGEST_LINE)


def _open(path: Path) -> BinaryIO:
    if path.is_dir():
        raise FeedError(f"{path} is a folder: name the files in it")
    if not path.name.lower().endswith((".csv", ".csv.gz")):
        raise FeedError(f"{path} is not a .csv or .csv.gz file")
    if path.exists() and not path.is_file():
        raise FeedError(f"{path} is not a regular file, and files are read twice")
    if path.suffix.lower() == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"), 1 << 16)
    return path.open("rb")
