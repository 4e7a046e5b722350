"""`topology gateway token`: the token that the gateways ask for."""

from __future__ import annotations

import argparse
from typing import Any

from topology.settings import Settings
from web.http.token import rotate, token

EXAMPLE = """example:
  curl -H "Authorization: Bearer $(topology gateway token)" -d '[{"TF":60,"Indicators":[]}]' localhost:8080/reload"""


def add(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser("gateway", description="Looks after the gateways.", epilog=EXAMPLE)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    action = actions.add_parser(
        "token",
        help="show or rotate the token",
        description="Shows the token that the gateways of this data folder ask for before they change anything, and "
        "before they answer anything where they are bound to another address than loopback. Pages ask for it once.",
        epilog=EXAMPLE,
    )
    action.add_argument("--rotate", action="store_true", help="make a new one: the old one opens nothing any more")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command; return its exit code."""
    print(rotate(settings.token_path) if arguments.rotate else token(settings.token_path))
    return 0
