from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Self

import pytest

from tests.cli.checks.conftest import Serve
from topology.cli.checks import Severity
from topology.cli.checks.channels import notifiers
from topology.embedded.loopback import LOOPBACK, free_port
from topology.notifiers import CHANNELS
from topology.notifiers.telegram import Telegram
from topology.settings import SIM, Settings

TOKEN, CHAT, SECRET = "123456:5eCr3t-5eCr3t", "-10099887766", "5eCr3t-5eCr3t"


@pytest.fixture
def hooked(settings: Settings) -> Callable[[int], Settings]:
    return lambda port: replace(settings, notify_webhook_url=f"http://{LOOPBACK}:{port}/{SECRET}")


def test_no_channel_is_a_warning_that_names_the_variables(settings: Settings) -> None:
    for notify in (False, True):
        (finding,) = notifiers(settings, notify=notify, now_ms=0)
        assert finding.level is Severity.WARN
        assert "NOTIFY_WEBHOOK_URL" in finding.advice
        assert "TELEGRAM_CHAT_ID" in finding.advice


def test_half_a_channel_is_bad_and_not_shown(settings: Settings) -> None:
    (finding,) = notifiers(replace(settings, telegram_bot_token=TOKEN), notify=False, now_ms=0)
    assert finding.level is Severity.BAD
    assert "TELEGRAM_CHAT_ID" in finding.found
    assert SECRET not in str(finding)


def test_a_channel_is_not_used_unless_asked(hooked: Callable[[int], Settings]) -> None:
    (finding,) = notifiers(hooked(free_port()), notify=False, now_ms=0)
    assert finding.level is Severity.OK
    assert "webhook set" in finding.found


def test_a_message_that_does_not_come_through_is_bad_and_the_others_are_told(
    hooked: Callable[[int], Settings], serve: Serve, taken: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nowhere(Telegram):
        @classmethod
        def from_settings(cls, settings: Settings) -> Self | None:
            return cls(TOKEN, CHAT, api_url=f"http://{LOOPBACK}:{free_port()}")

    monkeypatch.setitem(CHANNELS, "telegram", Nowhere)
    settings = replace(hooked(serve()), namespace=SIM)
    refused, delivered = notifiers(settings, notify=True, now_ms=0)
    assert (refused.level, delivered.level) == (Severity.BAD, Severity.OK)
    assert "telegram" in refused.found
    assert "no connection" in refused.advice
    assert "webhook delivered" in delivered.found
    (body,) = taken
    assert b"SIMULATED" in body
    assert b"topology doctor" in body
    assert SECRET not in f"{refused} {delivered}"
