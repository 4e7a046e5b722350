from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError, KafkaTimeoutError

from topology.cli import main as command_line
from topology.cli import topics as topics_command
from topology.cli.main import COMMANDS, main
from topology.embedded.loopback import LOOPBACK, free_port
from topology.kafka.errors import LogError

ROOT = Path(__file__).parents[2]
CALL = [sys.executable, "-c", "import sys; from topology.cli.main import main; sys.exit(main())"]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("BROKER_URL", "TOPOLOGY_NAMESPACE", "CALENDAR_FILE", "LOG_KEEP_DAYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes `topology topics create` raise."""

    def fail_with(error: BaseException) -> None:
        def run(*_: object) -> int:
            raise error

        monkeypatch.setattr(topics_command, "run", run)

    return fail_with


def modules_after(*argv: str) -> set[str]:
    code = f"import sys\nfrom topology.cli.main import main\ntry: main({list(argv)})\nexcept SystemExit: pass\n"
    printed = "print('loaded', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code + printed], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("argv", [["--help"], ["calendar", "--date", "2022-11-08"]])
def test_what_needs_no_broker_does_not_load_its_clients(argv: list[str]) -> None:
    assert not modules_after(*argv) & {"faust", "aiokafka", "redis", "rich", "rocksdict"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_spec(f"topology.cli.{name}") is not None
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    assert f"topology {name}" in capsys.readouterr().out.partition("example")[2]


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nope"],
        ["--nope"],
        ["topics"],
        ["tail"],
        ["tail", "nope"],
        ["tail", "ticks", "--count", "-1"],
        ["tail", "ticks", "--instrument", "TATA"],
        ["tail", "commands", "--instrument", "NSE:2885"],
        ["calendar", "--date", "soon"],
        ["prune", "--days", "0"],
    ],
)
def test_wrong_usage_is_one_line_and_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("topology")


def test_a_wrong_setting_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOG_KEEP_DAYS", "many")
    assert main(["prune"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "LOG_KEEP_DAYS='many'" in line


@pytest.mark.parametrize("argv", [["status"], ["tail", "ticks"], ["topics", "create"], ["configure"], ["prune"]])
def test_without_a_broker_one_line_says_how_to_get_one(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"{LOOPBACK}:{free_port()}"
    monkeypatch.setenv("BROKER_URL", f"kafka://{address}")
    assert main(argv) == 1
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert address in line
    assert "topology up" in line
    assert captured.out == ""


def test_the_calendar_names_the_holiday(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calendar", "--date", "2022-11-08"]) == 0
    assert "closed, Guru Nanak Jayanti" in capsys.readouterr().out


def test_a_day_that_the_calendar_does_not_cover_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calendar", "--date", "2035-01-01"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "CALENDAR_FILE" in line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LogError("run\n  something"), "run something"),
        (FileNotFoundError(2, "No such file or directory", "a.csv"), "a.csv: No such file or directory"),
        (KafkaTimeoutError(), "the broker does not do what was asked"),
    ],
)
def test_an_error_that_a_user_can_cause_is_one_line(
    error: Exception, said: str, failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(error)
    assert main(["topics", "create"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_defect_keeps_its_traceback(failing: Callable[[BaseException], None]) -> None:
    failing(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["topics", "create"])


def test_ctrl_c_is_quiet(failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]) -> None:
    failing(KeyboardInterrupt())
    assert main(["topics", "create"]) == 130
    assert capsys.readouterr() == ("", "")


def test_every_error_that_is_explained_exists() -> None:
    for module, name in (*command_line._EXPLAINED, ("aiokafka.errors", "KafkaError")):
        assert find_spec(module) is not None
        __import__(module)
        assert issubclass(getattr(sys.modules[module], name), Exception)
    assert command_line._loaded([("aiokafka.errors", "KafkaError")]) == (KafkaError,)


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = ["calendar", "--date", "2026-11-08"]
    writer = f"import sys; from topology.cli.main import main; sys.stdin.read(); sys.exit(main({command}))"
    process = subprocess.Popen(
        [sys.executable, "-c", writer], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141
    process.stderr.close()


def test_the_code_of_a_command_is_that_of_the_process() -> None:
    done = subprocess.run([*CALL, "calendar", "--date", "2035-01-01"], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 1
