import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.market.instruments import EXCHANGES, Instrument, InstrumentError, default_class

exchange_numbers = st.sampled_from(sorted(EXCHANGES))
tokens = st.from_regex(r"[0-9]{1,25}", fullmatch=True)


@given(exchange_numbers, tokens)
def test_name_and_number_of_an_exchange_mean_the_same(number: int, token: str) -> None:
    by_name, by_number = Instrument.parse(f"{EXCHANGES[number]}:{token}"), Instrument.parse(f"{number}:{token}")
    assert by_name == by_number == Instrument(EXCHANGES[number], token)


@given(exchange_numbers, tokens)
def test_an_instrument_round_trips_through_text(number: int, token: str) -> None:
    instrument = Instrument(EXCHANGES[number], token)
    assert Instrument.parse(str(instrument)) == instrument


@given(st.text().filter(lambda text: ":" not in text), st.text())
def test_whatever_the_text_is_the_message_is_one_line(left: str, right: str) -> None:
    with pytest.raises(InstrumentError) as error:
        Instrument.parse(f"{left}:x{right}")
    assert len(str(error.value).splitlines()) == 1


def test_the_exchanges_have_the_numbers_of_the_broker() -> None:
    assert EXCHANGES == {1: "NSE", 2: "NFO", 3: "BSE", 4: "BFO", 5: "MCX", 7: "NCX", 13: "CDE"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NSE",
        "NSE:",
        ":99926000",
        "nse:99926000",
        "NYSE:1",
        "6:1",
        "01:1",
        "NSE:RELIANCE",
        "NSE:1:2",
        " NSE:1",
        "NSE:१",
    ],
)
def test_what_names_no_instrument_is_refused_and_the_message_says_what_does(text: str) -> None:
    with pytest.raises(InstrumentError, match=r"such as NSE:99926000 \(exchanges: NSE or 1, .*CDE or 13\)"):
        Instrument.parse(text)


@pytest.mark.parametrize(
    ("instrument", "expected"),
    [
        ("NSE:99926000", "index"),
        ("1:99926009", "index"),
        ("NSE:26000", "index"),
        ("NSE:26009", "index"),
        ("BSE:99919000", "index"),
        ("NSE:99919000", "equity"),
        ("BSE:26000", "equity"),
        ("NSE:2885", "equity"),
        ("NSE:999260001", "equity"),
        ("BSE:500325", "equity"),
        ("NFO:26000", "derivative"),
        ("BFO:842364", "derivative"),
        ("MCX:234230", "commodity"),
        ("NCX:1", "commodity"),
        ("CDE:1", "currency"),
    ],
)
def test_the_class_follows_from_exchange_and_token(instrument: str, expected: str) -> None:
    assert default_class(instrument) == expected


def test_no_class_is_guessed_for_what_is_no_instrument() -> None:
    with pytest.raises(InstrumentError):
        default_class("RELIANCE")
