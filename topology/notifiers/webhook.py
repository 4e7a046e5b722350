"""A webhook: notices as JSON that Slack, Mattermost and Discord (at its address with ``/slack``) show as text."""

from __future__ import annotations

from typing import Self

from topology.notifiers.notice import TIMEOUT_S, Notice, Notifier
from topology.notifiers.post import post
from topology.settings import Settings

ADVICE = dict.fromkeys((401, 403, 404, 410), "check NOTIFY_WEBHOOK_URL: the webhook may have been removed")


class Webhook(Notifier):
    """Posts ``{"text", "kind", "title", "at_ms", "simulated"}`` to ``url``, which is a secret; ``text`` says it all."""

    NAME = "webhook"

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url, self._timeout_s = url, timeout_s

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Make it from ``NOTIFY_WEBHOOK_URL``, if that is set."""
        return cls(settings.notify_webhook_url) if settings.notify_webhook_url else None

    async def send(self, notice: Notice) -> None:
        """Deliver a notice. Raises UndeliveredError."""
        body = {
            "text": notice.message,
            "kind": notice.kind.value,
            "title": notice.title,
            "at_ms": notice.at_ms,
            "simulated": notice.simulated,
        }
        answer = await post(self._url, body, timeout_s=self._timeout_s)
        if problem := answer.undelivered(ADVICE):
            raise problem
