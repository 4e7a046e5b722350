from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.cli.checks.conftest import Serve
from topology.cli.checks import Finding, Severity
from topology.cli.checks.account import clock, credentials, egress
from topology.embedded.loopback import LOOPBACK, free_port
from topology.settings import SIM, Settings

GOOD = {
    "api_key": "aB3dE6gH",
    "client_code": "A123456",
    "password": "8642",
    "totp_secret": "JBSWY3DPEHPK3PXPJBSWY3DPEH",
}
WITHOUT_PROXY = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
TIME_S = 1_795_492_800.0

Accounts = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WITHOUT_PROXY:
        monkeypatch.delenv(name, raising=False)


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    assert bool(finding.advice) == (finding.level is not Severity.OK)
    return finding


# -- Credentials.


def test_well_formed_credentials_are_ok(with_account: Accounts) -> None:
    assert only(credentials(with_account(**GOOD))).level is Severity.OK


def test_what_is_missing_is_named(with_account: Accounts) -> None:
    finding = only(credentials(with_account(**GOOD | {"password": "", "totp_secret": ""})))
    assert finding.level is Severity.BAD
    assert finding.found == "not set: ANGEL_PASSWORD, ANGEL_TOTP_SECRET"


def test_simulated_data_needs_no_account_but_half_a_one_is_a_mistake(with_account: Accounts) -> None:
    nothing, half = with_account(), with_account(api_key=GOOD["api_key"])
    assert only(credentials(replace(nothing, namespace=SIM))).level is Severity.OK
    assert only(credentials(replace(half, namespace=SIM))).level is Severity.BAD
    assert only(credentials(nothing)).level is Severity.BAD


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("123456", "is not base32"),
        ("JBSWY3DPEHPK3PX!", "is not base32"),
        ("JBSW Y3DP EHPK 3PXP", "is not base32"),
        ("ü" * 16, "is not base32"),
        ("JBSWY3DP", "is too short, or cut off"),
        ("234567", "is too short, or cut off"),
        ("JBSWY3DPEHPK3PXPJBSWY3DPE", "is too short, or cut off"),
    ],
)
def test_a_totp_secret_that_makes_no_codes_is_bad_and_not_shown(secret: str, said: str, with_account: Accounts) -> None:
    finding = only(credentials(with_account(**GOOD | {"totp_secret": secret})))
    assert finding.level is Severity.BAD
    assert finding.found == f"ANGEL_TOTP_SECRET {said}"
    assert secret not in str(finding)


@pytest.mark.parametrize(
    ("name", "value"), [("api_key", "short"), ("client_code", "someone@example.org"), ("password", "geheimnis")]
)
def test_a_credential_of_an_unknown_shape_is_a_warning_and_not_shown(
    name: str, value: str, with_account: Accounts
) -> None:
    finding = only(credentials(with_account(**GOOD | {name: value})))
    assert finding.level is Severity.WARN
    assert f"ANGEL_{name.upper()}" in finding.found
    assert value not in str(finding)


def test_everything_that_is_wrong_is_told_at_once(with_account: Accounts) -> None:
    findings = credentials(with_account(**dict.fromkeys(GOOD, "?")))
    assert [finding.level for finding in findings] == [Severity.BAD, Severity.WARN, Severity.WARN, Severity.WARN]


# -- The clock.


@pytest.mark.parametrize(
    ("ahead_s", "level", "said"),
    [
        (0.0, Severity.OK, "within 1 s"),
        (0.9, Severity.OK, "within 1 s"),
        (-0.9, Severity.OK, "within 1 s"),
        (1.1, Severity.WARN, "1.1 s ahead of"),
        (-4.9, Severity.WARN, "4.9 s behind"),
        (5.1, Severity.BAD, "5.1 s ahead of"),
        (-3600.0, Severity.BAD, "3600.0 s behind"),
    ],
)
def test_the_clock_is_compared_with_the_middle_of_the_second_that_the_broker_tells(
    ahead_s: float, level: Severity, said: str, serve: Serve, with_account: Accounts
) -> None:
    port = serve(date=formatdate(TIME_S, usegmt=True))
    finding = only(clock(with_account(api_url=f"http://{LOOPBACK}:{port}"), lambda: TIME_S + 0.5 + ahead_s))
    assert finding.level is level
    assert said in finding.found


def test_half_the_way_of_request_and_answer_is_taken_into_account(serve: Serve, with_account: Accounts) -> None:
    port = serve(date=formatdate(TIME_S, usegmt=True))
    times = iter([TIME_S + 0.5 - 3.0, TIME_S + 0.5 + 3.0])
    assert only(clock(with_account(api_url=f"http://{LOOPBACK}:{port}"), lambda: next(times))).level is Severity.OK


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_broker_that_tells_no_time_is_a_warning(date: str, serve: Serve, with_account: Accounts) -> None:
    assert only(clock(with_account(api_url=f"http://{LOOPBACK}:{serve(date=date)}"))).level is Severity.WARN


@pytest.mark.parametrize(
    "url",
    [f"http://{LOOPBACK}:{free_port()}", "http://x:99999", "https://["],
    ids=["nobody there", "no port", "no address"],
)
def test_without_a_broker_the_clock_is_a_warning(url: str, with_account: Accounts) -> None:
    assert only(clock(with_account(api_url=url))).level is Severity.WARN


# -- Egress.


@pytest.mark.parametrize("which", ["api", "feed", "master"])
def test_a_server_that_answers_is_ok_with_a_path_and_without(which: str, serve: Serve, with_account: Accounts) -> None:
    port = serve()
    for path in ("", "/a/b.json"):
        scheme = "ws" if which == "feed" else "http"
        finding = only(egress(with_account(**{f"{which}_url": f"{scheme}://{LOOPBACK}:{port}{path}"}), which))
        assert finding == Finding(f"egress {which}", Severity.OK, f"{LOOPBACK}:{port} answers")


def test_a_closed_port_is_bad(with_account: Accounts) -> None:
    finding = only(egress(with_account(feed_url=f"wss://{LOOPBACK}:{free_port()}/stream"), "feed"))
    assert finding.level is Severity.BAD
    assert "Connection refused" in finding.found


def test_a_name_that_dns_does_not_know_is_bad(with_account: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    finding = only(egress(with_account(api_url="https://broker.example"), "api"))
    assert finding.level is Severity.BAD
    assert "DNS" in finding.advice
    assert "ANGEL_API_URL" in finding.advice


@pytest.mark.parametrize(
    "url", ["https://host:99999", "https://:443", "https://host:port", f"https://{'a' * 70}.example"]
)
def test_an_address_without_host_and_port_is_bad(url: str, with_account: Accounts) -> None:
    assert only(egress(with_account(api_url=url), "api")).level is Severity.BAD


def test_an_address_with_a_password_in_it_is_not_shown(with_account: Accounts) -> None:
    finding = only(egress(with_account(api_url=f"http://me:geheim@{LOOPBACK}:{free_port()}/geheim"), "api"))
    assert "geheim" not in str(finding)


def test_a_server_that_speaks_no_tls_where_it_should_is_bad(serve: Serve, with_account: Accounts) -> None:
    finding = only(egress(with_account(api_url=f"https://{LOOPBACK}:{serve()}"), "api"))
    assert finding.level is Severity.BAD
    assert "certificate" in finding.found


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for loopback that nobody trusts, with its key."""
    if (openssl := shutil.which("openssl")) is None:
        missing = "openssl, which makes a certificate for this test, is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    path = tmp_path_factory.mktemp("tls") / "loopback.pem"
    made = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-days", "2", "-subj", "/CN=loopback", "-addext", f"subjectAltName=IP:{LOOPBACK}"]
    subprocess.run([*made, "-keyout", path, "-out", f"{path}.cert"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.cert").read_text())
    return path


def test_a_certificate_is_ok_where_it_is_trusted_and_bad_where_it_is_not(
    certificate: Path, serve: Serve, with_account: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    port = serve(wrap=lambda listener: context.wrap_socket(listener, server_side=True))
    settings = with_account(feed_url=f"wss://{LOOPBACK}:{port}/smart-stream")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert only(egress(settings, "feed")).level is Severity.BAD
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.cert")
    assert only(egress(settings, "feed")).level is Severity.OK
