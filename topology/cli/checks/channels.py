"""The channels by which people are told: whether there are any, and on request whether a message comes through."""

from __future__ import annotations

import asyncio

from topology.cli.checks import Finding, bad, ok, warn
from topology.notifiers import Kind, Notice, Notifier, UndeliveredError, channels_of
from topology.settings import SIM, Settings, SettingsError

NOTIFIERS = "notifiers"


def notifiers(settings: Settings, *, notify: bool, now_ms: int) -> list[Finding]:
    """Which channels are set. With ``notify``, send a test message through each and say what came back."""
    try:
        channels = channels_of(settings)
    except SettingsError as error:
        found, _, advice = str(error).partition(": ")
        return [bad(NOTIFIERS, found, advice)]
    if not channels:
        advice = "set NOTIFY_WEBHOOK_URL, or TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID"
        return [warn(NOTIFIERS, "none is set: nobody is told when a login fails or the feed is silent", advice)]
    if not notify:
        names = " and ".join(channel.NAME for channel in channels)
        return [ok(NOTIFIERS, f"{names} set; `topology doctor --notify` sends a test message")]
    text = "This is a test message of `topology doctor`: notices come through."
    notice = Notice(Kind.TEST, "Test", text, now_ms, settings.namespace == SIM)
    return asyncio.run(_send(channels, notice))


async def _send(channels: list[Notifier], notice: Notice) -> list[Finding]:
    return await asyncio.gather(*(_try(channel, notice) for channel in channels))


async def _try(channel: Notifier, notice: Notice) -> Finding:
    try:
        await channel.send(notice)
    except UndeliveredError as error:
        return bad(NOTIFIERS, f"{channel.NAME} did not deliver a test message", str(error))
    return ok(NOTIFIERS, f"{channel.NAME} delivered a test message")
