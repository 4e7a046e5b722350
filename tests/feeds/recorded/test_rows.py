from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.feeds import FeedError
from topology.feeds.recorded.fields import LARGEST, RowError, TimeReader, paise
from topology.feeds.recorded.rows import LONGEST_LINE, RowReader, read_header
from topology.market.ticks import Tick

IST = timezone(timedelta(hours=5, minutes=30))
NINE_FIFTEEN_MS = int(datetime(2022, 11, 22, 9, 15, tzinfo=IST).timestamp()) * 1000

times = st.datetimes(datetime(2022, 1, 1), datetime(2026, 12, 31, 23, 59, 59))  # noqa: DTZ001 - the zone is added below
offsets = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
ticks = st.builds(
    Tick,
    st.sampled_from(["NSE:99926000", "NSE:2885", "BSE:500325", "MCX:1"]),
    st.integers(1, LARGEST),
    times.map(lambda moment: int(moment.replace(tzinfo=IST).timestamp()) * 1000 + moment.microsecond // 1000),
    st.none() | st.integers(0, LARGEST),
)
junk = st.binary(max_size=60) | st.text(alphabet='0123456789-: TZ+.,"eNainf\x00\r', max_size=60).map(str.encode)


def years_2022_to_2026(day: date) -> bool:
    return 2022 <= day.year <= 2026


def reader(header: bytes = b"timestamp,price", instrument: str = "NSE:99926000") -> RowReader:
    return RowReader(read_header(header), instrument, covered=years_2022_to_2026)


def reason(line: bytes, header: bytes = b"timestamp,price") -> str:
    with pytest.raises(RowError) as refused:
        reader(header).tick(line)
    assert "\n" not in str(refused.value)
    return refused.value.reason


def milliseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(milliseconds=1)  # noqa: UP017


@given(
    tick=ticks,
    order=st.permutations(["timestamp", "price", "instrument", "volume"]),
    ending=st.sampled_from(["\n", "\r\n", ""]),
    quote=st.sampled_from(["", '"']),
)
def test_a_row_that_is_written_is_the_tick_that_is_read(tick: Tick, order: list[str], ending: str, quote: str) -> None:
    texts = {
        "timestamp": datetime.fromtimestamp(tick.time_ms / 1000, IST).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "price": f"{tick.price // 100}.{tick.price % 100:02d}",
        "instrument": tick.instrument,
        "volume": "" if tick.day_volume is None else str(tick.day_volume),
    }
    line = ",".join(f"{quote}{texts[name]}{quote}" for name in order) + ending
    assert reader(",".join(order).encode()).tick(line.encode()) == tick


@given(times, st.sampled_from("T "), st.sampled_from(["seconds", "milliseconds", "microseconds"]), offsets | st.none())
def test_times_mean_what_iso_8601_says_and_indian_time_without_a_zone(
    moment: datetime, separator: str, digits: str, zone: timezone | None
) -> None:
    text = moment.replace(tzinfo=zone).isoformat(sep=separator, timespec=digits)
    kept = datetime.fromisoformat(text)
    times_read = TimeReader()
    expected = milliseconds(kept if zone else kept.replace(tzinfo=IST))
    assert times_read.time_ms(text.encode()) == expected
    assert times_read.time_ms(text.encode()) == expected, "the second time it is remembered"


@given(st.decimals("0.01", "92233720368547758", places=2) | st.decimals("0.01", "99999999999", places=5))
def test_paise_are_exact_and_smaller_parts_round_half_to_even(rupees: Decimal) -> None:
    expected = round(rupees * 100)
    assert paise(f"{rupees:f}".encode()) == expected


def answer(one: RowReader, line: bytes) -> Tick | str | None:
    try:
        return one.tick(line)
    except RowError as refused:
        return refused.reason


@given(junk, st.sampled_from([b"timestamp,price", b"volume,instrument,timestamp,price"]))
def test_any_bytes_are_a_tick_or_blank_or_refused_with_a_reason(line: bytes, header: bytes) -> None:
    answered = answer(reader(header), line)
    if answered is None:
        assert not line.strip()
    else:
        assert isinstance(answered, Tick) or answered.replace("_", "").isalpha()


@given(st.lists(st.sampled_from([b"2022-11-22", b" 09:15:00", b" 09:15", b":01", b".5", b"Z", b"+05:30", b"x"])))
def test_what_a_reader_has_read_before_changes_no_answer(parts: list[bytes]) -> None:
    used = reader()
    for end in range(len(parts)):
        for start in range(end):
            line = b"".join(parts[start:end]) + b",1"
            assert answer(used, line) == answer(reader(), line)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"17848.05", 17848_05),
        (b"17850.5", 17850_50),
        (b"17850", 17850_00),
        (b" 17850. ", 17850_00),
        (b".5", 50),
        (b"+1.10", 1_10),
        (b"1E+05", 100_000_00),
        (b"17848.055", 17848_06),
        (b"17848.045", 17848_04),
        (b"0.005000001", 1),
        (b"0000000000000000000000000000000000000001.00", 1_00),
        (b"92233720368547758.07", LARGEST),
    ],
)
def test_prices_in_many_forms(text: bytes, expected: int) -> None:
    assert paise(text) == expected


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (b"", "price_empty"),
        (b"  ", "price_empty"),
        (b"NaN", "price_nan"),
        (b"-nan", "price_nan"),
        (b"inf", "price_infinite"),
        (b"-Infinity", "price_infinite"),
        (b"0", "price_not_positive"),
        (b"0.004", "price_not_positive"),
        (b"-5", "price_not_positive"),
        (b"1e-999", "price_not_positive"),
        (b"-1e999", "price_not_positive"),
        (b"1e999", "price_invalid"),
        (b"92233720368547758.08", "price_invalid"),
        (b"9" * 2000, "price_invalid"),
        (b"1" * 2000 + b".123", "price_invalid"),
        (b"1_000", "price_invalid"),
        (b"1/3", "price_invalid"),
        (b"0x10", "price_invalid"),
        (b"12\x0034", "price_invalid"),
        ("१२".encode(), "price_invalid"),  # digits, but not the ones that a recorder writes
        (b'"17,848.05"', "price_invalid"),
        (b"17\xff48", "encoding"),
    ],
)
def test_prices_that_cannot_be_used(price: bytes, expected: str) -> None:
    assert reason(b"2022-11-22 09:15:00," + price) == expected


@pytest.mark.parametrize(
    ("text", "after_nine_fifteen_ms"),
    [
        (b"2022-11-22 09:15:00", 0),
        (b"2022-11-22T09:15:00.1", 100),
        (b"2022-11-22 09:15:00.9999", 999),
        (b"2022-11-22T03:45:00Z", 0),
        (b"2022-11-22 03:45:00.25 +0000", 250),
        (b"2022-11-22T03:45:00+00", 0),
        (b"2022-11-21T22:15:00-05:30", 0),
        (b" 2022-11-22 09:15:59 ", 59_000),
    ],
)
def test_times_in_many_forms(text: bytes, after_nine_fifteen_ms: int) -> None:
    assert TimeReader().time_ms(text) - NINE_FIFTEEN_MS == after_nine_fifteen_ms


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"1669088417",
        b"-62135596800",
        b"2022-11-22",
        b"2022-11-22 09:15",
        b"2022-11-22 9:15:00",
        b"2022-11-22 09:15:60",
        b"2022-11-22 24:00:00",
        b"2022-02-29 09:15:00",
        b"0000-01-01 00:00:00",
        b"2022-11-22 09:15:00+5:30",
        b"2022-11-22 09:15:00+15:00",
        b"2022-11-22 09:15:00.",
        b"2022-11-22 09:15:00 IST",
        b"22/11/2022 09:15:00",
    ],
)
def test_times_that_cannot_be_used(text: bytes) -> None:
    assert reason(text + b",17848.05") == "time_invalid"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"2022-11-22 09:15:00", "short_line"),
        (b"2022-11-22 09:15:00,1,2", "short_line"),
        (b'"2022-11-22 09:15:00,17848.05', "short_line"),
        (b'"2022-11-22 09:15:00\xff",17848.05', "encoding"),
        (b"2022-11-22 09:15:00\xff,17848.05", "encoding"),
        (b"2021-12-31 23:59:59,17848.05", "year_not_covered"),
        (b"2027-01-01 00:00:00,17848.05", "year_not_covered"),
        (b"1969-12-31 23:59:59,17848.05", "year_not_covered"),
        (b"2022-11-22 09:15:00,17848.05" + b" " * LONGEST_LINE, "line_too_long"),
    ],
)
def test_lines_that_cannot_be_used(line: bytes, expected: str) -> None:
    assert reason(line) == expected


def test_cover_is_a_matter_of_the_indian_day_also_for_a_time_with_a_zone() -> None:
    assert reader().tick(b"2021-12-31T18:30:00Z,1") is not None
    assert reason(b"2026-12-31T18:30:00Z,1") == "year_not_covered"


@pytest.mark.parametrize(
    ("text", "expected"), [(b"", None), (b" 7 ", 7), (b"1200.0", 1200), (b"9223372036854775807", LARGEST)]
)
def test_volumes_in_many_forms(text: bytes, expected: int | None) -> None:
    tick = reader(b"volume,timestamp,price").tick(text + b",2022-11-22 09:15:00,1")
    assert tick is not None
    assert tick.day_volume == expected


@pytest.mark.parametrize("text", [b"-1", b"1.5", b"many", b"9223372036854775808", b"1e3", b"1" * 3000])
def test_volumes_that_cannot_be_used(text: bytes) -> None:
    assert reason(b"2022-11-22 09:15:00,1," + text, b"timestamp,price,volume") == "volume_invalid"


@pytest.mark.parametrize("text", [b"", b"NSE", b"NSE:", b":5", b"MOON:1", b"NSE:a b"])
def test_instruments_that_cannot_be_used(text: bytes) -> None:
    assert reason(text + b",2022-11-22 09:15:00,1", b"instrument,timestamp,price") == "instrument_invalid"


def test_the_instrument_column_stands_over_the_instrument_of_the_file() -> None:
    tick = reader(b"instrument,timestamp,price", "NSE:99926000").tick(b"1:2885,2022-11-22 09:15:00,1")
    assert tick == Tick("NSE:2885", 1_00, NINE_FIFTEEN_MS)


@pytest.mark.parametrize("line", [b"", b"\n", b"\r\n", b"  \t\n"])
def test_a_blank_line_is_no_row(line: bytes) -> None:
    assert reader().tick(line) is None


@pytest.mark.parametrize(
    "header",
    [b"\xef\xbb\xbftimestamp,price\r\n", b'"timestamp","price"\n', b" Timestamp , PRICE \n", b"price,volume,timestamp"],
)
def test_headers_in_many_forms(header: bytes) -> None:
    assert read_header(header).price in (0, 1)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\n",
        b"timestamp",
        b"timestamp,price,price",
        b"timestamp,price,colour",
        b"time,price",
        b"2022-11-22 09:15:00,17848.05\n",
        "timestamp,price".encode("utf-16"),
        b"\x1f\x8b\x08\x00",
        b"a\rb,c\r",
    ],
)
def test_a_first_line_that_is_no_header_is_refused_in_one_line(header: bytes) -> None:
    with pytest.raises(FeedError, match="the first line must be timestamp,price") as refused:
        read_header(header)
    assert len(str(refused.value).splitlines()) == 1
