"""`topology up`: everything on this machine: broker, Redis, topics, every role; a simulated feed without an account."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import functools
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from topology.cli.supervisor import Process, RoleError, RoleProcess, Supervisor
from topology.configuration.environment import from_settings
from topology.embedded import EmbeddedError, Kafka, Valkey, free_port, kafka, valkey
from topology.kafka import broker_log
from topology.settings import SIM, Address, Settings, load
from topology.simulator import MASTER_PATH, STREAM_PATH, account_or_demonstration
from web.http.token import token

EXAMPLE = """example:
  topology up --workers 2      # then, in another terminal:  topology status"""
LOOPBACK = ("127.0.0.1", "localhost")
WEB_PORTS = {"feed": 9093, "mirror": 9094, "archive": 9095}
READY_S = 90.0
SIMULATED = "All values are SIMULATED: a random walk, on a calendar that is always open."
SUBSCRIBED = "NSE:99926000,NSE:2885,NSE:11536,NSE:1333,NSE:1594,NSE:4963,NSE:3045"
"""What the demonstration subscribes to: what `topology simulate` plays when nothing is said."""


def add(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "up",
        description="Starts a broker and Redis where none answer at BROKER_URL and REDIS_ADDR, makes the topics, and "
        "runs every role until Ctrl-C. With an account (ANGEL_API_KEY, ANGEL_CLIENT_CODE, ANGEL_PASSWORD, "
        "ANGEL_TOTP_SECRET) the feed is the broker's. Without one the broker is simulated too: a random walk, whose "
        "values are SIMULATED and live in the namespace `sim`, apart from real ones.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="pipeline workers (default 1)")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command until it is interrupted."""
    settings = load()
    missing = settings.account.missing
    if not settings.account.secrets:
        settings = load(TOPOLOGY_NAMESPACE=SIM)
    elif missing and settings.namespace != SIM:
        raise RoleError(f"the account lacks {', '.join(missing)}: set them, or none of ANGEL_* for a simulated broker")
    if not 1 <= arguments.workers <= settings.topic_partitions:
        raise RoleError(
            f"--workers {arguments.workers} is wrong: from 1 to {settings.topic_partitions} (TOPIC_PARTITIONS)"
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    system = _System(settings)
    with _only_one(settings):
        try:
            system.start(arguments.workers)
            system.describe()
            system.watch()
        except KeyboardInterrupt:
            _say("stopping: every role saves what it has")
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            system.stop()
    _say("stopped")
    return 0


class _System:
    """The embedded services that were needed, and the roles."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.simulated = settings.namespace == SIM
        self.supervisor = Supervisor()
        self._feed_env: dict[str, str] = {}
        self._kafka: Kafka | None = None
        self._valkey: Valkey | None = None
        self._addresses: dict[str, Address] = {}
        self._simulator: Address | None = None
        self._new_token = ""

    def start(self, workers: int) -> None:
        settings = self.settings
        self._start_services()
        _say("making the topics")
        configuration = from_settings(settings)
        asyncio.run(broker_log.create(settings.bootstrap, settings.namespace, settings.topic_partitions, configuration))
        if self.simulated:
            self._start_simulator()
        if not settings.token_path.exists():
            self._new_token = token(settings.token_path)
        roles = [("feed", 0), *(("pipeline", number) for number in range(workers)), ("mirror", 0), ("archive", 0)]
        roles.append(("gateway", 0))
        for role, number in roles:
            self._start_role(role, number)
        self._wait_until_ready()

    def _start_services(self) -> None:
        settings = self.settings
        host, _, port = settings.bootstrap.partition(":")
        if not kafka.answers(host, int(port.partition(",")[0])):
            _need_loopback("BROKER_URL", settings.bootstrap, host)
            self._kafka = Kafka(settings.data_dir / "kafka", int(port), java_home=settings.java_home)
            self._kafka.start(_say)
        if not valkey.answers(*settings.redis_addr):
            _need_loopback("REDIS_ADDR", str(settings.redis_addr), settings.redis_addr.host)
            _say("starting Valkey (speaks Redis)")
            folder = settings.data_dir / "valkey"
            self._valkey = Valkey(folder, settings.redis_addr.port, password=settings.redis_password)
            self._valkey.start()

    def _start_simulator(self) -> None:
        """Start a broker that is simulated, and let the feed log in there."""
        host, wanted = self.settings.tick_server_addr
        address = self._simulator = Address(host, free_port(wanted, host=host))
        _say("starting the simulated broker")
        command = [sys.executable, "-m", "topology.cli.main", "simulate", "--addr", str(address)]
        log = self.settings.namespace_dir / "simulator.log"
        self.supervisor.start(Process("simulator", command, env={}, log=log))
        self._wait_for("the simulated broker", lambda: _is_well(address))
        account = account_or_demonstration(self.settings.account)
        self._feed_env = {
            "ANGEL_API_KEY": account.api_key,
            "ANGEL_CLIENT_CODE": account.client_code,
            "ANGEL_PASSWORD": account.password,
            "ANGEL_TOTP_SECRET": account.totp_secret,
            "ANGEL_API_URL": f"http://{address}",
            "ANGEL_FEED_URL": f"ws://{address}{STREAM_PATH}",
            "ANGEL_MASTER_URL": f"http://{address}{MASTER_PATH}",
            "SUBSCRIBE_TOKENS": os.environ.get("SUBSCRIBE_TOKENS") or SUBSCRIBED,
        }

    def _start_role(self, role: str, number: int) -> None:
        name = f"{role}-{number}"
        set_addresses = {"pipeline": self.settings.metrics_addr, "gateway": self.settings.dashboard_addr}
        host, wanted = set_addresses.get(role) or Address("127.0.0.1", WEB_PORTS[role])
        taken = [address.port for address in self._addresses.values()]
        port = free_port(0 if wanted in taken else wanted, host=host)
        self._addresses[name] = Address(host, port)
        folder = self.settings.namespace_dir
        env = {"TOPOLOGY_NAMESPACE": self.settings.namespace, "FAUST_DATADIR": str((folder / name).resolve())}
        if role == "feed":
            env |= self._feed_env
        options = ("--web-port", str(port))
        self.supervisor.start(RoleProcess(name, role=role, env=env, log=folder / f"{name}.log", options=options))

    def _wait_until_ready(self) -> None:
        for name, address in self._addresses.items():
            _say(f"starting the roles: waiting for {name}")
            self._wait_for(name, functools.partial(_is_well, address))

    def _wait_for(self, name: str, is_there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_S
        while not is_there():
            self._keep_running()
            if time.monotonic() > deadline:
                raise RoleError(f"{name} did not start: see the logs in {self.settings.namespace_dir}")
            time.sleep(0.2)

    def describe(self) -> None:
        """Say what runs where, and how to look at it."""
        settings = self.settings
        _say(f"everything runs. {SIMULATED if self.simulated else 'All values are LIVE.'}\n")
        lines = [("broker", settings.broker_url), ("Redis", f"{settings.redis_addr}, database {settings.redis_db}")]
        lines += [("SQLite", str(settings.sqlite_path)), ("logs", f"{settings.namespace_dir}/*.log")]
        if self._simulator is not None:
            lines.append(("simulator", f"http://{self._simulator}/health and /faults"))
        lines += [(name, f"http://{address}/health and /metrics") for name, address in self._addresses.items()]
        for name, text in lines:
            print(f"  {name:<12} {text}", file=sys.stderr)
        if self._new_token:
            print(
                f"\n  The token that the pages ask for before they change anything, shown this once:\n"
                f"    {self._new_token}\n  `topology gateway token` shows it again.",
                file=sys.stderr,
            )
        flag = " --sim" if self.simulated else ""
        print(
            f"\n  Open http://localhost:{self._addresses['gateway-0'].port}/ or look at it in another terminal:\n"
            f"    .venv/bin/topology{flag} status\n"
            f"    .venv/bin/topology{flag} tail candles_1s --instrument NSE:99926000 --follow\n"
            f"    sqlite3 {settings.sqlite_path} 'select * from candles_tf order by ts desc limit 5'\n\n"
            "  Ctrl-C stops everything in order.\n",
            file=sys.stderr,
            flush=True,
        )

    def watch(self) -> None:
        """Start again what dies, until interrupted."""
        while True:
            time.sleep(0.5)
            self._keep_running()
            for service in (self._kafka, self._valkey):
                if service is not None and not service.running:
                    raise EmbeddedError("an embedded service ended: see its log in the data folder, then start again")

    def _keep_running(self) -> None:
        for line in self.supervisor.keep_running():
            _say(line)

    def stop(self) -> None:
        """Stop the roles, then what they need."""
        self.supervisor.stop()
        for service in (self._valkey, self._kafka):
            if service is not None:
                service.stop()


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Refuse a second one in the same folder: it would be a second feed."""
    settings.namespace_dir.mkdir(parents=True, exist_ok=True)
    handle = os.open(settings.namespace_dir / "up.lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RoleError(
            f"`topology up` runs already in {settings.data_dir}: stop it, or set another DATA_DIR"
        ) from None
    try:
        yield
    finally:
        os.close(handle)


def _is_well(address: Address) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _need_loopback(name: str, value: str, host: str) -> None:
    if host not in LOOPBACK:
        raise EmbeddedError(f"nothing answers at {name}={value}: start it there, or name an address of this machine")


def _say(text: str) -> None:
    print(f"topology: {text}", file=sys.stderr, flush=True)
