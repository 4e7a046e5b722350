from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from topology.plugins import discover, modules_of

INTERFACE = "class Colour:\n    NAME: str\n"
RED = "from colours.colour import Colour\nclass Red(Colour):\n    NAME = 'red'\n"

Discovered = Callable[..., dict[str, str]]


@pytest.fixture
def discovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Discovered]:
    """Write a package with these modules, and give the modules of the plug-ins that are discovered in it."""

    def of(**modules: str) -> dict[str, str]:
        package = tmp_path / "colours"
        package.mkdir()
        for name, source in {"__init__": "", "colour": INTERFACE, **modules}.items():
            (package / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        names = modules_of("colours")
        interface = importlib.import_module("colours.colour").Colour
        return {name: plugin.__module__ for name, plugin in discover(interface, "NAME", names).items()}

    yield of
    for name in [name for name in sys.modules if name.partition(".")[0] == "colours"]:
        del sys.modules[name]


def test_plugins_are_found_by_their_key_in_the_order_of_their_modules(discovered: Discovered) -> None:
    blue = RED.replace("Red", "Blue").replace("red", "blue")
    assert list(discovered(red=RED, b=blue).items()) == [("blue", "colours.b"), ("red", "colours.red")]


def test_what_plugins_share_is_none(discovered: Discovered) -> None:
    shared = "class Mixed:\n    NAME = 'mixed'\n"
    derived = "from colours.shared import Mixed\nfrom colours.red import Red\n"
    assert discovered(red=RED, shared=shared, derived=derived) == {"red": "colours.red"}


@pytest.mark.parametrize(
    "other",
    [RED, RED.replace("    NAME = 'red'", "    pass"), RED + "class Blue(Colour):\n    NAME = 'blue'\n"],
    ids=["the key of another", "no key", "several"],
)
def test_a_module_with_a_plugin_that_cannot_be_told_apart_is_refused(discovered: Discovered, other: str) -> None:
    with pytest.raises(ImportError, match=r"must define one Colour, of a NAME that no other module has"):
        discovered(red=RED, scarlet=other)
