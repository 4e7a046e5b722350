"""The commands of `topology`, each a module: ``add(subparsers)`` describes it, ``run(arguments, settings)`` runs it."""

from __future__ import annotations

import argparse


def at_least_one(text: str) -> int:
    """Read an argument that is a whole number from 1 on."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is wrong: a whole number from 1 on")
    return int(text)
