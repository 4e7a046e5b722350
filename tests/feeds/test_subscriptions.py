from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.masters import LISTED, keep
from topology.angel.master.listings import Listings
from topology.feeds.angel.packets import LTP, MODES, QUOTE, SNAP_QUOTE
from topology.feeds.subscriptions import MOST, SOCKET_SIZE, Subscription, SubscriptionError, named, read, spread
from topology.market.instruments import EXCHANGES, Instrument

NIFTY, RELIANCE, SBIN = Instrument("NSE", "99926000"), Instrument("NSE", "2885"), Instrument("NSE", "3045")
instruments = st.builds(
    Instrument, st.sampled_from(sorted(EXCHANGES.values())), st.from_regex("[0-9]{1,6}", fullmatch=True)
)
lists = st.lists(st.tuples(instruments, st.sampled_from(sorted(MODES))), unique_by=lambda pair: pair[0], min_size=1)


@given(lists)
def test_what_is_written_is_read_in_its_order(pairs: list[tuple[Instrument, str]]) -> None:
    text = ",".join(f"{instrument}:{mode}" for instrument, mode in pairs)
    assert read(text, None) == [Subscription(instrument, MODES[mode]) for instrument, mode in pairs]


@given(lists)
def test_repeating_what_was_said_changes_nothing(pairs: list[tuple[Instrument, str]]) -> None:
    once = ",".join(f"{instrument}:{mode}" for instrument, mode in pairs)
    assert read(f"{once}, {once}", None) == read(once, None)


def test_the_mode_is_quote_unless_another_is_named() -> None:
    assert read("1:99926000,1:2885:quote, NSE:3045:SNAP ,2:7:ltp,", None) == [
        (NIFTY, QUOTE), (RELIANCE, QUOTE), (SBIN, SNAP_QUOTE), (Instrument("NFO", "7"), LTP)
    ]  # fmt: skip


def test_a_symbol_stands_for_its_token(listings: Listings) -> None:
    assert read("nifty 50:ltp,NSE:RELIANCE,sbin-eq:snap", listings) == [
        (NIFTY, LTP), (RELIANCE, QUOTE), (SBIN, SNAP_QUOTE)
    ]  # fmt: skip


def test_a_file_has_entries_by_line_or_comma_and_comments(tmp_path: Path, listings: Listings) -> None:
    file = tmp_path / "more.txt"
    file.write_text("# indices\n1:99926000:ltp\n\nsbin , 1:2885:quote # two more\n")
    assert read(f"@{file},5:234230", listings) == [
        (NIFTY, LTP), (SBIN, QUOTE), (RELIANCE, QUOTE), (Instrument("MCX", "234230"), QUOTE)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1:2885,9:2885", ["SUBSCRIBE_TOKENS", "'9:2885'", "13"]),
        ("6:2885:ltp", ["'6:2885'", "exchanges"]),
        ("1:2885:depth", ["'1:2885:depth'", "'depth'", "ltp, quote, snap"]),
        ("1:2885:", ["'1:2885:'", "ltp, quote, snap"]),
        ("RELIANCE-EQ:depth", ["'depth'", "ltp, quote, snap"]),
        ("1:2885:quote:ltp", ["'1:2885:quote'"]),
        ("1:2885,NSE:2885:ltp", ["NSE:2885", "quote and ltp"]),
        ("RELIANCE:ltp", ["several", "NSE:2885 RELIANCE-EQ", "BSE:500325 RELIANCE"]),
        ("RELIANSE-EQ", ["RELIANCE-EQ"]),
        ("@absent.txt", ["@absent.txt", "No such file"]),
        ("@", ["'@'"]),
        ("", ["names no instrument"]),
        (" , ,", ["names no instrument"]),
    ],
)
def test_what_cannot_be_subscribed_to_is_one_line_that_says_why(listings: Listings, text: str, told: list[str]) -> None:
    with pytest.raises(SubscriptionError) as error:
        read(text, listings)
    assert len(str(error.value).splitlines()) == 1
    for part in told:
        assert part in str(error.value)


def test_a_token_that_the_master_does_not_have_is_taken_with_a_warning(listings: Listings) -> None:
    told = list[str]()
    assert read("2:35003:snap,RELIANCE-EQ", listings, warn=told.append) == [
        (Instrument("NFO", "35003"), SNAP_QUOTE), (RELIANCE, QUOTE)
    ]  # fmt: skip
    assert told == ["SUBSCRIBE_TOKENS: '2:35003:snap' is not in the instrument master: it may have expired"]


def test_a_contract_that_has_expired_is_left_out_where_an_earlier_start_has_found_it(
    listings: Listings, tmp_path: Path
) -> None:
    text, seen, told = "NIFTY24NOV2625000CE:snap,1:2885", dict[str, str](), list[str]()
    assert len(read(text, listings, seen=seen, warn=told.append)) == 2
    assert told == []
    rows = [row for row in LISTED if row["symbol"] != "NIFTY24NOV2625000CE"]
    with Listings(keep(tmp_path / "later.db", rows)) as later:
        assert read(text, later, seen=seen, warn=told.append) == [(RELIANCE, QUOTE)]
        assert len(told) == 1
        assert "no longer has 'NIFTY24NOV2625000CE:snap', which was NFO:60002" in told[0]
        with pytest.raises(SubscriptionError, match="the instrument master has no such symbol"):
            read(text, later)
        with pytest.raises(SubscriptionError, match="the instrument master has no such symbol"):
            read("NIFTY24NOV2625000CEE,1:2885", later, seen=seen)
        with pytest.raises(SubscriptionError, match="names no instrument"):
            read(text.partition(",")[0], later, seen=seen, warn=told.append)


def test_an_entry_of_a_file_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "more.txt"
    file.write_text("1:2885\n1:3045,1:7:deep\n")
    with pytest.raises(SubscriptionError, match=r"more.txt, line 2: '1:7:deep'"):
        read(f"@{file}", None)


def test_a_file_does_not_name_another(tmp_path: Path) -> None:
    file = tmp_path / "more.txt"
    file.write_text(f"@{file}\n")
    with pytest.raises(SubscriptionError, match="line 1"):
        read(f"@{file}", None)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "more.txt"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SubscriptionError, match="UTF-8"):
        read(f"@{file}", None)
    with pytest.raises(SubscriptionError, match="Is a directory"):
        read(f"@{tmp_path}", None)


def test_without_a_master_a_symbol_is_refused_with_what_to_run() -> None:
    with pytest.raises(SubscriptionError, match=r"'SBIN-EQ'.*topology instruments update"):
        read("1:2885,SBIN-EQ:ltp", None)


def test_3000_instruments_are_taken_and_one_more_is_not() -> None:
    text = ",".join(f"1:{token}" for token in range(MOST))
    assert len(read(f"{text},1:7", None)) == MOST
    with pytest.raises(SubscriptionError, match=r"3,001 instruments.*3,000"):
        read(f"{text},2:7", None)


def test_with_a_standby_1000_instruments_are_taken_and_one_more_is_not() -> None:
    text = ",".join(f"1:{token}" for token in range(SOCKET_SIZE))
    assert len(read(text, None, standby=True)) == SOCKET_SIZE
    with pytest.raises(SubscriptionError, match=r"1,001 instruments.*FEED_STANDBY=1.*1,000"):
        read(f"{text},2:7", None, standby=True)


def test_those_named_are_known_though_others_are_wrong(listings: Listings) -> None:
    assert named("1:2885, RELIANCE, 9:1, nifty:ltp, 1:7:deep, 1:12345", listings) == [
        RELIANCE, NIFTY, Instrument("NSE", "12345")
    ]  # fmt: skip
    assert named("1:2885,SBIN-EQ", None) == [RELIANCE]


@given(st.integers(0, MOST))
def test_every_subscription_is_on_one_socket_and_no_socket_has_too_many(number: int) -> None:
    subscriptions = [Subscription(Instrument("NSE", str(token)), QUOTE) for token in range(number)]
    sockets = spread(subscriptions)
    dealt = [one for socket in sockets for one in socket]
    assert len(dealt) == number
    assert set(dealt) == set(subscriptions)
    sizes = [len(socket) for socket in sockets]
    assert max(sizes, default=0) <= SOCKET_SIZE
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert len(sockets) == -(-number // SOCKET_SIZE)
    assert spread(list(subscriptions)) == sockets


def test_more_than_three_sockets_hold_are_not_spread() -> None:
    with pytest.raises(ValueError, match="3001"):
        spread([Subscription(NIFTY, QUOTE)] * 3_001)
