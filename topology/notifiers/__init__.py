"""Notifiers: the channels by which people are told that a login failed, a feed is stale, or how a day was.

Each module that defines a `Notifier` (``webhook``, ``telegram``) defines one channel. A new one is one new file: it is
found by its ``NAME`` and made from the settings. ``notice`` says what a notice and a channel are, ``notifications``
delivers.
"""

from __future__ import annotations

from topology.notifiers.notice import Kind, Notice, Notifier, UndeliveredError
from topology.notifiers.notifications import Notifications
from topology.plugins import discover, modules_of
from topology.settings import Settings

__all__ = ["CHANNELS", "Kind", "Notice", "Notifications", "Notifier", "UndeliveredError", "channels_of"]


def channels_of(settings: Settings) -> list[Notifier]:
    """Make the channels that the environment sets. Raises SettingsError for one that is set wrong, naming no value."""
    made = [channel.from_settings(settings) for channel in CHANNELS.values()]
    return [channel for channel in made if channel is not None]


CHANNELS = discover(Notifier, "NAME", modules_of(__name__))  # type: ignore[type-abstract]  # looked for, not made
"""Every channel there is, by its name, in alphabetical order."""
