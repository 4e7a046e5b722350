"""Notifiers: the channels by which people are told that a login failed, a feed is stale, or how a day was.

Each module of `CHANNELS` (``webhook``, ``telegram``) holds one channel. A new one is one new file: it is found by its
``NAME`` and made from the settings. ``notice`` says what a notice and a channel are, ``notifications`` delivers.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import TypeGuard

from topology.notifiers.notice import Kind, Notice, Notifier, UndeliveredError
from topology.notifiers.notifications import Notifications
from topology.settings import Settings

__all__ = ["CHANNELS", "Kind", "Notice", "Notifications", "Notifier", "UndeliveredError", "channels_of"]

_OTHERS = ("notice", "notifications", "post", "notice_queue")


def channels_of(settings: Settings) -> list[Notifier]:
    """Make the channels that the environment sets. Raises SettingsError for one that is set wrong, naming no value."""
    made = [channel.from_settings(settings) for channel in CHANNELS.values()]
    return [channel for channel in made if channel is not None]


def _discover(names: Iterable[str]) -> dict[str, type[Notifier]]:
    """Import the modules and give their channels by name; a module without one, or with two, is an error."""
    channels: dict[str, type[Notifier]] = {}
    for name in names:
        module = importlib.import_module(f"{__name__}.{name}")
        found = [value for value in vars(module).values() if _is_channel(value) and value.__module__ == module.__name__]
        if len(found) != 1 or found[0].NAME in channels:
            raise ImportError(f"{module.__name__} must define one channel, of a NAME that no other module has")
        channels[found[0].NAME] = found[0]
    return channels


def _is_channel(value: object) -> TypeGuard[type[Notifier]]:
    return isinstance(value, type) and hasattr(value, "NAME")


CHANNELS = _discover(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _OTHERS)
"""Every channel there is, by its name, in alphabetical order."""
