from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.settings import Address, Settings, SettingsError, load

DEFAULT = Settings.from_env({})

# variable, field, its value when the variable is not set, a good value, what that is read as, bad values
VARIABLES: list[tuple[str, str, Any, str, Any, list[str]]] = [
    (
        "BROKER_URL",
        "broker_url",
        "kafka://127.0.0.1:9092",
        "kafka://a.example:1;kafka://b:2",
        "kafka://a.example:1,b:2",
        [
            "localhost:9092",
            "kafka://",
            "kafka://localhost",
            "redis://a:1",
            "kafka://a:1,",
            "kafka://a:x",
            "kafka://a b:1",
        ],
    ),
    ("TOPOLOGY_ROLE", "role", "pipeline", "archive", "archive", ["worker", "FEED"]),
    ("TOPOLOGY_NAMESPACE", "namespace", "live", "sim", "sim", ["test"]),
    ("DATA_DIR", "data_dir", Path("data"), "/var/lib/x", Path("/var/lib/x"), []),
    (
        "REDIS_ADDR",
        "redis_addr",
        Address("localhost", 6379),
        "cache:1",
        Address("cache", 1),
        ["cache", "cache:0", "a:65536"],
    ),
    ("REDIS_PASSWORD", "redis_password", "", "geheim", "geheim", []),
    ("SQLITE_PATH", "sqlite_path", Path("data/candles.db"), "/x/y.db", Path("/x/y.db"), []),
    ("JSONL_PATH", "jsonl_path", Path("data/jsonl"), "/x/y", Path("/x/y"), []),
    (
        "ENABLED_TFS",
        "enabled_tfs",
        (60, 120, 180, 300),
        "86400, 5",
        (5, 86_400),
        ["4", "86401", "60,60", "60,", "1.5", "x"],
    ),
    (
        "INDICATOR_CONFIGS",
        "indicators",
        ("SMA:9", "SMA:20", "SMA:50", "SMA:200", "EMA:9", "EMA:21", "RSI:14"),
        "smma:14",
        ("SMMA:14",),
        ["SMA", "NONE:3", "SMA:501", "SMA:9,SMA:9"],
    ),
    ("TOPIC_PARTITIONS", "topic_partitions", 4, "256", 256, ["0", "257", "four", "-1"]),
    ("FRAME_MS", "frame_ms", 50, "20", 20, ["0", "1001"]),
    ("LIVE_INTERVAL_MS", "live_interval_ms", 250, "1000", 1_000, ["9", "60001"]),
    ("ALLOWED_LATENESS_MS", "allowed_lateness_ms", 1_000, "0", 0, ["-1", "60001", "1e3"]),
    (
        "CHECKPOINT_MS",
        "checkpoint_ms",
        {"candles": 1_000, "timeframes": 5_000, "indicators": 10_000},
        "timeframes=200",
        {"candles": 1_000, "timeframes": 200, "indicators": 10_000},
        ["1000", "candles=99", "candles=", "ticks=1000", "candles=100,candles=200", "candles=100,"],
    ),
    ("LOG_KEEP_DAYS", "log_keep_days", 30, "1", 1, ["0", "3651"]),
    ("REDIS_STREAMS_MB", "redis_streams_mb", 2_048, "64", 64, ["0", "2GB"]),
    ("MIRROR_LIVE", "mirror_live", "all", "watched", "watched", ["none", "1"]),
    ("CALENDAR_FILE", "calendar_file", None, __file__, Path(__file__), ["/nowhere/calendar.json", "/"]),
    ("METRICS_ADDR", "metrics_addr", Address("127.0.0.1", 9091), "0.0.0.0:80", Address("0.0.0.0", 80), [":", "9091"]),
    ("DASHBOARD_ADDR", "dashboard_addr", Address("127.0.0.1", 8080), ":80", Address("127.0.0.1", 80), [":", "8080"]),
    ("GATEWAY_ADDR", "gateway_addr", Address("127.0.0.1", 9090), "[::]:80", Address("[::]", 80), [":", "a b:1"]),
    (
        "ALLOWED_ORIGINS",
        "allowed_origins",
        frozenset(),
        "http://a:5173, https://b.example",
        frozenset({"http://a:5173", "https://b.example"}),
        ["*", "a.example", "https://a.example/path", "https://a,b"],
    ),
    ("ANGEL_API_KEY", "account", DEFAULT.account, "key", replace(DEFAULT.account, api_key="key"), []),
    ("SUBSCRIBE_TOKENS", "subscribe_tokens", "1:99926000", "NSE:2885:snap", "NSE:2885:snap", []),
    ("FEED_STANDBY", "feed_standby", False, "1", True, ["yes", "2", "true"]),
    ("TICK_SERVER_ADDR", "tick_server_addr", Address("127.0.0.1", 9001), ":80", Address("127.0.0.1", 80), ["80"]),
    ("NOTIFY_WEBHOOK_URL", "notify_webhook_url", "", "https://a.example/b/", "https://a.example/b", []),
    ("TELEGRAM_BOT_TOKEN", "telegram_bot_token", "", "1:geheim", "1:geheim", []),
    ("TELEGRAM_CHAT_ID", "telegram_chat_id", "", "-100", "-100", []),
    ("SESSION_TIMEOUT_S", "session_timeout_s", 20, "2", 2, ["1", "301"]),
    ("LOG_LEVEL", "log_level", "INFO", "DEBUG", "DEBUG", ["info", "TRACE"]),
    ("JAVA_HOME", "java_home", None, "/nowhere", None, []),
    ("FAUST_DATADIR", "faust_datadir", None, "/var/lib/worker", Path("/var/lib/worker"), []),
]
BAD = [(variable, value) for variable, *_, bad in VARIABLES for value in bad]


def test_every_field_belongs_to_a_variable_here() -> None:
    assert [field for _, field, *_ in VARIABLES] == list(Settings.__dataclass_fields__)


@pytest.mark.parametrize(("field", "default"), [(field, default) for _, field, default, *_ in VARIABLES])
def test_a_variable_that_is_not_set_has_its_default(field: str, default: object) -> None:
    assert getattr(DEFAULT, field) == default


@pytest.mark.parametrize("variable", [variable for variable, *_ in VARIABLES])
@pytest.mark.parametrize("blank", ["", "  "])
def test_an_empty_variable_counts_as_not_set(variable: str, blank: str) -> None:
    assert Settings.from_env({variable: blank}) == DEFAULT


@pytest.mark.parametrize(("variable", "field", "value", "meaning"), [(v, f, g, m) for v, f, _, g, m, _ in VARIABLES])
def test_a_good_value_is_read(variable: str, field: str, value: str, meaning: object) -> None:
    assert getattr(Settings.from_env({variable: value}), field) == meaning


@pytest.mark.parametrize(("variable", "value"), BAD)
def test_a_wrong_value_is_one_line_with_the_variable_the_value_and_what_is_allowed(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable: value})
    line = str(caught.value)
    assert line.startswith(f"{variable}={value!r} is wrong: it must be ")
    assert "\n" not in line


@given(st.dictionaries(st.sampled_from([v for v, *_ in VARIABLES]), st.text(max_size=20)))
def test_any_text_is_read_or_refused_with_the_name_of_its_variable(env: dict[str, str]) -> None:
    lines = []
    try:
        Settings.from_env(env)
    except SettingsError as error:
        lines = str(error).splitlines()
    assert [line for line in lines if re.split("[= ]", line)[0] not in env] == []
    assert len(lines) <= 1


SECRETS = (
    "REDIS_PASSWORD", "ANGEL_API_KEY", "ANGEL_CLIENT_CODE", "ANGEL_PASSWORD", "ANGEL_TOTP_SECRET",
    "NOTIFY_WEBHOOK_URL", "TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID",
)  # fmt: skip


@pytest.mark.parametrize("variable", SECRETS)
def test_a_secret_is_never_shown(variable: str) -> None:
    settings = Settings.from_env({variable: "https://geheim"})
    assert "geheim" not in repr(settings)


ADDRESSES = ("ANGEL_API_URL", "ANGEL_FEED_URL", "ANGEL_MASTER_URL", "NOTIFY_WEBHOOK_URL")


@pytest.mark.parametrize("variable", ADDRESSES)
@pytest.mark.parametrize("value", ["geheim.example", "ftp://geheim", "https://", "https:// geheim"])
def test_an_address_that_is_none_is_refused_without_showing_it(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable} is wrong: it must start with") as caught:
        Settings.from_env({variable: value})
    assert "geheim" not in str(caught.value)


def test_what_an_account_lacks_is_named() -> None:
    assert Settings.from_env({}).account.missing == [
        "ANGEL_API_KEY", "ANGEL_CLIENT_CODE", "ANGEL_PASSWORD", "ANGEL_TOTP_SECRET"
    ]  # fmt: skip
    assert Settings.from_env({"ANGEL_API_KEY": "k", "ANGEL_TOTP_SECRET": "t"}).account.missing == [
        "ANGEL_CLIENT_CODE", "ANGEL_PASSWORD"
    ]  # fmt: skip


@pytest.mark.parametrize("port", ["", "x", "0", "99999"])
def test_a_port_alone_is_loopback_and_must_be_a_port(port: str) -> None:
    assert str(Settings.from_env({"METRICS_ADDR": ":80"}).metrics_addr) == "127.0.0.1:80"
    with pytest.raises(SettingsError, match="METRICS_ADDR"):
        Settings.from_env({"METRICS_ADDR": f":{port}"})


def test_clients_get_the_broker_as_hosts_and_ports() -> None:
    assert Settings.from_env({"BROKER_URL": "kafka://a:1;b:2"}).bootstrap == "a:1,b:2"


def test_simulated_and_live_share_no_file_folder_or_database() -> None:
    env = {"DATA_DIR": "d", "SQLITE_PATH": "x/candles.db"}
    live, sim = (Settings.from_env(env | {"TOPOLOGY_NAMESPACE": namespace}) for namespace in ("live", "sim"))
    assert (live.sqlite_path, sim.sqlite_path) == (Path("x/candles.db"), Path("x/sim/candles.db"))
    assert (live.namespace_dir, sim.namespace_dir) == (Path("d/live"), Path("d/sim"))
    assert (live.redis_db, sim.redis_db) == (0, 1)


def test_the_calendar_is_that_of_the_namespace_or_the_file_that_was_named(tmp_path: Path) -> None:
    live, sim = (
        json.loads(Settings.from_env({"TOPOLOGY_NAMESPACE": name}).calendar_text()) for name in ("live", "sim")
    )
    assert live != sim
    own = tmp_path / "own.json"
    own.write_text("{}")
    assert Settings.from_env({"CALENDAR_FILE": str(own)}).calendar_text() == "{}"


def test_a_calendar_that_is_no_text_is_refused_with_the_name_of_its_variable(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_bytes("{}".encode("utf-16"))
    with pytest.raises(SettingsError, match=r"^CALENDAR_FILE='.*own.json' is wrong: it must be a file of UTF-8 text$"):
        Settings.from_env({"CALENDAR_FILE": str(own)}).calendar_text()


@pytest.mark.parametrize(("version", "used"), [("1.8.0_392", False), ("11.0.2", False), ("17", True), ("25.0.1", True)])
def test_a_java_home_is_used_where_it_can_run_the_broker(tmp_path: Path, version: str, used: bool) -> None:
    (tmp_path / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    assert (Settings.from_env({"JAVA_HOME": str(tmp_path)}).java_home == tmp_path) is used


def test_the_file_dot_env_is_read_where_the_environment_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("FRAME_MS=20\nLOG_KEEP_DAYS=7 # a week\nREDIS_PASSWORD='a b'\nCALENDAR_FILE\n")
    monkeypatch.setenv("FRAME_MS", "30")
    monkeypatch.delenv("LOG_KEEP_DAYS", raising=False)
    settings = load()
    assert (settings.frame_ms, settings.log_keep_days, settings.redis_password) == (30, 7, "a b")
