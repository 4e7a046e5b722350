from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.simulator_client import OPEN_MS, at
from topology.simulator.faults import KINDS, FaultError, Faults, read, read_fields


def test_a_fault_says_what_whom_how_long_and_when() -> None:
    fault = read("delay:for=90s,chance=12.5%,by=500ms,socket=2,instrument=1:2885@+1m", now_ms=OPEN_MS)
    assert (fault.name, fault.from_ms, fault.until_ms) == ("delay", OPEN_MS + 60_000, OPEN_MS + 150_000)
    assert (fault.chance, fault.by_ms, fault.socket, fault.instrument) == (0.125, 500, 2, "NSE:2885")
    assert fault.meets(2, "NSE:2885")
    assert not fault.meets(1, "NSE:2885")
    assert not fault.meets(2, "NSE:1")


@pytest.mark.parametrize("name", KINDS)
def test_every_fault_can_be_written_by_its_name_alone(name: str) -> None:
    fault = read(name, now_ms=OPEN_MS)
    assert fault.from_ms == OPEN_MS
    assert fault.meets(1, "NSE:2885")


@pytest.mark.parametrize(
    ("when", "ms"),
    [
        ("+0s", OPEN_MS),
        ("09:15", OPEN_MS),
        ("09:20:30", at("2022-11-22 09:20:30")),
        ("09:14", at("2022-11-23 09:14")),
        ("2022-11-24T10:00", at("2022-11-24 10:00")),
        ("2022-11-24T10:00:00+00:00", at("2022-11-24 15:30")),
    ],
)
def test_when_it_begins(when: str, ms: int) -> None:
    assert read(f"silent@{when}", now_ms=OPEN_MS).from_ms == ms


def test_a_holiday_lasts_until_midnight() -> None:
    assert read("holiday", now_ms=OPEN_MS).until_ms == at("2022-11-23 00:00")
    assert read("holiday:for=1h", now_ms=OPEN_MS).until_ms == OPEN_MS + 3_600_000


def test_only_a_clock_jumps_back() -> None:
    assert read("clock-jump:by=-5s", now_ms=OPEN_MS).by_ms == -5_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not one of"),
        ("explode", "is not one of drop"),
        ("silent:30s", "NAME:KEY=VALUE"),
        ("silent:for=1s,for=2s", "each key once"),
        ("silent:for=soon", "'soon' is no duration"),
        ("silent:for=-1s", "can't be negative"),
        ("silent:by=1s", "does not know by: it takes for, chance"),
        ("expire-token:for=1s", "no keys at all"),
        ("delay:by=-1s", "only a clock"),
        ("duplicate:chance=half", "from 0% to 100%"),
        ("duplicate:chance=101%", "from 0% to 100%"),
        ("silent:socket=4", "one of 1, 2, 3"),
        ("silent:instrument=TATA", "write exchange and token"),
        ("rate-limit:answer=500", "one of 403, AB1021, 429"),
        ("silent@noon", "'noon' is no time"),
    ],
)
def test_what_cannot_be_understood_is_one_line_that_says_what_can(text: str, said: str) -> None:
    with pytest.raises(FaultError, match=said) as error:
        read(text, now_ms=OPEN_MS)
    assert "\n" not in str(error.value)


def test_json_has_the_same_keys() -> None:
    fields = {"name": "silent", "for": "30s", "socket": 1, "instrument": "NSE:2885", "at": "+5s"}
    text = "silent:for=30s,socket=1,instrument=NSE:2885@+5s"
    assert read_fields(fields, now_ms=OPEN_MS) == read(text, now_ms=OPEN_MS)


def test_a_fault_is_active_from_its_beginning_to_before_its_end() -> None:
    faults = Faults(1)
    faults.advance(OPEN_MS)
    fault = faults.add("silent:for=10s@+5s")
    assert faults.next_edge_ms(OPEN_MS + 60_000) == OPEN_MS + 5_000
    assert faults.advance(OPEN_MS + 5_000) == [fault]
    assert faults.active == [fault]
    assert faults.next_edge_ms(OPEN_MS + 60_000) == OPEN_MS + 15_000
    assert faults.advance(OPEN_MS + 15_000) == []
    assert faults.active == []
    assert faults.next_edge_ms(OPEN_MS + 60_000) == OPEN_MS + 60_000


def test_clearing_ends_what_is_active_and_forgets_what_is_to_come() -> None:
    faults = Faults(1)
    faults.advance(OPEN_MS)
    faults.add("silent:for=10s")
    faults.add("silent:for=10s@+5s")
    faults.advance(OPEN_MS + 1_000)
    faults.clear()
    assert faults.active == []
    assert [(fault.id, fault.until_ms) for fault in faults.all] == [(1, OPEN_MS + 1_000)]
    assert faults.add("silent").id == 3


def test_a_fault_in_the_past_is_refused() -> None:
    faults = Faults(1)
    faults.advance(OPEN_MS)
    with pytest.raises(FaultError, match="begun already"):
        faults.add("silent@2022-11-22T09:00")


@given(st.integers(0, 9), st.sampled_from([0, 5, 50, 100]))
def test_chance_is_the_part_that_is_met_and_the_same_under_a_seed(seed: int, percent: int) -> None:
    one, same = Faults(seed), Faults(seed)
    fault = read(f"duplicate:chance={percent}%", now_ms=0, number=1)
    met = [one.happens(fault, number, 2) for number in range(1_000)]
    assert met == [same.happens(fault, number, 2) for number in range(1_000)]
    assert abs(sum(met) / 1_000 - percent / 100) < 0.06
