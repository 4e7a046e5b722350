"""The commands of `topology`, each a module: ``add(subparsers)`` describes it, ``run(arguments, settings)`` runs it."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence


def at_least_one(text: str) -> int:
    """Read an argument that is a whole number from 1 on."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is wrong: a whole number from 1 on")
    return int(text)


def aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Return the rows of a table as lines of text, two spaces between columns; those in ``right`` end at their right.

    >>> aligned([["late", "7"], ["ticks accepted", "1,200"]], right={1})
    ['late                7', 'ticks accepted  1,200']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
