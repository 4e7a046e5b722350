"""The master as it comes over HTTP: good, cut, empty, no JSON at all, from a server that fails."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.masters import LISTED, NIFTY, RELIANCE, SMALL, Row, large, option
from topology.angel.master import MasterError, download
from topology.angel.master.download import Update, last_copy, update
from topology.angel.master.listings import Listings
from topology.embedded import free_port
from topology.market.instruments import Instrument

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
EXPIRED = option("NFO", "60009", "NIFTY", "17NOV2026", "25000CE", kind="OPTIDX")


class Broker:
    """Serves what ``body`` yields, with this status and these headers."""

    def __init__(self) -> None:
        self.body: Callable[[], Iterator[bytes]] = lambda: iter([b""])
        self.status, self.headers = 200, dict[str, str]()
        broker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(broker.status)
                for name, value in broker.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(ConnectionError):  # of a client that gives up
                    for chunk in broker.body():
                        self.wfile.write(chunk)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/OpenAPIScripMaster.json"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def serves(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.body, self.status, self.headers = lambda: iter([body]), status, headers

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    started = Broker()
    yield started
    started.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live" / "instruments.db"


def fetch(broker: Broker, path: Path, *wanted: str) -> Update:
    with last_copy(path) as before:
        instruments = [Instrument.parse(text) for text in wanted]
        return update(broker.url, path, before=before, wanted=instruments, now=NOW)


def encoded(rows: list[Row]) -> bytes:
    return json.dumps(rows).encode()


def test_a_good_master_is_kept_with_what_is_known_of_it(broker: Broker, path: Path) -> None:
    broker.serves(encoded(SMALL))
    left_out = {"segment NCO": 1, "token that is no number": 1}
    assert fetch(broker, path) == Update(count=len(LISTED), count_before=None, left_out=left_out)
    with Listings(path) as kept:
        assert kept.count == len(LISTED)
        assert kept.source == broker.url
        assert kept.fetched_at_ms == NOW.timestamp() * 1000
        assert kept.left_out == left_out
        assert kept.search("reliance")[0].instrument_class == "equity_cas"


def test_a_new_master_takes_the_place_of_the_last_one(broker: Broker, path: Path) -> None:
    broker.serves(encoded(LISTED))
    fetch(broker, path)
    broker.serves(encoded([*LISTED, EXPIRED]))
    done = fetch(broker, path, "NSE:2885")
    assert (done.count, done.count_before) == (len(LISTED) + 1, len(LISTED))


def test_a_packed_answer_is_unpacked(broker: Broker, path: Path) -> None:
    broker.serves(gzip.compress(encoded(LISTED)), 200, **{"Content-Encoding": "gzip"})
    assert fetch(broker, path).count == len(LISTED)


def test_rows_that_are_none_are_left_out_and_counted(broker: Broker, path: Path) -> None:
    rows: list[object] = [NIFTY, None, 7, "NSE", [], {}, RELIANCE | {"strike": "?"}, RELIANCE]
    broker.serves(json.dumps(rows).encode())
    done = fetch(broker, path)
    assert done.count == 2
    assert done.left_out == {"broken row": 6}


whole = encoded(LISTED)
BROKEN = {
    "cut": (whole[: len(whole) // 2], 200, "is no JSON, or was cut"),
    "cut_before_its_end": (whole[:-1], 200, "is no JSON, or was cut"),
    "empty": (b"", 200, "is no JSON, or was cut"),
    "an_empty_list": (b"[]", 200, "holds no instruments"),
    "null": (b"null", 200, "holds no instruments"),
    "NULL": (b"NULL", 200, "is no JSON, or was cut"),
    "an_object": (b'{"status": false, "data": null}', 200, "holds no instruments"),
    "a_list_of_nothing": (b"[null, null]", 200, "holds no instruments"),
    "html": (b"<html><body>Maintenance</body></html>", 200, "is no JSON, or was cut"),
    "with_something_after_it": (whole + b"[]", 200, "is no JSON, or was cut"),
    "no_text": (b"\xff\xfe\x00\x80" * 100, 200, "is no JSON, or was cut"),
    "not_utf8": (whole.replace(b"RELIANCE", b"REL\xffANCE"), 200, "is no JSON, or was cut"),
    "a_failing_server": (whole, 503, "can't be had (HTTP 503)"),
    "not_found": (b"", 404, "can't be had (HTTP 404)"),
    "much_smaller": (encoded(LISTED[: len(LISTED) // 2 - 1]), 200, f"where the last one has {len(LISTED)}"),
}


@pytest.mark.parametrize(("body", "status", "told"), BROKEN.values(), ids=BROKEN)
def test_of_a_broken_master_one_line_tells_and_the_last_copy_stays(
    broker: Broker, path: Path, body: bytes, status: int, told: str
) -> None:
    broker.serves(whole)
    fetch(broker, path)
    kept = path.read_bytes()
    broker.serves(body, status)
    with pytest.raises(MasterError) as error:
        fetch(broker, path)
    assert len(str(error.value).splitlines()) == 1
    assert broker.url in str(error.value)
    assert told in str(error.value)
    assert "the copy of 2026-11-24 08:30 IST stays" in str(error.value)
    assert path.read_bytes() == kept
    assert {file.name for file in path.parent.iterdir()} == {"instruments.db", "instruments.lock"}


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "much_smaller"])
def test_a_broken_master_is_no_first_copy(broker: Broker, path: Path, name: str) -> None:
    body, status, told = BROKEN[name]
    broker.serves(body, status)
    with pytest.raises(MasterError, match="there is no copy yet") as error:
        fetch(broker, path)
    assert told in str(error.value)
    assert not path.exists()


def test_a_connection_that_breaks_off_is_seen(broker: Broker, path: Path) -> None:
    broker.serves(whole[:500], 200, **{"Content-Length": str(len(whole))})
    with pytest.raises(MasterError, match=r"can't be had|was cut"):
        fetch(broker, path)
    assert not path.exists()


def test_a_server_that_is_not_there_is_one_line(path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/master.json"
    with pytest.raises(MasterError, match=r"can't be had \(Connection refused\)") as error:
        update(url, path, before=None, wanted=[], now=NOW)
    assert len(str(error.value).splitlines()) == 1


def test_a_server_that_falls_silent_is_not_waited_for_for_ever(
    broker: Broker, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "SILENCE_S", 0.2)
    done = threading.Event()

    def part() -> Iterator[bytes]:
        yield whole[:500]
        done.wait(60)

    broker.body = part
    with pytest.raises(MasterError, match="can't be had"):
        fetch(broker, path)
    done.set()


def test_a_master_without_end_is_given_up(broker: Broker, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "LARGEST_BYTES", 1_000_000)
    row = json.dumps(RELIANCE).encode() + b","

    def endless() -> Iterator[bytes]:
        yield b"["
        for _ in range(100_000):
            yield row

    broker.body = endless
    with pytest.raises(MasterError, match="more than 1,000,000 bytes"):
        fetch(broker, path)


def test_a_subscribed_instrument_that_is_gone_is_a_reason_to_keep_the_last_copy(broker: Broker, path: Path) -> None:
    broker.serves(encoded([*LISTED, EXPIRED]))
    fetch(broker, path)
    broker.serves(encoded([row for row in LISTED if row is not RELIANCE]))
    with pytest.raises(MasterError, match=r"lacks 1 that SUBSCRIBE_TOKENS names.*NSE:2885 RELIANCE-EQ"):
        fetch(broker, path, "NSE:99926000", "NSE:2885")
    assert fetch(broker, path, "NSE:99926000").count == len(LISTED) - 1


def test_one_that_has_expired_or_was_never_there_may_be_missing(broker: Broker, path: Path) -> None:
    broker.serves(encoded([*LISTED, EXPIRED]))
    fetch(broker, path, "NFO:60009", "NSE:777")
    broker.serves(encoded(LISTED))
    assert fetch(broker, path, "NFO:60009", "NSE:777").count == len(LISTED)


def test_one_that_expires_today_must_still_be_there(broker: Broker, path: Path) -> None:
    broker.serves(encoded(LISTED))
    fetch(broker, path)
    broker.serves(encoded([row for row in LISTED if row["token"] != "60002"]))
    with pytest.raises(MasterError, match="NFO:60002"):
        fetch(broker, path, "NFO:60002")


@pytest.mark.parametrize("kept", ["nothing of it", "half of it", "a hole in it"])
def test_a_copy_that_cannot_be_read_is_replaced(broker: Broker, path: Path, kept: str) -> None:
    broker.serves(whole)
    fetch(broker, path)
    data = path.read_bytes()
    spoilt = {"nothing of it": b"broken", "half of it": data[: len(data) // 2]}
    path.write_bytes(spoilt.get(kept, data[:8_192] + bytes(8_192) + data[16_384:]))
    assert fetch(broker, path, "NSE:2885").count_before is None
    with Listings(path) as copy:
        copy.verify()
        assert copy.count == len(LISTED)


FETCH = """
import re, sys
from datetime import UTC, datetime
from pathlib import Path
from topology.angel.master.download import update
done = update(sys.argv[1], Path(sys.argv[2]), before=None, wanted=[], now=datetime.now(UTC))
peak = re.search("VmHWM:\\s*([0-9]+) kB", Path("/proc/self/status").read_text())
print(done.count, peak[1])
"""


def in_a_process_of_its_own(broker: Broker, path: Path) -> tuple[int, int]:
    """Fetch the master; return the number of listings and the memory that it took at most, in kilobytes."""
    command = [sys.executable, "-c", FETCH, broker.url, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    count, memory_kb = map(int, done.stdout.split())
    return count, memory_kb


def test_a_master_of_the_real_size_is_never_in_memory_as_a_whole(broker: Broker, path: Path) -> None:
    broker.serves(whole)
    _, little_kb = in_a_process_of_its_own(broker, path)
    body = json.dumps(list(large())).encode()
    assert len(body) > 30_000_000
    broker.serves(body)
    count, much_kb = in_a_process_of_its_own(broker, path)
    assert count == 150_000 - 2
    assert much_kb - little_kb < 60_000  # of which 32 MB are a cache; the rows would take more than all of it
    with Listings(path) as kept:
        assert [listing.symbol for listing in kept.search("nifty")[:2]] == ["Nifty 50", "NIFTY"]
        assert {listing.instrument.exchange for listing in kept.nearest("RELIANSE", "NSE")} == {"NSE"}
