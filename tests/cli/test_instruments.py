"""`topology instruments` as a user meets it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.masters import LISTED, RELIANCE, SMALL
from topology.cli.instruments import age
from topology.cli.main import main
from topology.market.times import IST

Shown = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """What the broker serves as its master, under the key ``body``; the settings say where."""
    body = {"body": json.dumps(SMALL).encode()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body["body"])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("ANGEL_MASTER_URL", f"http://127.0.0.1:{server.server_port}/master.json")
    yield body
    server.shutdown()
    server.server_close()


@pytest.fixture
def topology(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shown:
    """The command line in an empty folder; gives the code, and the lines on stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATA_DIR", "SUBSCRIBE_TOKENS", "TOPOLOGY_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)

    def run(*argv: str) -> tuple[int, list[str], list[str]]:
        capsys.readouterr()
        code = main(argv)
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


def test_what_was_fetched_is_found(topology: Shown, served: dict[str, bytes]) -> None:
    code, out, err = topology("instruments", "update")
    assert (code, err) == (0, [])
    assert out[0].startswith(f"{len(LISTED)} instruments from http://127.0.0.1:")
    assert out[1:] == ["left out: 1 segment NCO, 1 token that is no number"]
    code, out, err = topology("instruments", "search", "reliance", "fut")
    assert (code, err) == (0, [])
    assert out[0].split() == ["instrument", "symbol", "name", "class", "expiry", "strike", "lot"]
    assert out[1].split() == ["NFO:50001", "RELIANCE24NOV26FUT", "RELIANCE", "derivative", "2026-11-24", "500"]
    assert out[-1].startswith(f"the master of {len(LISTED)} instruments, less than a minute old, from http")
    assert Path("data/live/instruments.db").exists()


def test_a_limit_and_json(topology: Shown, served: dict[str, bytes]) -> None:
    topology("instruments", "update")
    _, out, _ = topology("instruments", "search", "nifty 25000", "ce", "--limit", "2", "--json")
    found = json.loads("\n".join(out))
    assert set(found) == {"fetched_at", "source", "listings"}
    assert [row["instrument"] for row in found["listings"]] == ["NFO:60002", "NFO:60001"]
    assert found["listings"][0] == {
        "instrument": "NFO:60002", "symbol": "NIFTY24NOV2625000CE", "name": "NIFTY", "expiry": "2026-11-24",
        "strike": 2_500_000, "lot_size": 65, "tick_size": 5, "instrument_type": "OPTIDX", "price_divisor": 100,
        "instrument_class": "derivative",
    }  # fmt: skip


def test_what_finds_nothing_is_an_error_that_says_so(topology: Shown, served: dict[str, bytes]) -> None:
    topology("instruments", "update")
    code, out, (line,) = topology("instruments", "search", "zomato")
    assert (code, out) == (1, [])
    assert "'zomato'" in line
    code, (printed,), err = topology("instruments", "search", "zomato", "--json")
    assert (code, err) == (1, [])
    assert json.loads(printed)["listings"] == []


@pytest.mark.parametrize("named", ["NSE:2885", "1:2885", "reliance-eq", "NSE:RELIANCE"])
def test_all_that_is_known_of_an_instrument_is_shown(topology: Shown, served: dict[str, bytes], named: str) -> None:
    topology("instruments", "update")
    code, out, _ = topology("instruments", "show", named)
    assert code == 0
    assert [line.split(maxsplit=1) for line in out[:-1]] == [
        ["instrument", "NSE:2885"], ["symbol", "RELIANCE-EQ"], ["name", "RELIANCE"], ["class", "equity_cas"],
        ["type", "cash"], ["lot", "1"], ["tick", "₹0.1"], ["prices", "1/100 rupee"],
    ]  # fmt: skip
    assert "less than a minute old" in out[-1]


def test_prices_are_shown_in_rupees_in_every_segment(topology: Shown, served: dict[str, bytes]) -> None:
    topology("instruments", "update")
    _, out, _ = topology("instruments", "show", "CDE:1284")
    assert [line.split(maxsplit=1)[1] for line in out if line.startswith(("strike", "tick", "prices"))] == [
        "₹83.25", "₹0.0025", "1/10,000,000 rupee"
    ]  # fmt: skip
    _, out, _ = topology("instruments", "show", "NFO:60001")
    assert "strike      ₹25000" in out


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("RELIANCE", "BSE:500325 RELIANCE"),
        ("RELIANSE-EQ", "NSE:2885 RELIANCE-EQ"),
        ("NSE:777", "NSE:777 is not in the master of"),
        ("9:2885", "exchanges: NSE or 1"),
    ],
)
def test_what_cannot_be_shown_is_one_line_that_helps(
    topology: Shown, served: dict[str, bytes], named: str, told: str
) -> None:
    topology("instruments", "update")
    code, out, (line,) = topology("instruments", "show", named)
    assert (code, out) == (1, [])
    assert told in line


@pytest.mark.parametrize("argv", [("search", "reliance"), ("show", "RELIANCE-EQ"), ("show", "NSE:2885")])
def test_without_a_master_one_line_says_what_to_run(topology: Shown, argv: tuple[str, ...]) -> None:
    code, out, (line,) = topology("instruments", *argv)
    assert (code, out) == (1, [])
    assert "topology instruments update" in line


def test_when_the_broker_has_a_broken_master_the_last_one_goes_on(topology: Shown, served: dict[str, bytes]) -> None:
    topology("instruments", "update")
    served["body"] = b"NULL"
    code, out, (line,) = topology("instruments", "update")
    assert (code, out) == (1, [])
    assert "stays" in line
    assert topology("instruments", "search", "reliance")[0] == 0


def test_a_subscribed_instrument_must_not_get_lost(
    topology: Shown, served: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    topology("instruments", "update")
    monkeypatch.setenv("SUBSCRIBE_TOKENS", "nifty,RELIANCE-EQ:snap,RELIANSE")
    served["body"] = json.dumps([row for row in LISTED if row is not RELIANCE]).encode()
    code, _, (line,) = topology("instruments", "update")
    assert code == 1
    assert "NSE:2885 RELIANCE-EQ" in line


def test_what_the_settings_name_and_the_master_does_not_have_is_a_warning(
    topology: Shown, served: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBSCRIBE_TOKENS", "nifty,SBIM-EQ")
    code, out, _ = topology("instruments", "update")
    assert code == 0
    assert out[-1].startswith("WARNING: SUBSCRIBE_TOKENS: instrument 'SBIM-EQ'")


def test_the_simulator_has_instruments_of_its_own(
    topology: Shown, served: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    topology("instruments", "update")
    monkeypatch.setenv("TOPOLOGY_NAMESPACE", "sim")
    assert topology("instruments", "search", "reliance")[0] == 1
    topology("--sim", "instruments", "update")
    assert Path("data/sim/instruments.db").exists()
    assert topology("instruments", "search", "reliance")[0] == 0


@pytest.mark.parametrize("action", ["update", "search", "show"])
def test_the_help_of_every_action_has_an_example(capsys: pytest.CaptureFixture[str], action: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(["instruments", action, "--help"])
    assert left.value.code == 0
    assert f"topology instruments {action}" in capsys.readouterr().out.partition("example")[2]


@pytest.mark.parametrize(
    "argv", [[], ["nope"], ["search"], ["search", "x", "--limit", "0"], ["show"], ["show", "a", "b"], ["update", "x"]]
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["instruments", *argv])
    assert left.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (timedelta(seconds=59), "less than a minute old"),
        (timedelta(minutes=1), "1 minute old"),
        (timedelta(minutes=119), "1 hour old"),
        (timedelta(hours=47), "1 day old"),
        (timedelta(days=10), "10 days old"),
        (-timedelta(hours=1), "less than a minute old"),
    ],
)
def test_an_age_is_told_by_its_largest_unit(passed: timedelta, said: str) -> None:
    now = datetime(2026, 11, 24, 9, 0, tzinfo=IST)
    assert age(int((now - passed).timestamp() * 1000), now) == said


def test_recorded_days_and_frames_take_a_symbol_too(
    topology: Shown, served: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    topology("instruments", "update")
    Path("day.csv").write_text("timestamp,price\n")
    code, _, (line,) = topology("run", "day.csv", "--instrument", "RELIANSE-EQ")
    assert code == 1
    assert "NSE:2885 RELIANCE-EQ" in line
    code, _, (line,) = topology("run", "day.csv", "--instrument", "RELIANCE-EQ")
    assert "day.csv has a header but no rows" in line  # the symbol was no obstacle
    for named in ("RELIANSE-EQ", ""):
        with pytest.raises(SystemExit):
            topology("tail", "ticks", "--instrument", named)
        assert len(capsys.readouterr().err.splitlines()) == 1
