"""Telegram: notices from a bot to a chat (``sendMessage`` of https://core.telegram.org/bots/api)."""

from __future__ import annotations

import re
from typing import Self

from topology.notifiers.notice import TIMEOUT_S, Notice, Notifier
from topology.notifiers.post import post
from topology.settings import Settings, SettingsError

API_URL = "https://api.telegram.org"
LONGEST_TEXT = 4_096
TOKEN = re.compile(r"[0-9]+:[\w-]+", re.ASCII)
CHAT = re.compile(r"-?[0-9]+|@\w+", re.ASCII)
_UNKNOWN_BOT = "Telegram doesn't know this bot: check TELEGRAM_BOT_TOKEN"
ADVICE = {
    400: "Telegram doesn't know this chat: check TELEGRAM_CHAT_ID, and write to the bot first",
    401: _UNKNOWN_BOT,
    403: "the bot may not write to this chat: write to it first, or make it a member",
    404: _UNKNOWN_BOT,
}


class Telegram(Notifier):
    """Sends to the chat ``chat_id`` as the bot of ``token``; both are secrets. ``api_url`` is another one for tests."""

    NAME = "telegram"

    def __init__(self, token: str, chat_id: str, *, api_url: str = API_URL, timeout_s: float = TIMEOUT_S) -> None:
        self._url, self._chat_id, self._timeout_s = f"{api_url}/bot{token}/sendMessage", chat_id, timeout_s

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Make it from ``TELEGRAM_BOT_TOKEN`` and ``TELEGRAM_CHAT_ID``. Raises SettingsError where only one is good."""
        token, chat_id = settings.telegram_bot_token, settings.telegram_chat_id
        if not token and not chat_id:
            return None
        # The values are not shown: they are secrets.
        if not TOKEN.fullmatch(token):
            raise SettingsError(
                "TELEGRAM_BOT_TOKEN is missing or wrong: it must look like 123456:ABC-DEF, see @BotFather"
            )
        if not CHAT.fullmatch(chat_id):
            raise SettingsError("TELEGRAM_CHAT_ID is missing or wrong: it must be the number of a chat, or @channel")
        return cls(token, chat_id)

    async def send(self, notice: Notice) -> None:
        """Deliver a notice, cut to what Telegram takes. Raises UndeliveredError."""
        body = {"chat_id": self._chat_id, "text": notice.message[:LONGEST_TEXT]}
        answer = await post(self._url, body, timeout_s=self._timeout_s)
        if problem := answer.undelivered(ADVICE):
            raise problem
