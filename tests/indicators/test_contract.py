"""The laws that every indicator obeys, whichever modules there are. A new one needs one more entry in TEXTBOOK."""

import doctest
import pkgutil
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import topology.indicators
from topology.indicators import (
    KEPT_CLOSES,
    TYPES,
    Indicator,
    IndicatorError,
    IndicatorSpec,
    create,
    name,
    parse_specs,
    restore,
)
from topology.market.candle import Candle
from topology.plugins import discover

every_indicator = pytest.mark.parametrize("indicator_type", TYPES.values(), ids=TYPES)

periods = st.integers(1, 40)
# Prices far apart, and close ones that repeat and stand still. The length is drawn first, since lists tend to be short.
prices = st.sampled_from([st.integers(1, 1_000_000_000), st.integers(1_855_000, 1_855_002)])
closes_lists = st.tuples(prices, st.integers(0, 120)).flatmap(
    lambda drawn: st.lists(drawn[0], min_size=drawn[1], max_size=drawn[1])
)


def candle(close: int) -> Candle:
    return Candle("NSE:99926000", 60, 0, close, close, close, close, 0, 1)


def after(indicator: Indicator, closes: list[int]) -> Indicator:
    for close in closes:
        indicator.update(candle(close))
    return indicator


def walk(length: int, *, seed: int = 1) -> list[int]:
    random = Random(seed)
    closes = [1_855_000]
    while len(closes) < length:
        closes.append(closes[-1] + random.randint(-900, 900))
    return closes


# -- The textbook: exact fractions over whole lists, written as weighted sums and not as recursions.


def mean(values: list[int]) -> Fraction:
    return Fraction(sum(values), len(values))


def smoothed(values: list[int], n: int, *, weight: Fraction) -> Fraction:
    """The mean of the first n, then each value with ``weight``, fading by ``1 - weight`` with every later one."""
    later = list(reversed(values[n:]))
    fading = sum((weight * (1 - weight) ** age * value for age, value in enumerate(later)), Fraction(0))
    return (1 - weight) ** len(later) * mean(values[:n]) + fading


def textbook_sma(closes: list[int], n: int) -> Fraction | None:
    return mean(closes[-n:]) if len(closes) >= n else None


def textbook_wma(closes: list[int], n: int) -> Fraction | None:
    weighted = sum(weight * close for weight, close in enumerate(closes[-n:], start=1))
    return Fraction(weighted, sum(range(1, n + 1))) if len(closes) >= n else None


def textbook_ema(closes: list[int], n: int) -> Fraction | None:
    return smoothed(closes, n, weight=Fraction(2, n + 1)) if len(closes) >= n else None


def textbook_smma(closes: list[int], n: int) -> Fraction | None:
    return smoothed(closes, n, weight=Fraction(1, n)) if len(closes) >= n else None


def textbook_rsi(closes: list[int], n: int) -> Fraction | None:
    changes = [new - old for old, new in pairwise(closes)]
    if len(changes) < n:
        return None
    gain = smoothed([max(change, 0) for change in changes], n, weight=Fraction(1, n))
    loss = smoothed([max(-change, 0) for change in changes], n, weight=Fraction(1, n))
    if loss == 0:
        return Fraction(50 if gain == 0 else 100)
    return 100 - 100 / (1 + gain / loss)


TEXTBOOK = {
    "SMA": textbook_sma,
    "EMA": textbook_ema,
    "SMMA": textbook_smma,
    "WMA": textbook_wma,
    "RSI": textbook_rsi,
}


# -- The laws.


@every_indicator
def test_it_has_a_textbook_definition_here(indicator_type: type[Indicator]) -> None:
    assert indicator_type.TYPE in TEXTBOOK, f"write the textbook definition of {indicator_type.TYPE} into TEXTBOOK"


@every_indicator
@given(period=periods, closes=closes_lists)
def test_it_equals_the_textbook_and_is_ready_as_soon_as_the_textbook_has_a_value(
    indicator_type: type[Indicator], period: int, closes: list[int]
) -> None:
    expected = TEXTBOOK[indicator_type.TYPE](closes, period)
    value = after(indicator_type(period), closes).value
    assert (value is None) == (expected is None)
    if value is not None and expected is not None:
        assert value == pytest.approx(float(expected), rel=1e-12)


@every_indicator
@given(period=periods, closes=closes_lists)
def test_update_gives_the_new_value(indicator_type: type[Indicator], period: int, closes: list[int]) -> None:
    indicator = indicator_type(period)
    for close in closes:
        assert indicator.update(candle(close)) == indicator.value


@every_indicator
@given(period=periods, closes=closes_lists)
def test_peek_gives_what_update_will_give(indicator_type: type[Indicator], period: int, closes: list[int]) -> None:
    indicator = indicator_type(period)
    for close in closes:
        assert indicator.peek(candle(close)) == indicator.update(candle(close))


@every_indicator
@given(period=periods, closes=closes_lists, forming=st.integers(1, 10_000_000))
def test_peek_changes_nothing(indicator_type: type[Indicator], period: int, closes: list[int], forming: int) -> None:
    peeked = indicator_type(period)
    for close in closes:
        before = peeked.value, peeked.state()
        peeked.peek(candle(forming))
        assert (peeked.value, peeked.state()) == before
        peeked.update(candle(close))
    untouched = after(indicator_type(period), closes)
    assert (peeked.value, peeked.state()) == (untouched.value, untouched.state())


@every_indicator
@given(period=periods, seen=closes_lists, to_come=closes_lists)
def test_restored_at_any_point_it_goes_on_bit_by_bit(
    indicator_type: type[Indicator], period: int, seen: list[int], to_come: list[int]
) -> None:
    original = after(indicator_type(period), seen)
    assert_same_future(original, restored(original, seen), to_come)


@every_indicator
@pytest.mark.parametrize("seen", [KEPT_CLOSES - 1, KEPT_CLOSES, KEPT_CLOSES + 1, 3 * KEPT_CLOSES])
@pytest.mark.parametrize("shorter_by", [0, 1, 400])
def test_the_kept_closes_suffice_to_restore_the_longest_periods(
    indicator_type: type[Indicator], seen: int, shorter_by: int
) -> None:
    closes = walk(seen)
    original = after(indicator_type(indicator_type.MAX_PERIOD - shorter_by), closes)
    assert_same_future(original, restored(original, closes), walk(50, seed=2))


@every_indicator
@given(period=periods, closes=closes_lists)
def test_an_empty_state_is_computed_anew_from_the_closes(
    indicator_type: type[Indicator], period: int, closes: list[int]
) -> None:
    assert_same_future(
        after(indicator_type(period), closes), indicator_type.restore(period, (), closes), walk(2 * period)
    )


@every_indicator
def test_the_longest_period_is_ready_with_the_kept_closes_and_not_before(indicator_type: type[Indicator]) -> None:
    *closes, last = walk(KEPT_CLOSES)
    indicator = after(indicator_type(indicator_type.MAX_PERIOD), closes)
    assert indicator.value is None
    assert indicator.update(candle(last)) is not None


@every_indicator
def test_its_state_is_small_whatever_the_period_is(indicator_type: type[Indicator]) -> None:
    longest = indicator_type(indicator_type.MAX_PERIOD)
    for close in walk(2 * KEPT_CLOSES):
        longest.update(candle(close))
        assert len(msgspec.msgpack.encode(longest.state())) <= 64


@every_indicator
def test_it_has_an_example_that_works(indicator_type: type[Indicator]) -> None:
    examples = doctest.DocTestFinder(recurse=False).find(
        indicator_type, indicator_type.__name__, globs=vars(sys.modules[indicator_type.__module__]).copy()
    )
    results = [doctest.DocTestRunner().run(example) for example in examples]
    assert sum(result.attempted for result in results) > 0, f"{indicator_type.__name__} has no doctest"
    assert sum(result.failed for result in results) == 0


@every_indicator
def test_its_instances_have_no_dict(indicator_type: type[Indicator]) -> None:
    assert not hasattr(indicator_type(3), "__dict__")


def restored(original: Indicator, seen: list[int]) -> Indicator:
    """What a checkpoint keeps of it: its state through MessagePack, and the newest closes."""
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(original.state()))
    return type(original).restore(original.period, state, seen[-KEPT_CLOSES:])


def assert_same_future(one: Indicator, other: Indicator, to_come: list[int]) -> None:
    for close in to_come:
        assert snapshot(one, close) == snapshot(other, close)
        one.update(candle(close))
        other.update(candle(close))
    assert snapshot(one, 1) == snapshot(other, 1)


def snapshot(indicator: Indicator, forming: int) -> bytes:
    """Value, peek and state, as bytes: equal means bit by bit."""
    return msgspec.msgpack.encode((indicator.value, indicator.peek(candle(forming)), indicator.state()))


# -- Discovery.


def test_every_module_that_is_called_like_an_indicator_gives_it() -> None:
    modules = {module.name for module in pkgutil.iter_modules(topology.indicators.__path__)}
    given = {module for indicator_type in TYPES.values() if (module := indicator_type.TYPE.lower()) in modules}
    assert {indicator_type.TYPE.lower() for indicator_type in TYPES.values()} == given
    assert modules - given == {"indicator", "spec", "seeded_average"}


def test_what_indicators_share_is_none() -> None:
    assert discover(Indicator, "TYPE", ["topology.indicators.seeded_average"]) == {}  # type: ignore[type-abstract]


@every_indicator
def test_it_says_what_a_chart_needs(indicator_type: type[Indicator]) -> None:
    assert indicator_type.TITLE
    assert indicator_type.ABOUT
    assert not indicator_type.ABOUT.endswith(".")
    assert 1 <= indicator_type.DEFAULT_PERIOD <= indicator_type.MAX_PERIOD <= KEPT_CLOSES
    pane = indicator_type.PANE
    if pane is not None and pane.bounds is not None:
        low, high = pane.bounds
        assert all(low < level < high for level in pane.levels)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("raise ZeroDivisionError('on import')", ZeroDivisionError, "on import"),
        (
            "from topology.indicators import Indicator\nclass Other(Indicator):\n    DEFAULT_PERIOD = 9",
            ImportError,
            "broken_indicator must define one Indicator",
        ),
        (
            "from topology.indicators import Indicator\nclass A(Indicator):\n    TYPE = 'A'\n"
            "class B(Indicator):\n    TYPE = 'B'",
            ImportError,
            "broken_indicator must define one Indicator",
        ),
        (
            "from topology.indicators import Indicator\nclass Other(Indicator):\n    TYPE = 'SMA'",
            ImportError,
            "that no other module has",
        ),
    ],
    ids=["fails to import", "defines one without a type", "defines two", "defines a type twice"],
)
def test_a_module_that_gives_no_indicator_fails_loudly(
    source: str, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_indicator.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_indicator", raising=False)
    with pytest.raises(error, match=message):
        discover(Indicator, "TYPE", ["topology.indicators.sma", "broken_indicator"])  # type: ignore[type-abstract]


# -- RSI at its edges.


@given(period=periods, steps=st.lists(st.integers(1, 1000), min_size=41, max_size=100))
def test_rsi_is_exactly_100_without_losses_and_0_without_gains(period: int, steps: list[int]) -> None:
    rising = [1_000_000 + sum(steps[:i]) for i in range(len(steps))]
    assert after(create(f"RSI:{period}"), rising).value == 100
    assert after(create(f"RSI:{period}"), rising[::-1]).value == 0


@given(period=periods, close=st.integers(1, 10_000_000))
def test_rsi_is_exactly_50_while_the_price_stands_still(period: int, close: int) -> None:
    assert after(create(f"RSI:{period}"), [close] * (period + 1)).value == 50


# -- Specs.


@given(st.lists(st.tuples(st.sampled_from(list(TYPES)), st.integers(1, 499)), unique=True))
def test_specs_are_read_back_as_they_are_written_whatever_their_case_and_spaces(pairs: list[tuple[str, int]]) -> None:
    specs = [f"{kind}:{period}" for kind, period in pairs]
    assert parse_specs(",".join(specs)) == specs
    assert parse_specs(" , ".join(f" {kind.lower()} : {period} " for kind, period in pairs)) == specs


@given(st.sampled_from(list(TYPES)), st.integers(1, 499))
def test_a_spec_is_read_back_from_its_text_and_from_its_name(kind: str, period: int) -> None:
    spec = IndicatorSpec(kind, period)
    assert IndicatorSpec.parse(str(spec)) == IndicatorSpec.of_name(spec.name) == spec


def test_a_spec_makes_its_indicator_and_its_name() -> None:
    sma = create("SMA:20")
    assert (sma.TYPE, sma.period, sma.value) == ("SMA", 20, None)
    assert name("SMA:20") == "SMA_20"


def test_a_spec_restores_its_indicator() -> None:
    ema = restore("EMA:2", [30.0], [10, 20, 60])
    assert (ema.TYPE, ema.period, ema.value) == ("EMA", 2, 30.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SMA:9,SMA", "indicator 'SMA': write TYPE:PERIOD, as in SMA:20"),
        ("SMA:9,", "indicator '': write TYPE:PERIOD, as in SMA:20"),
        ("NONE:9", f"indicator 'NONE:9': no type 'NONE'; there are {', '.join(TYPES)}"),
        ("SMA:0", "indicator 'SMA:0': the period of SMA is a whole number from 1 to 500"),
        ("SMA:501", "indicator 'SMA:501': the period of SMA is a whole number from 1 to 500"),
        ("RSI:500", "indicator 'RSI:500': the period of RSI is a whole number from 1 to 499"),
        ("EMA:2.5", "indicator 'EMA:2.5': the period of EMA is a whole number from 1 to 500"),
        ("EMA:-1", "indicator 'EMA:-1': the period of EMA is a whole number from 1 to 500"),
        ("EMA:²", "indicator 'EMA:²': the period of EMA is a whole number from 1 to 500"),
        ("SMA:9,EMA:9,sma:09", "indicator 'SMA:9' is there twice; name each one once"),
    ],
)
def test_a_wrong_spec_is_refused_with_one_line_that_names_it(text: str, message: str) -> None:
    with pytest.raises(IndicatorError) as refused:
        parse_specs(text)
    assert str(refused.value) == message


def test_blank_text_names_no_indicator() -> None:
    assert parse_specs(" ") == []
