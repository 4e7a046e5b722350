"""The laws that every channel obeys, against a real server. A new channel needs one more entry in MADE."""

from __future__ import annotations

import asyncio
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Callable
from random import Random

import pytest
from aiohttp import web

from tests.support.until import until
from topology.embedded import free_port
from topology.embedded.loopback import LOOPBACK
from topology.notifiers import CHANNELS, Kind, Notice, Notifications, Notifier, UndeliveredError, channels_of
from topology.notifiers.notifications import NOTIFICATIONS
from topology.notifiers.telegram import Telegram
from topology.notifiers.webhook import Webhook
from topology.settings import Settings, SettingsError

SECRET = "5eCr3t-5eCr3t"
BOT, CHAT = f"123456:{SECRET}", "-1009988776655"
SECRETS = (SECRET, CHAT, "9988776655")
MADE: dict[str, Callable[..., Notifier]] = {
    "telegram": lambda base, **rest: Telegram(BOT, CHAT, api_url=base, **rest),
    "webhook": lambda base, **rest: Webhook(f"{base}/hooks/{SECRET}/{CHAT}?key={SECRET}", **rest),
}
ENVIRONMENT = {
    "telegram": {"TELEGRAM_BOT_TOKEN": BOT, "TELEGRAM_CHAT_ID": CHAT},
    "webhook": {"NOTIFY_WEBHOOK_URL": f"https://example.org/hooks/{SECRET}"},
}
WRONG = [
    {"TELEGRAM_BOT_TOKEN": BOT},
    {"TELEGRAM_CHAT_ID": CHAT},
    {"TELEGRAM_BOT_TOKEN": f"{SECRET}/x", "TELEGRAM_CHAT_ID": CHAT},
    {"TELEGRAM_BOT_TOKEN": BOT, "TELEGRAM_CHAT_ID": f"{SECRET}!"},
]
NOTICE = Notice(
    Kind.FEED_STALE, "No data from the broker", "Silent for 30 s, 12 instruments.", 1_669_088_700_000, False
)

every_channel = pytest.mark.parametrize("name", sorted(CHANNELS))


class Server:
    """Takes everything; ``answer`` says how. What came is in ``bodies``."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.base = ""
        self.answer: Callable[[web.Request], web.Response] = lambda _: web.json_response({"ok": True})
        self.silent = False
        self._never = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.text())
        if self.silent:
            await self._never.wait()
        return self.answer(request)


def echo(status: int) -> Callable[[web.Request], web.Response]:
    """Answer with all that was asked, in body, reason and headers: none of it may be repeated."""
    return lambda request: web.json_response(
        {"ok": False, "description": str(request.url)},
        status=status,
        reason=request.path,
        headers={"Retry-After": "7", "Location": str(request.url)},
    )


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", found.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, LOOPBACK, port := free_port())
    await site.start()
    found.base = f"http://{LOOPBACK}:{port}"
    yield found
    await runner.cleanup()


def texts_of(error: BaseException) -> list[str]:
    """Everything that could be shown of an error, with those that it came from."""
    chain = [error, error.__cause__, error.__context__]
    shown = [text for found in chain if found is not None for text in (str(found), repr(found))]
    return [*shown, *traceback.format_exception(error)]


def assert_no_secret(*texts: str) -> None:
    for secret in SECRETS:
        assert not any(secret in text for text in texts)


async def refusal(channel: Notifier) -> UndeliveredError:
    with pytest.raises(UndeliveredError) as caught:
        await channel.send(NOTICE)
    assert_no_secret(*texts_of(caught.value))
    return caught.value


def test_every_channel_is_put_to_the_laws() -> None:
    assert sorted(CHANNELS) == sorted(MADE) == sorted(ENVIRONMENT)


@every_channel
async def test_a_notice_arrives_with_all_it_says(name: str, server: Server) -> None:
    await MADE[name](server.base).send(NOTICE)
    (body,) = server.bodies
    for said in (NOTICE.title, NOTICE.text, "2022-11-22 09:15:00 IST"):
        assert said in body
    assert "SIMULATED" not in body


@every_channel
async def test_simulated_is_said_in_every_message(name: str, server: Server) -> None:
    for kind in Kind:
        await MADE[name](server.base).send(Notice(kind, "x", "", 0, True))
    assert len(server.bodies) == len(Kind)
    assert all("SIMULATED" in body for body in server.bodies)


@every_channel
@pytest.mark.parametrize("text", ["ü₹😀\n\x00" * 3, "*_[`<b>&", "x" * 10_000])
async def test_any_text_is_taken(name: str, text: str, server: Server) -> None:
    await MADE[name](server.base).send(Notice(Kind.DAY_SUMMARY, "x", text, 0, False))
    assert len(server.bodies) == 1


@every_channel
@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 410, 418, 429, 500, 502, 599])
async def test_a_refusal_says_its_status_and_whether_another_try_may_work(
    name: str, status: int, server: Server
) -> None:
    server.answer = echo(status)
    problem = await refusal(MADE[name](server.base))
    assert f"HTTP {status}" in str(problem)
    assert problem.passing == (status == 429 or status >= 500)
    assert problem.wait_s == 7.0
    assert len(server.bodies) == 1  # a redirect is not followed


@every_channel
async def test_a_server_that_does_not_answer_is_given_up(name: str, server: Server) -> None:
    server.silent = True
    problem = await refusal(MADE[name](server.base, timeout_s=0.05))
    assert "no answer within 0.05 s" in str(problem)
    assert problem.passing


@every_channel
@pytest.mark.parametrize(
    ("base", "said"),
    [
        (f"http://{LOOPBACK}:{free_port()}", "no connection"),
        (f"http://{LOOPBACK}:99999/{SECRET}", "is no URL"),
        (f"http://[{SECRET}", "is no URL"),
        (f"gopher://{SECRET}", "no connection"),
    ],
    ids=["nobody there", "no port", "no address", "no HTTP"],
)
async def test_without_a_server_the_reason_is_told_and_the_address_is_not(name: str, base: str, said: str) -> None:
    assert said in str(await refusal(MADE[name](base)))


@every_channel
async def test_a_name_that_is_not_known_is_not_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, f"{SECRET} is not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert "name of the server is not known" in str(await refusal(MADE[name](f"http://{SECRET}.invalid")))


@every_channel
async def test_a_server_that_speaks_no_tls_or_closes_is_a_refusal(name: str, server: Server) -> None:
    problem = await refusal(MADE[name](server.base.replace("http:", "https:")))
    assert "TLS" in str(problem)

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"nonsense\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(close, LOOPBACK, port := free_port()):
        await refusal(MADE[name](f"http://{LOOPBACK}:{port}"))


@every_channel
async def test_no_secret_is_shown_or_logged(name: str, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    channel = MADE[name](server.base)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    await channel.send(NOTICE)
    server.answer = echo(404)
    notifications = Notifications([channel], loop.time, random=Random(1))
    running = asyncio.create_task(notifications.run())
    notifications.notify(NOTICE)
    await until(lambda: "does not deliver" in caplog.text)
    running.cancel()
    assert_no_secret(repr(channel), str(channel), repr(notifications), repr(running))
    assert_no_secret(
        *(f"{record.getMessage()} {vars(record)}" for record in caplog.records if record.name != "aiohttp.access")
    )
    samples = [sample for metric in NOTIFICATIONS.collect() for sample in metric.samples]
    assert_no_secret(*map(str, samples))


@every_channel
def test_a_channel_is_made_from_the_environment_alone(name: str) -> None:
    assert channels_of(Settings.from_env({})) == []
    settings = Settings.from_env(ENVIRONMENT[name])
    assert [channel.NAME for channel in channels_of(settings)] == [name]
    assert_no_secret(repr(settings), repr(channels_of(settings)))


def test_all_channels_can_be_set_together() -> None:
    env = {variable: value for setting in ENVIRONMENT.values() for variable, value in setting.items()}
    assert [channel.NAME for channel in channels_of(Settings.from_env(env))] == sorted(CHANNELS)


@pytest.mark.parametrize("env", WRONG)
def test_a_channel_that_is_set_wrong_is_one_line_that_names_the_variable_and_no_value(env: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"TELEGRAM_(BOT_TOKEN|CHAT_ID) is missing or wrong") as caught:
        channels_of(Settings.from_env(env))
    assert_no_secret(*texts_of(caught.value))
    assert len(str(caught.value).splitlines()) == 1
