"""What a process takes and tells: variables, commands, exit codes, metrics, log lines, notices."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import REGISTRY

from tests.wire import kept
from tests.wire.inside import (
    FAILED,
    INTERRUPTED,
    PACKAGES,
    PIPE_CLOSED,
    REFUSED,
    RESTART,
    STRICT,
    Diagnosis,
    FeedEventKind,
    JsonLines,
    Kind,
    Notice,
    Outcome,
    Settings,
    SettingsError,
    Telegram,
    Webhook,
    command_line,
)
from tests.wire.written import LISTS, check, shape

ACTIONS = (("topics", "create"), ("gateway", "token"), *(("instruments", one) for one in ("update", "search", "show")))
COMMANDS = ["up", "run", "status", "tail", "topics", "configure", "simulate", "gateway", "doctor", "warmup"]
COMMANDS += ["calendar", "instruments", "prune"]


class Watched(Mapping[str, str]):
    """An environment that knows what it was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


VARIABLES = json.loads((LISTS / "variables.json").read_text())


def test_settings_look_at_the_variables_that_are_written_and_no_others() -> None:
    env = Watched()
    Settings.from_env(env)
    assert sorted(env.asked) == sorted(VARIABLES)


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_a_variable_has_the_default_and_bounds_that_are_written(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # files are named as from here
    (tmp_path / "a-file").write_text("{}")
    (tmp_path / "java").mkdir()
    (tmp_path / "java/release").write_text('JAVA_VERSION="17.0.1"\n')
    told = VARIABLES[name]
    plain = Settings.from_env({})
    assert Settings.from_env({name: told["default"]}) == plain
    for other in told["others"]:
        assert Settings.from_env({name: other}) != plain, other
    for wrong in told.get("refused", ()):
        with pytest.raises(SettingsError, match=f"^{name}"):
            Settings.from_env({name: wrong})


def test_commands_have_the_usage_that_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    found = {}
    for words in ((), *((name,) for name in COMMANDS), *ACTIONS):
        with pytest.raises(SystemExit) as left:
            command_line([*words, "--help"])
        assert left.value.code == 0
        usage = capsys.readouterr().out.partition("\n\n")[0]
        found[" ".join(["topology", *words])] = " ".join(usage.split())
    check("commands", found)


def test_exit_codes_are_those_that_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = {
        "an error that is explained": FAILED, "Ctrl-C": INTERRUPTED, "nobody reads": PIPE_CLOSED,
        "run --strict": STRICT, "a role that is to be started again": RESTART, "a role that is refused": REFUSED,
    }  # fmt: skip
    for words in ([], ["nothing"], ["run"], ["tail", "nothing"], ["topics", "nothing"], ["calendar", "--date", "x"]):
        with pytest.raises(SystemExit) as left:
            command_line(words)
        choices = capsys.readouterr().err.partition("choose from ")[2].partition(")")[0].replace("'", "")
        found[" ".join(["topology", *words])] = {"exit": left.value.code, **({"choices": choices} if choices else {})}
    for day in ("1990-01-01", "2022-11-22"):
        found[f"topology calendar --date {day}"] = {"exit": command_line(["calendar", "--date", day])}
    check("exits", found)


def test_what_commands_print_as_json_has_the_fields_that_are_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATA_DIR", str(kept.unpack(tmp_path)))
    assert command_line(["instruments", "search", "tcs", "--json"]) == 0
    found: dict[str, Any] = {"instruments search": shape(json.loads(capsys.readouterr().out))}
    for name, kind in {"run": Outcome, "doctor": Diagnosis}.items():
        _, components = msgspec.json.schema_components([kind], ref_template="{name}")
        found[name] = sorted(sorted(of.get("properties", of.get("enum"))) for of in components.values())
    check("printed", found)


def test_metrics_have_the_names_types_and_labels_that_are_written() -> None:
    found = {}
    collectors: dict[int, Any] = {id(one): one for one in REGISTRY._names_to_collectors.values()}
    for one in collectors.values():
        for family in one.collect() if hasattr(one, "_labelnames") else ():
            total = "_total" if family.type == "counter" else ""
            buckets = [f"{bound:g}" for bound in getattr(one, "_upper_bounds", ())]
            found[family.name + total] = " ".join([family.type, *one._labelnames, *buckets])
    check("metrics", {name: of for name, of in sorted(found.items()) if not name.startswith("python_")})


def test_a_log_line_has_the_fields_that_are_written() -> None:
    record = logging.makeLogRecord({"name": "topology", "levelname": "INFO", "msg": "said", "partition": 3})
    record.exc_info = (ValueError, ValueError("no"), None)
    line = json.loads(JsonLines("pipeline").format(record))
    added = {name for tree in _sources() for name in _extras(tree)}
    check("log", {"line": shape(line), "added by messages": sorted(added)})


def _sources() -> Iterator[ast.AST]:
    for package in PACKAGES:
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            yield ast.parse(path.read_text(encoding="utf-8"))


def _extras(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "extra" and isinstance(node.value, ast.Dict):
            yield from (str(key.value) for key in node.value.keys if isinstance(key, ast.Constant))


def test_words_that_others_look_for_are_still_said() -> None:
    nodes = [node for tree in _sources() for node in ast.walk(tree)]
    written = {node.value for node in nodes if isinstance(node, ast.Constant)}
    given = [one for node in nodes if isinstance(node, ast.Call) for one in node.args[:2]]
    recorded = {FeedEventKind[one.attr].value for one in given if ast.unparse(one).startswith("FeedEventKind.")}  # type: ignore[attr-defined]
    for kind, words in json.loads((LISTS / "words.json").read_text()).items():
        # An event is recorded by a call; who only compares with its name goes on doing so when it is called otherwise.
        said = recorded if kind == "kinds of feed_events" else written
        assert [word for word in words if word not in said] == [], kind


async def test_notices_are_what_is_written() -> None:
    taken: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        taken.append({"path": request.path, "type": request.content_type, "body": await request.json()})
        return web.json_response({"ok": True})

    application = web.Application()
    application.router.add_post("/{rest:.*}", take)
    notice = Notice(Kind.FEED_STALE, "The feed is stale", "for 30 s", 1_669_088_700_000, True)
    async with TestServer(application) as server:
        await Webhook(str(server.make_url("/hook"))).send(notice)
        url = str(server.make_url("/")).rstrip("/")
        await Telegram("123:abc", "-42", api_url=url).send(notice)
    check("notices", {"kinds": sorted(kind.value for kind in Kind), "webhook": taken[0], "Telegram": taken[1]})
