"""The app of each role, as the settings describe it."""

from __future__ import annotations

import fcntl
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.metrics import Progress
from agents.process_guard import REFUSED, RESTART
from tests.support.until import until
from topology.configuration.environment import from_settings
from topology.embedded import free_port
from topology.roles import ROLES, background, base, build
from topology.roles.base import RoleApp, health_of
from topology.settings import ROLES as NAMED
from topology.settings import Settings

ROOT = Path(__file__).parents[2]
LINE = Progress("candles", 0, 5, 1, 1000, still=False)


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., RoleApp]:
    """Build the app of a role in a folder of its own."""

    def build_one(role: str, **env: str) -> RoleApp:
        return build(Settings.from_env({"TOPOLOGY_ROLE": role, "DATA_DIR": str(tmp_path), **env}))

    return build_one


def test_every_role_that_can_be_named_is_there() -> None:
    assert set(ROLES) == set(NAMED)


@pytest.mark.parametrize("namespace", ["live", "sim"])
@pytest.mark.parametrize("role", NAMED)
def test_each_role_has_an_id_and_a_folder_of_its_own(
    built: Callable[..., RoleApp], tmp_path: Path, role: str, namespace: str
) -> None:
    app = built(role, TOPOLOGY_NAMESPACE=namespace)
    assert app.conf.id == f"{namespace}.{role}"
    assert Path(app.conf.datadir) == tmp_path / namespace / f"{role}-0"


@pytest.mark.parametrize("role", NAMED)
def test_what_must_hold_of_faust_holds_for_each_role(built: Callable[..., RoleApp], role: str) -> None:
    conf = built(role, SESSION_TIMEOUT_S="12").conf
    assert conf.stream_wait_empty is False
    assert conf.consumer_auto_offset_reset == "earliest"
    assert conf.broker_session_timeout == 12
    assert conf.consumer_max_fetch_size == conf.producer_max_request_size == 16 * 1024 * 1024
    assert conf.web_bind == "127.0.0.1"


def test_three_stages_each_with_a_topic_before_and_behind_it(built: Callable[..., RoleApp]) -> None:
    agents = built("pipeline").agents
    assert set(agents) == {"candles", "timeframes", "indicators"}


def test_a_calendar_file_that_is_broken_stops_no_role_since_the_configuration_of_the_log_stands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = SimpleNamespace(configuration=from_settings(Settings.from_env({})))
    for text in ("{}", "{"):
        (tmp_path / "calendar.json").write_text(text)
        settings = Settings.from_env({"CALENDAR_FILE": str(tmp_path / "calendar.json"), "DATA_DIR": str(tmp_path)})
        base._warn_of_differences(log, settings)  # type: ignore[arg-type] # all that it needs
    assert caplog.text.count("can't be compared with the log, which stands") == 2


def test_a_second_worker_in_the_same_folder_takes_another_one(built: Callable[..., RoleApp], tmp_path: Path) -> None:
    folders = [Path(built("pipeline").conf.datadir).name for _ in range(3)]
    assert folders == ["pipeline-0", "pipeline-1", "pipeline-2"]


def test_the_folder_of_a_worker_that_has_died_is_used_again(tmp_path: Path) -> None:
    script = f"""
from topology.roles import build
from topology.settings import Settings
print(build(Settings.from_env({{"DATA_DIR": {str(tmp_path)!r}}})).conf.datadir)
"""
    ran = [subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True) for _ in range(2)]  # noqa: PLW1510
    assert [Path(done.stdout.strip()).name for done in ran] == ["pipeline-0", "pipeline-0"]


def test_a_named_folder_is_used_as_it_is(built: Callable[..., RoleApp], tmp_path: Path) -> None:
    assert Path(built("pipeline", FAUST_DATADIR=str(tmp_path / "mine")).conf.datadir) == tmp_path / "mine"


def test_the_first_worker_has_the_port_that_is_asked_for_and_others_a_free_one(built: Callable[..., RoleApp]) -> None:
    port = free_port()
    assert built("pipeline", METRICS_ADDR=f":{port}").conf.web_port == port
    with socket.create_server(("127.0.0.1", port)):
        assert built("pipeline", METRICS_ADDR=f":{port}").conf.web_port not in (port, 0)
    assert built("archive", METRICS_ADDR=f":{port}").conf.web_port != port
    assert built("gateway", DASHBOARD_ADDR=f":{port}").conf.web_port == port


def test_a_folder_with_the_state_of_another_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[tuple[str, int]] = []
    monkeypatch.setattr(base, "end_process", lambda reason, *, code=RESTART: ended.append((reason, code)))
    base._claim(tmp_path / "pipeline-0", "first")
    base._claim(tmp_path / "pipeline-0", "first")
    assert ended == []
    base._claim(tmp_path / "pipeline-0", "second")
    ((reason, code),) = ended
    assert code == REFUSED
    assert "holds the state of log first, but the topics hold log second: delete it" in reason


@pytest.mark.parametrize(
    ("rebalancing", "log", "readers", "state"),
    [
        (False, "log", [LINE], "running"),
        (True, "log", [LINE], "recovering"),
        (False, "", [], "recovering"),
        (False, "log", [LINE, Progress("candles", 1, 5, 1, 1000, still=True)], "standing still"),
    ],
)
def test_a_role_is_well_when_it_reads_and_does_not_stand_still(
    rebalancing: bool, log: str, readers: list[Progress], state: str
) -> None:
    app = SimpleNamespace(rebalancing=rebalancing, settings=SimpleNamespace(role="pipeline"))
    found = health_of(app, log, readers)  # type: ignore[arg-type]
    assert found.state == state
    assert found.well == (state == "running")


async def test_a_task_beside_the_agents_that_fails_ends_the_role(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(background, "end_process", ended.append)

    async def fails() -> None:
        raise OSError("the disk is full")

    tasks = background.BackgroundTasks(Settings.from_env({}))
    tasks.start([fails()])
    await until(lambda: ended)
    tasks.stop()
    assert ended == ["the disk is full"]


def test_a_lock_goes_with_the_process_that_holds_it(built: Callable[..., RoleApp], tmp_path: Path) -> None:
    folder = Path(built("pipeline").conf.datadir)
    with (folder / "lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
