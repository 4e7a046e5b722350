"""Plug-ins: classes that implement one interface, each in a module of its own, found by being there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import TypeVar

Plugin = TypeVar("Plugin")


def discover(interface: type[Plugin], key: str, module_names: Iterable[str]) -> dict[str, type[Plugin]]:
    """Import the modules and give the classes that derive from ``interface``, by their attribute ``key``, a str.

    A module that defines none has what plug-ins share, and is passed over. Raises ImportError for one that defines
    several, and for a class without a key of its own or with that of another.
    """
    plugins: dict[str, type[Plugin]] = {}
    for module_name in module_names:
        members = vars(importlib.import_module(module_name)).values()
        own = [one for one in members if isinstance(one, type) and one.__module__ == module_name]
        found = [one for one in own if interface in one.__mro__[1:]]
        if not found:
            continue
        name = vars(found[0]).get(key)
        if len(found) > 1 or name is None or name in plugins:
            what = f"one {interface.__name__}, of a {key} that no other module has"
            raise ImportError(f"{module_name} must define {what}")
        plugins[name] = found[0]
    return plugins


def modules_of(package_name: str) -> list[str]:
    """Give the full names of the modules in a package, in alphabetical order."""
    package = importlib.import_module(package_name)
    return [f"{package_name}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
