"""Settings: every environment variable this system reads, with its default and what it may be.

They seed a new log and say where things are. What a running log computes (timeframes, indicators, calendar, lateness)
stands in the log from then on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from dotenv import dotenv_values

from topology.indicators import IndicatorError, parse_specs

ROLES = ("pipeline", "feed", "mirror", "archive", "jsonl", "gateway")
LIVE, SIM = NAMESPACES = ("live", "sim")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
CHECKPOINT_MS = {"candles": 1_000, "timeframes": 5_000, "indicators": 10_000}
OLDEST_JAVA = 17
MASTER_URL = "https://margincalculator.angelbroking.com/OpenAPI_File/files/OpenAPIScripMaster.json"


class SettingsError(ValueError):
    """A variable has a wrong value: one line that names the variable, the value and what is allowed."""


class Address(NamedTuple):
    """Where something listens."""

    host: str
    port: int

    @property
    def bound_to(self) -> str:
        """The host as sockets take it: an IPv6 address without its brackets."""
        return self.host.strip("[]")

    def __str__(self) -> str:
        """Give ``host:port``."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Account:
    """The broker account, ``ANGEL_*``: what is not set is empty. Where its servers are: others only for a simulator."""

    api_key: str = field(repr=False)
    client_code: str = field(repr=False)
    password: str = field(repr=False)
    totp_secret: str = field(repr=False)
    api_url: str
    feed_url: str
    master_url: str

    @property
    def secrets(self) -> list[str]:
        """What must never be shown, as far as it is set."""
        return [text for text in (self.api_key, self.client_code, self.password, self.totp_secret) if text]

    @property
    def missing(self) -> list[str]:
        """The variables that a login needs and that are not set."""
        needed = ("api_key", "client_code", "password", "totp_secret")
        return [f"ANGEL_{name.upper()}" for name in needed if not getattr(self, name)]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field per variable of the same name; units are in the names.

    ``enabled_tfs`` are seconds, in rising order; ``indicators`` is ``INDICATOR_CONFIGS`` as specs (``SMA:20``);
    ``checkpoint_ms`` maps each stage to how often its state is kept. ``sqlite_path`` and ``jsonl_path`` are
    those of the namespace.
    """

    broker_url: str
    role: str
    namespace: str
    data_dir: Path
    redis_addr: Address
    redis_password: str = field(repr=False)
    sqlite_path: Path
    jsonl_path: Path
    enabled_tfs: tuple[int, ...]
    indicators: tuple[str, ...]
    topic_partitions: int
    frame_ms: int
    live_interval_ms: int
    allowed_lateness_ms: int
    checkpoint_ms: Mapping[str, int]
    log_keep_days: int
    redis_streams_mb: int
    mirror_live: str
    calendar_file: Path | None
    metrics_addr: Address
    dashboard_addr: Address
    gateway_addr: Address
    allowed_origins: frozenset[str]
    account: Account
    subscribe_tokens: str
    feed_standby: bool
    tick_server_addr: Address
    notify_webhook_url: str = field(repr=False)
    telegram_bot_token: str = field(repr=False)
    telegram_chat_id: str = field(repr=False)
    session_timeout_s: int
    log_level: str
    java_home: Path | None
    faust_datadir: Path | None

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the variables; an empty one counts as not set. Raises `SettingsError`."""
        read = _Variables(env)
        namespace = read.one_of("TOPOLOGY_NAMESPACE", NAMESPACES)
        data_dir = Path(read.text("DATA_DIR", "data"))
        return cls(
            broker_url=read.broker_url(),
            role=read.one_of("TOPOLOGY_ROLE", ROLES),
            namespace=namespace,
            data_dir=data_dir,
            redis_addr=read.address("REDIS_ADDR", "localhost:6379"),
            redis_password=read.text("REDIS_PASSWORD", ""),
            sqlite_path=_of_namespace(Path(read.text("SQLITE_PATH", str(data_dir / "candles.db"))), namespace),
            jsonl_path=_of_namespace(Path(read.text("JSONL_PATH", str(data_dir / "jsonl"))), namespace),
            enabled_tfs=read.timeframes(),
            indicators=read.indicators(),
            topic_partitions=read.whole("TOPIC_PARTITIONS", 4, low=1, high=256),
            frame_ms=read.whole("FRAME_MS", 50, low=1, high=1_000),
            live_interval_ms=read.whole("LIVE_INTERVAL_MS", 250, low=10, high=60_000),
            allowed_lateness_ms=read.whole("ALLOWED_LATENESS_MS", 1_000, low=0, high=60_000),
            checkpoint_ms=read.checkpoints(),
            log_keep_days=read.whole("LOG_KEEP_DAYS", 30, low=1, high=3_650),
            redis_streams_mb=read.whole("REDIS_STREAMS_MB", 2_048, low=1, high=1_048_576),
            mirror_live=read.one_of("MIRROR_LIVE", ("all", "watched")),
            calendar_file=read.file("CALENDAR_FILE"),
            metrics_addr=read.address("METRICS_ADDR", ":9091"),
            dashboard_addr=read.address("DASHBOARD_ADDR", ":8080"),
            gateway_addr=read.address("GATEWAY_ADDR", ":9090"),
            allowed_origins=read.origins("ALLOWED_ORIGINS"),
            account=read.account(),
            subscribe_tokens=read.text("SUBSCRIBE_TOKENS", "1:99926000"),
            feed_standby=read.one_of("FEED_STANDBY", ("0", "1")) == "1",
            tick_server_addr=read.address("TICK_SERVER_ADDR", ":9001"),
            notify_webhook_url=read.url("NOTIFY_WEBHOOK_URL", "", "https", "http"),
            telegram_bot_token=read.text("TELEGRAM_BOT_TOKEN", ""),
            telegram_chat_id=read.text("TELEGRAM_CHAT_ID", ""),
            session_timeout_s=read.whole("SESSION_TIMEOUT_S", 20, low=2, high=300),
            log_level=read.one_of("LOG_LEVEL", LOG_LEVELS, default="INFO"),
            java_home=_usable_java(read.text("JAVA_HOME", "")),
            faust_datadir=Path(folder) if (folder := read.text("FAUST_DATADIR", "")) else None,
        )

    @property
    def bootstrap(self) -> str:
        """The broker as Kafka clients take it: ``host:port``, several separated by commas."""
        return self.broker_url.removeprefix("kafka://")

    @property
    def redis_db(self) -> int:
        """The number of the Redis database of the namespace."""
        return NAMESPACES.index(self.namespace)

    @property
    def token_path(self) -> Path:
        """The file that holds the token which the gateways ask for."""
        return self.data_dir / "gateway-token"

    @property
    def namespace_dir(self) -> Path:
        """The folder for what the roles of this namespace keep on disk."""
        return self.data_dir / self.namespace

    def calendar_text(self) -> str:
        """Give the session calendar as JSON text: `calendar_file`, or else the bundled one of the namespace.

        Raises `SettingsError` for a file that isn't UTF-8, OSError for one that can't be read any more.
        """
        if self.calendar_file is not None:
            try:
                return self.calendar_file.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                raise _wrong("CALENDAR_FILE", str(self.calendar_file), allowed="a file of UTF-8 text") from None
        name = "always_open.json" if self.namespace == SIM else "nse.json"
        return files("topology.market").joinpath("calendars", name).read_text(encoding="utf-8")


def load(**fixed: str) -> Settings:
    """Read the settings from the environment and, where it is silent, from the file ``.env`` of the current folder.

    ``fixed`` are variables that a command decides itself.
    """
    written = {name: value or "" for name, value in dotenv_values(".env").items()}
    return Settings.from_env(written | dict(os.environ) | fixed)


class _Variables:
    """Reads variables by kind; each says what is wrong with a value that is not of its kind."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def text(self, name: str, default: str) -> str:
        return self._env.get(name, "").strip() or default

    def one_of(self, name: str, allowed: tuple[str, ...], *, default: str = "") -> str:
        value = self.text(name, default or allowed[0])
        if value not in allowed:
            raise _wrong(name, value, allowed=f"one of {', '.join(allowed)}")
        return value

    def whole(self, name: str, default: int, *, low: int, high: int) -> int:
        value = self.text(name, str(default))
        if (number := _whole(value, low=low, high=high)) is None:
            raise _wrong(name, value, allowed=f"a whole number from {low} to {high}")
        return number

    def address(self, name: str, default: str) -> Address:
        value = self.text(name, default)
        if (address := _address(value)) is None:
            raise _wrong(name, value, allowed="host:port, or :port for this machine alone (loopback)")
        return address

    def broker_url(self) -> str:
        value = self.text("BROKER_URL", "kafka://127.0.0.1:9092")
        scheme, _, rest = value.partition("://")
        addresses = [_address(part.removeprefix("kafka://")) for part in re.split("[,;]", rest)]
        if scheme != "kafka" or None in addresses:
            raise _wrong("BROKER_URL", value, allowed="kafka://host:port, several as kafka://host:port,host:port")
        return "kafka://" + ",".join(map(str, addresses))

    def url(self, name: str, default: str, *schemes: str) -> str:
        value = self.text(name, default)
        if value and not re.fullmatch(rf"(?:{'|'.join(schemes)})://[^\s/]+(?:/\S*)?", value):
            # The value is not shown: a webhook's address is a secret.
            raise SettingsError(f"{name} is wrong: it must start with {' or '.join(f'{s}://' for s in schemes)}")
        return value.rstrip("/")

    def origins(self, name: str) -> frozenset[str]:
        value = self.text(name, "")
        parts = [part.strip() for part in value.split(",") if part.strip()]
        if not all(re.fullmatch(r"https?://[\w.-]+(?::[0-9]{1,5})?", part) for part in parts):
            raise _wrong(name, value, allowed="origins like https://charts.example.com, separated by commas")
        return frozenset(parts)

    def account(self) -> Account:
        return Account(
            api_key=self.text("ANGEL_API_KEY", ""),
            client_code=self.text("ANGEL_CLIENT_CODE", ""),
            password=self.text("ANGEL_PASSWORD", ""),
            totp_secret=self.text("ANGEL_TOTP_SECRET", ""),
            api_url=self.url("ANGEL_API_URL", "https://apiconnect.angelone.in", "https", "http"),
            feed_url=self.url("ANGEL_FEED_URL", "wss://smartapisocket.angelone.in/smart-stream", "wss", "ws"),
            master_url=self.url("ANGEL_MASTER_URL", MASTER_URL, "https", "http"),
        )

    def file(self, name: str) -> Path | None:
        value = self.text(name, "")
        if value and not (Path(value).is_file() and os.access(value, os.R_OK)):
            raise _wrong(name, value, allowed="a file that can be read")
        return Path(value) if value else None

    def timeframes(self) -> tuple[int, ...]:
        value = self.text("ENABLED_TFS", "60,120,180,300")
        numbers = [_whole(part.strip(), low=5, high=86_400) for part in value.split(",")]
        whole = [number for number in numbers if number is not None]
        if len(set(whole)) < len(numbers):
            raise _wrong("ENABLED_TFS", value, allowed="whole seconds from 5 to 86400, each once, as in 60,300")
        return tuple(sorted(whole))

    def indicators(self) -> tuple[str, ...]:
        value = self.text("INDICATOR_CONFIGS", "SMA:9,SMA:20,SMA:50,SMA:200,EMA:9,EMA:21,RSI:14")
        try:
            return tuple(parse_specs(value))
        except IndicatorError as error:
            raise _wrong("INDICATOR_CONFIGS", value, allowed=f"a list like SMA:20,RSI:14 ({error})") from error

    def checkpoints(self) -> dict[str, int]:
        value = self.text("CHECKPOINT_MS", ",".join(f"{stage}={every}" for stage, every in CHECKPOINT_MS.items()))
        parts = [part.strip().partition("=") for part in value.split(",")]
        given = {stage: _whole(every, low=100, high=600_000) for stage, _, every in parts}
        whole = {stage: every for stage, every in given.items() if stage in CHECKPOINT_MS and every is not None}
        if len(whole) < len(parts):
            stages = ",".join(f"{stage}=N" for stage in CHECKPOINT_MS)
            raise _wrong("CHECKPOINT_MS", value, allowed=f"{stages} with N from 100 to 600000, each stage once")
        return CHECKPOINT_MS | whole


def _wrong(name: str, value: str, *, allowed: str) -> SettingsError:
    return SettingsError(f"{name}={value!r} is wrong: it must be {allowed}")


def _whole(text: str, *, low: int, high: int) -> int | None:
    number = int(text) if re.fullmatch("[0-9]{1,9}", text) else -1
    return number if low <= number <= high else None


def _address(text: str) -> Address | None:
    host, colon, digits = text.rpartition(":")
    port = _whole(digits, low=1, high=65_535)
    if not colon or port is None or not re.fullmatch(r"[\w.-]*|\[[0-9a-fA-F:]+\]", host):
        return None
    return Address(host or "127.0.0.1", port)


def _of_namespace(path: Path, namespace: str) -> Path:
    """Simulated and live never share a file: a simulated one goes into a folder ``sim`` beside the live one."""
    return path.parent / SIM / path.name if namespace == SIM else path


def _usable_java(text: str) -> Path | None:
    """``JAVA_HOME`` is not ours alone: one that can't run the broker is no error, the bundled Java is used then."""
    try:
        release = (Path(text) / "release").read_text(encoding="utf-8")
    except OSError:
        return None
    version = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
    return Path(text) if version and int(version[1]) >= OLDEST_JAVA else None
