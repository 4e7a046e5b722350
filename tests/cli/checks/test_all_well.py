"""The whole command on a machine where everything is as it should be: real servers, and nothing to do."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from importlib.resources import files
from pathlib import Path

import pytest

import topology.market
from tests.cli.checks.conftest import Serve
from topology.cli import doctor
from topology.cli.main import main
from topology.configuration.environment import from_settings
from topology.embedded import Kafka, Valkey, free_port
from topology.embedded.loopback import LOOPBACK
from topology.kafka import broker_log
from topology.settings import Settings, load

ACCOUNT = {
    "ANGEL_API_KEY": "aB3dE6gH",
    "ANGEL_CLIENT_CODE": "A123456",
    "ANGEL_PASSWORD": "8642",
    "ANGEL_TOTP_SECRET": "JBSWY3DPEHPK3PXPJBSWY3DPEH",
}


@pytest.fixture
def well(kafka: Kafka, valkey: Valkey, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Set up everything that the command looks at."""
    monkeypatch.chdir(tmp_path)
    # The names of the topics are those of the live namespace, which other tests may have made.
    namespace = f"doctor-{uuid.uuid4().hex[:8]}"
    read = broker_log.read
    monkeypatch.setattr(broker_log, "read", lambda bootstrap, _: read(bootstrap, namespace))
    host = f"{LOOPBACK}:{serve()}"
    env = ACCOUNT | {
        "ANGEL_API_URL": f"http://{host}",
        "ANGEL_FEED_URL": f"ws://{host}/smart-stream",
        "ANGEL_MASTER_URL": f"http://{host}/master.json",
        "NOTIFY_WEBHOOK_URL": f"http://{host}/hook",
        "BROKER_URL": kafka.url,
        "REDIS_ADDR": f"{LOOPBACK}:{valkey.port}",
        "REDIS_STREAMS_MB": "1",
        "METRICS_ADDR": f"{LOOPBACK}:{free_port()}",
        "DASHBOARD_ADDR": f"{LOOPBACK}:{free_port()}",
        "GATEWAY_ADDR": f"{LOOPBACK}:{free_port()}",
        "TOPOLOGY_NAMESPACE": "live",
        "DATA_DIR": str(tmp_path),
        "CALENDAR_FILE": str(files(topology.market).joinpath("calendars/always_open.json")),
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings = load()
    asyncio.run(broker_log.create(kafka.bootstrap, namespace, settings.topic_partitions, from_settings(settings)))
    settings.namespace_dir.mkdir()
    master = settings.namespace_dir / "instruments.db"
    master.touch()
    os.utime(master, (time.time(), time.time()))  # the file system goes by a clock of its own where that is shifted
    return settings


def test_where_all_is_well_every_line_is_ok_and_the_test_message_arrives(
    well: Settings, taken: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["doctor", "--notify"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith("ok ") and "  disk  " not in line] == []
    assert code == 0
    assert {line.split()[1] for line in lines} == {name.split()[0] for name in doctor.checks(well, notify=False)}
    assert sum(b"topology doctor" in body for body in taken) == 1
