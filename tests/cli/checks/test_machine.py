from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from tests.cli.checks.conftest import Serve
from topology.cli.checks import Severity, machine
from topology.cli.checks.machine import GB, disk, ports, room, versions
from topology.embedded.loopback import LOOPBACK, free_port
from topology.settings import SIM, Address, Settings


def test_a_data_folder_that_is_not_there_yet_is_looked_at_where_it_will_be(settings: Settings, tmp_path: Path) -> None:
    (finding,) = disk(settings)
    assert not settings.data_dir.exists()
    assert str(tmp_path) in finding.found
    assert "can't be written" not in finding.found


def test_a_data_folder_that_is_a_file_is_bad(settings: Settings) -> None:
    settings.data_dir.touch()
    (finding,) = disk(settings)
    assert finding.level is Severity.BAD
    assert "DATA_DIR" in finding.advice


@pytest.mark.parametrize(
    ("free", "level"), [(0, Severity.BAD), (GB - 1, Severity.BAD), (GB, Severity.WARN), (10 * GB, Severity.OK)]
)
def test_a_day_must_fit_on_the_disk(free: int, level: Severity) -> None:
    finding = room(Path("/data"), free)
    assert finding.level is level
    assert bool(finding.advice) == (level is not Severity.OK)


@pytest.fixture
def at(settings: Settings) -> Callable[[str, int], Settings]:
    return lambda host, port: replace(settings, metrics_addr=Address(host, port))


def test_a_free_port_is_ok(at: Callable[[str, int], Settings]) -> None:
    finding, *_ = ports(at(LOOPBACK, free_port()))
    assert finding.level is Severity.OK
    assert "is free" in finding.found


def test_a_port_that_one_of_our_roles_holds_is_ok(at: Callable[[str, int], Settings], serve: Serve) -> None:
    finding, *_ = ports(at("localhost", serve(b'{"role": "pipeline", "state": "running"}')))
    assert finding.level is Severity.OK
    assert "one of ours" in finding.found


@pytest.mark.parametrize("body", [b"", b"OK", b"[]", b"\xff{", b"{" * 70_000])
def test_a_port_that_somebody_else_holds_is_bad(body: bytes, at: Callable[[str, int], Settings], serve: Serve) -> None:
    finding, *_ = ports(at(LOOPBACK, serve(body)))
    assert finding.level is Severity.BAD
    assert "METRICS_ADDR" in finding.advice


@pytest.mark.parametrize("host", ["192.0.2.1", "[::ffff:192.0.2.1]"])
def test_an_address_of_another_machine_is_bad(host: str, at: Callable[[str, int], Settings]) -> None:
    finding, *_ = ports(at(host, free_port()))
    assert finding.level is Severity.BAD
    assert "can't be listened on" in finding.found


def test_the_simulator_needs_a_port_as_well(settings: Settings) -> None:
    assert len(ports(settings)) == 3
    assert "TICK_SERVER_ADDR" in ports(replace(settings, namespace=SIM))[3].found


def test_the_versions_that_are_installed_for_this_test_are_known() -> None:
    (finding,) = versions()
    assert finding.level is Severity.OK


@pytest.mark.parametrize("package", ["faust-streaming", "smartapi-python"])
@pytest.mark.parametrize("installed", ["9.9.9", None])
def test_a_package_of_another_version_or_none_is_bad(
    package: str, installed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = metadata.version

    def version(name: str) -> str:
        if name != package:
            return known(name)
        if installed is None:
            raise PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(machine, "version", version)
    (finding,) = versions()
    assert finding.level is Severity.BAD
    assert f"{package} {installed or '(none)'}" in finding.found
    assert f"install {package}==" in finding.advice


def test_a_python_that_is_too_old_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    (finding,) = versions()
    assert finding.level is Severity.BAD
