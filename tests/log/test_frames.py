"""The bytes of the log: those that were written once must be read for as long as a log is kept."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from topology.log import frames
from topology.log.frames import (
    VERSION,
    Backfill,
    CandleFrame,
    Configure,
    DeadLetter,
    Decoder,
    FeedEvent,
    FeedEventKind,
    FrameError,
    IndicatorFrame,
    IndicatorValue,
    LogHeader,
    Poison,
    TickFrame,
    TimeframeFrame,
    Warmup,
    encode,
    tick_frame,
)
from topology.market import Baseline, Candle, Gap, LateTick, Quote, Tick
from topology.market.candle import BROKER
from topology.market.history import History

CONFIGURE = Configure(7, {60: ["SMA:20", "RSI:14"], 300: []}, {"NSE:2885": "equity_cas"}, '{"name": "x"}', 1000)
CANDLE = Candle("NSE:1594", 1, 1_669_088_700_000, 152_000, 152_105, 151_995, 152_010, 40, 3)
VALUE = IndicatorValue("NSE:1594", "SMA_20", 60, 1_669_088_700_000, 152_001.25)

HEADER = LogHeader(VERSION, "sim-4f2a", "sim", 4)
TICKS = TickFrame(
    VERSION, "sim-4f2a", 2, 17, 1_669_088_701_050, 7, [CONFIGURE],
    [Tick("NSE:99926000", 1_824_485, 1_669_088_701_000), Tick("NSE:1594", 152_010, 1_669_088_700_900, 5_000, 40)],
)  # fmt: skip
QUOTED = msgspec.structs.replace(
    TICKS,
    ticks=[Tick("NSE:1594", 152_010, 1_669_088_700_900, 5_000, 40, 152_100, 151_000)],
    quotes=[Quote("NSE:1594", 1_669_088_700_900, 152_010, 5_000, 151_000, 153_000, bid=152_005, ask=152_010)],
    gaps=[Gap(["NSE:1594"], 1_669_088_690_000), Gap(["NSE:1594"], 1_669_088_690_000, 1_669_088_700_000)],
    baselines=[Baseline("NSE:1594", 1_669_088_699_000, 4_900)],
)
CANDLES = CandleFrame(
    VERSION, "sim-4f2a", 0, 41, 1_669_088_701_050, [], "", [CANDLE], [CANDLE],
    accepted=5, out_of_session=1, late=[LateTick("NSE:1594", 1_669_088_600_000, 101_000)],
)  # fmt: skip
MARKED = msgspec.structs.replace(
    CANDLES, rows=[msgspec.structs.replace(CANDLE, marks=3)], gaps=QUOTED.gaps, gap_volumes={"NSE:1594": 70}
)
TIMEFRAMES = TimeframeFrame(VERSION, "sim-4f2a", 0, 41, 1_669_088_701_050, [], "a gap", [CANDLE], [])
INDICATORS = IndicatorFrame(VERSION, "sim-4f2a", 0, 41, 1_669_088_701_050, [CONFIGURE], "", [VALUE], [VALUE])
HISTORY = History(
    "NSE:1594", 60, [Candle("NSE:1594", 60, 1_669_088_700_000, 152_000, 152_000, 152_000, 152_000, 40, 0, BROKER)], 1
)
TOLD = msgspec.structs.replace(QUOTED, history=[HISTORY, History("NSE:2885", 120, [], 0, reset=True)])
CARRIED_ON = msgspec.structs.replace(MARKED, history=TOLD.history)
USED = msgspec.structs.replace(TIMEFRAMES, history=TOLD.history)
BEGUN = History("NSE:1594", 120, HISTORY.candles[:0], 0, begun=HISTORY.candles, until_ms=1_669_088_760_000)
BACKFILL = Backfill(12, [BEGUN])
WARMUP = Warmup(9, ["NSE:1594", "NSE:2885"], reset=True)
DEAD_LETTER = DeadLetter(VERSION, "sim-4f2a", 3, 41, "an empty record is no TickFrame", b"\x00\xff")

OLDER: list[tuple[msgspec.Struct, str]] = [
    (
        HEADER,
        "9401a873696d2d34663261a373696d04",
    ),
    (
        TICKS,
        "9801a873696d2d346632610211cf000001849d706a7a07919507823c92a6534d413a3230a65253493a3134cd012c9081a84e5345"
        "3a32383835aa6571756974795f636173ad7b226e616d65223a202278227dcd03e89295ac4e53453a3939393236303030ce001bd6"
        "e5cf000001849d706a48c0c095a84e53453a31353934ce000251cacf000001849d7069e4cd138828",
    ),
    (
        CANDLES,
        "9c01a873696d2d346632610029cf000001849d706a7a90a09199a84e53453a3135393401cf000001849d706660ce000251c0ce00"
        "025229ce000251bbce000251ca28039199a84e53453a3135393401cf000001849d706660ce000251c0ce00025229ce000251bbce"
        "000251ca280305019193a84e53453a31353934cf000001849d6edfc0ce00018a88",
    ),
    (
        TIMEFRAMES,
        "9901a873696d2d346632610029cf000001849d706a7a90a561206761709199a84e53453a3135393401cf000001849d706660ce00"
        "0251c0ce00025229ce000251bbce000251ca280390",
    ),
    (
        INDICATORS,
        "9901a873696d2d346632610029cf000001849d706a7a919507823c92a6534d413a3230a65253493a3134cd012c9081a84e53453a"
        "32383835aa6571756974795f636173ad7b226e616d65223a202278227dcd03e8a09195a84e53453a31353934a6534d415f32303c"
        "cf000001849d706660cb41028e0a000000009195a84e53453a31353934a6534d415f32303ccf000001849d706660cb41028e0a00"
        "000000",
    ),
    (
        QUOTED,
        "9b01a873696d2d346632610211cf000001849d706a7a07919507823c92a6534d413a3230a65253493a3134cd012c9081a84e5345"
        "3a32383835aa6571756974795f636173ad7b226e616d65223a202278227dcd03e89197a84e53453a31353934ce000251cacf0000"
        "01849d7069e4cd138828ce00025224ce00024dd891dc0011a84e53453a31353934cf000001849d7069e4ce000251cacd1388ce00"
        "024dd8ce000255a8c0c0c0ce000251c5c0ce000251cac0c0c0c0c0929491a84e53453a31353934cf000001849d703f50c0c39491"
        "a84e53453a31353934cf000001849d703f50cf000001849d706660c39193a84e53453a31353934cf000001849d706278cd1324",
    ),
    (
        MARKED,
        "9e01a873696d2d346632610029cf000001849d706a7a90a0919aa84e53453a3135393401cf000001849d706660ce000251c0ce00"
        "025229ce000251bbce000251ca280303919aa84e53453a3135393401cf000001849d706660ce000251c0ce00025229ce000251bb"
        "ce000251ca28030005019193a84e53453a31353934cf000001849d6edfc0ce00018a88929491a84e53453a31353934cf00000184"
        "9d703f50c0c39491a84e53453a31353934cf000001849d703f50cf000001849d706660c381a84e53453a3135393446",
    ),
    (
        TIMEFRAMES,
        "9901a873696d2d346632610029cf000001849d706a7a90a56120676170919aa84e53453a3135393401cf000001849d706660ce00"
        "0251c0ce00025229ce000251bbce000251ca28030090",
    ),
    (
        DEAD_LETTER,
        "9601a873696d2d346632610329bf616e20656d707479207265636f7264206973206e6f205469636b4672616d65c40200ff",
    ),
    (
        TOLD,
        "9c01a873696d2d346632610211cf000001849d706a7a07919507823c92a6534d413a3230a65253493a3134cd012c9081a84e5345"
        "3a32383835aa6571756974795f636173ad7b226e616d65223a202278227dcd03e89197a84e53453a31353934ce000251cacf0000"
        "01849d7069e4cd138828ce00025224ce00024dd891dc0011a84e53453a31353934cf000001849d7069e4ce000251cacd1388ce00"
        "024dd8ce000255a8c0c0c0ce000251c5c0ce000251cac0c0c0c0c0929491a84e53453a31353934cf000001849d703f50c0c39491"
        "a84e53453a31353934cf000001849d703f50cf000001849d706660c39193a84e53453a31353934cf000001849d706278cd132492"
        "95a84e53453a313539343c919aa84e53453a313539343ccf000001849d706660ce000251c0ce000251c0ce000251c0ce000251c0"
        "28000401c295a84e53453a32383835789000c3",
    ),
    (
        CARRIED_ON,
        "9f01a873696d2d346632610029cf000001849d706a7a90a0919aa84e53453a3135393401cf000001849d706660ce000251c0ce00"
        "025229ce000251bbce000251ca280303919aa84e53453a3135393401cf000001849d706660ce000251c0ce00025229ce000251bb"
        "ce000251ca28030005019193a84e53453a31353934cf000001849d6edfc0ce00018a88929491a84e53453a31353934cf00000184"
        "9d703f50c0c39491a84e53453a31353934cf000001849d703f50cf000001849d706660c381a84e53453a31353934469295a84e53"
        "453a313539343c919aa84e53453a313539343ccf000001849d706660ce000251c0ce000251c0ce000251c0ce000251c028000401"
        "c295a84e53453a32383835789000c3",
    ),
    (
        USED,
        "9a01a873696d2d346632610029cf000001849d706a7a90a56120676170919aa84e53453a3135393401cf000001849d706660ce00"
        "0251c0ce00025229ce000251bbce000251ca280300909295a84e53453a313539343c919aa84e53453a313539343ccf000001849d"
        "706660ce000251c0ce000251c0ce000251c0ce000251c028000401c295a84e53453a32383835789000c3",
    ),
]

GOLDEN: list[tuple[msgspec.Struct, str]] = [
    (
        HEADER,
        "9401a873696d2d34663261a373696d04",
    ),
    (
        QUOTED,
        "9c01a873696d2d346632610211cf000001849d706a7a07919507823c92a6534d413a3230a65253493a3134cd012c9081a84e5345"
        "3a32383835aa6571756974795f636173ad7b226e616d65223a202278227dcd03e89197a84e53453a31353934ce000251cacf0000"
        "01849d7069e4cd138828ce00025224ce00024dd891dc0011a84e53453a31353934cf000001849d7069e4ce000251cacd1388ce00"
        "024dd8ce000255a8c0c0c0ce000251c5c0ce000251cac0c0c0c0c0929491a84e53453a31353934cf000001849d703f50c0c39491"
        "a84e53453a31353934cf000001849d703f50cf000001849d706660c39193a84e53453a31353934cf000001849d706278cd132490",
    ),
    (
        MARKED,
        "9f01a873696d2d346632610029cf000001849d706a7a90a0919aa84e53453a3135393401cf000001849d706660ce000251c0ce00"
        "025229ce000251bbce000251ca280303919aa84e53453a3135393401cf000001849d706660ce000251c0ce00025229ce000251bb"
        "ce000251ca28030005019193a84e53453a31353934cf000001849d6edfc0ce00018a88929491a84e53453a31353934cf00000184"
        "9d703f50c0c39491a84e53453a31353934cf000001849d703f50cf000001849d706660c381a84e53453a313539344690",
    ),
    (
        TIMEFRAMES,
        "9a01a873696d2d346632610029cf000001849d706a7a90a56120676170919aa84e53453a3135393401cf000001849d706660ce00"
        "0251c0ce00025229ce000251bbce000251ca2803009090",
    ),
    (
        INDICATORS,
        "9901a873696d2d346632610029cf000001849d706a7a919507823c92a6534d413a3230a65253493a3134cd012c9081a84e53453a"
        "32383835aa6571756974795f636173ad7b226e616d65223a202278227dcd03e8a09195a84e53453a31353934a6534d415f32303c"
        "cf000001849d706660cb41028e0a000000009195a84e53453a31353934a6534d415f32303ccf000001849d706660cb41028e0a00"
        "000000",
    ),
    (
        TOLD,
        "9c01a873696d2d346632610211cf000001849d706a7a07919507823c92a6534d413a3230a65253493a3134cd012c9081a84e5345"
        "3a32383835aa6571756974795f636173ad7b226e616d65223a202278227dcd03e89197a84e53453a31353934ce000251cacf0000"
        "01849d7069e4cd138828ce00025224ce00024dd891dc0011a84e53453a31353934cf000001849d7069e4ce000251cacd1388ce00"
        "024dd8ce000255a8c0c0c0ce000251c5c0ce000251cac0c0c0c0c0929491a84e53453a31353934cf000001849d703f50c0c39491"
        "a84e53453a31353934cf000001849d703f50cf000001849d706660c39193a84e53453a31353934cf000001849d706278cd132492"
        "97a84e53453a313539343c919aa84e53453a313539343ccf000001849d706660ce000251c0ce000251c0ce000251c0ce000251c0"
        "28000401c2900097a84e53453a32383835789000c39000",
    ),
    (
        CARRIED_ON,
        "9f01a873696d2d346632610029cf000001849d706a7a90a0919aa84e53453a3135393401cf000001849d706660ce000251c0ce00"
        "025229ce000251bbce000251ca280303919aa84e53453a3135393401cf000001849d706660ce000251c0ce00025229ce000251bb"
        "ce000251ca28030005019193a84e53453a31353934cf000001849d6edfc0ce00018a88929491a84e53453a31353934cf00000184"
        "9d703f50c0c39491a84e53453a31353934cf000001849d703f50cf000001849d706660c381a84e53453a31353934469297a84e53"
        "453a313539343c919aa84e53453a313539343ccf000001849d706660ce000251c0ce000251c0ce000251c0ce000251c028000401"
        "c2900097a84e53453a32383835789000c39000",
    ),
    (
        USED,
        "9a01a873696d2d346632610029cf000001849d706a7a90a56120676170919aa84e53453a3135393401cf000001849d706660ce00"
        "0251c0ce00025229ce000251bbce000251ca280300909297a84e53453a313539343c919aa84e53453a313539343ccf000001849d"
        "706660ce000251c0ce000251c0ce000251c0ce000251c028000401c2900097a84e53453a32383835789000c39000",
    ),
    (
        BACKFILL,
        "920c9197a84e53453a31353934789000c2919aa84e53453a313539343ccf000001849d706660ce000251c0ce000251c0ce000251"
        "c0ce000251c0280004cf000001849d7150c0",
    ),
    (
        WARMUP,
        "930992a84e53453a31353934a84e53453a32383835c3",
    ),
    (
        DEAD_LETTER,
        "9601a873696d2d346632610329bf616e20656d707479207265636f7264206973206e6f205469636b4672616d65c40200ff",
    ),
]

FORMATS: list[Decoder[Any]] = [
    frames.HEADER,
    frames.TICK_FRAME,
    frames.CANDLE_FRAME,
    frames.TIMEFRAME_FRAME,
    frames.INDICATOR_FRAME,
]
WITH_FORMAT = [HEADER, TICKS, CANDLES, TIMEFRAMES, INDICATORS]

every_format = pytest.mark.parametrize(
    ("format_", "frame"), list(zip(FORMATS, WITH_FORMAT, strict=True)), ids=lambda value: type(value).__name__
)

# -- Laws

integers = st.integers(-(2**62), 2**62)
names = st.text(max_size=12)
prices = st.integers(1, 2**63 - 1)
quantities = st.none() | st.integers(0, 2**63 - 1)
configures = st.builds(
    Configure, integers, st.dictionaries(st.integers(5, 86_400), st.lists(names, max_size=2), max_size=2),
    st.dictionaries(names, names, max_size=2), names, st.integers(0, 2**62),
)  # fmt: skip
candles = st.builds(Candle, names, *[integers] * 9)
values = st.builds(IndicatorValue, names, names, integers, integers, st.floats(allow_nan=False))
lates = st.builds(LateTick, names, integers, integers)
quotes = st.builds(Quote, names, integers, prices, quantities, *[st.none() | prices] * 5)
gaps = st.builds(Gap, st.lists(names, max_size=2), integers, st.none() | integers)
several = st.lists(candles, max_size=2)
histories = st.builds(History, names, integers, several, st.integers(0, 1), st.booleans(), several, integers)


def lists(rows: st.SearchStrategy[msgspec.Struct]) -> st.SearchStrategy[list[msgspec.Struct]]:
    return st.lists(rows, max_size=2)


common = (st.just(VERSION), names, integers, integers, integers, lists(configures), names)
any_frame = st.one_of(
    st.builds(LogHeader, st.just(VERSION), names, names, integers),
    st.builds(
        TickFrame, st.just(VERSION), names, integers, integers, integers, integers, lists(configures),
        lists(st.builds(Tick, names, prices, integers, quantities, quantities)), lists(quotes), lists(gaps),
        lists(st.builds(Baseline, names, integers, st.integers(0, 2**63 - 1))), lists(histories),
    ),
    st.builds(CandleFrame, *common, lists(candles), lists(candles), integers, integers, lists(lates),
        lists(gaps), st.dictionaries(names, integers, max_size=2), lists(histories)),
    st.builds(TimeframeFrame, *common, lists(candles), lists(candles), lists(histories)),
    st.builds(IndicatorFrame, *common, lists(values), lists(values)),
)  # fmt: skip
FORMAT_OF = {type(frame): format_ for frame, format_ in zip(WITH_FORMAT, FORMATS, strict=True)}


@given(any_frame)
def test_a_frame_survives_its_bytes(frame: msgspec.Struct) -> None:
    assert FORMAT_OF[type(frame)].decode(encode(frame)) == frame


@given(st.sampled_from(FORMATS), st.binary(max_size=60))
@example(frames.TICK_FRAME, b"\xdd\xff\xff\xff\xff\x01")
@example(frames.TICK_FRAME, b"\x91" * 5000)
@example(frames.CANDLE_FRAME, b"\x99\x01\xa1\xff")
def test_bytes_are_a_frame_or_raise_a_frame_error(format_: Decoder[Any], record: bytes) -> None:
    try:
        frame = format_.decode(record)
    except FrameError:
        return
    assert FORMAT_OF[type(frame)] is format_


@given(any_frame, st.sampled_from(FORMATS), st.data())
def test_a_damaged_frame_is_a_frame_or_raises_a_frame_error(
    frame: msgspec.Struct, format_: Decoder[Any], data: st.DataObject
) -> None:
    record = bytearray(encode(frame))
    record[data.draw(st.integers(0, len(record) - 1))] = data.draw(st.integers(0, 255))
    del record[data.draw(st.integers(0, len(record))) :]
    try:
        decoded = format_.decode(bytes(record))
    except FrameError:
        return
    assert FORMAT_OF[type(decoded)] is format_


@given(st.none() | st.binary(max_size=60))
def test_bytes_that_are_no_tick_frame_are_poison_with_a_reason(record: bytes | None) -> None:
    frame = tick_frame(record)
    assert isinstance(frame, TickFrame) or (isinstance(frame, Poison) and frame.reason)


# -- Examples


@pytest.mark.parametrize(("frame", "golden"), GOLDEN, ids=lambda value: type(value).__name__)
def test_the_bytes_of_a_frame_are_those_that_logs_hold(frame: msgspec.Struct, golden: str) -> None:
    assert encode(frame).hex() == golden
    assert msgspec.msgpack.decode(bytes.fromhex(golden), type=type(frame)) == frame


@pytest.mark.parametrize(("frame", "golden"), OLDER, ids=lambda value: type(value).__name__)
def test_a_frame_of_an_older_log_is_read_as_what_it_meant(frame: msgspec.Struct, golden: str) -> None:
    assert msgspec.msgpack.decode(bytes.fromhex(golden), type=type(frame)) == frame


@every_format
def test_a_frame_of_another_version_is_refused(format_: Decoder[Any], frame: msgspec.Struct) -> None:
    other = msgspec.structs.replace(frame, version=VERSION + 1)
    with pytest.raises(FrameError, match=f"a {type(frame).__name__} of version 2, where 1 is read"):
        format_.decode(encode(other))


@every_format
def test_a_frame_without_its_last_required_field_is_refused(format_: Decoder[Any], frame: msgspec.Struct) -> None:
    required = [field for field in msgspec.structs.fields(frame) if field.required]
    fields = msgspec.msgpack.decode(encode(frame))[: len(required) - 1]
    with pytest.raises(FrameError, match=f"not a {type(frame).__name__}"):
        format_.decode(msgspec.msgpack.encode(fields))


@every_format
def test_a_field_that_a_newer_writer_added_at_the_end_is_passed_over(
    format_: Decoder[Any], frame: msgspec.Struct
) -> None:
    longer = [*msgspec.msgpack.decode(encode(frame)), "new"]
    assert format_.decode(msgspec.msgpack.encode(longer)) == frame


@every_format
@pytest.mark.parametrize("record", [None, b""])
def test_an_empty_record_is_no_frame(format_: Decoder[Any], frame: msgspec.Struct, record: bytes | None) -> None:
    with pytest.raises(FrameError, match=f"an empty record is no {type(frame).__name__}"):
        format_.decode(record)


@pytest.mark.parametrize(
    "tick",
    [
        Tick("NSE:1594", 0, 1_669_088_701_000),
        Tick("NSE:1594", -5, 1_669_088_701_000),
        Tick("NSE:1594", 2**63, 1_669_088_701_000),
        Tick("NSE:1594", 5, 1_669_088_701_000, day_volume=-1),
        Tick("NSE:1594", 5, 1_669_088_701_000, quantity=-1),
    ],
)
def test_a_tick_whose_price_or_quantity_cannot_be_is_poison(tick: Tick) -> None:
    poison = tick_frame(encode(msgspec.structs.replace(TICKS, ticks=[tick])))
    assert isinstance(poison, Poison)
    assert "not a TickFrame: Expected `int`" in poison.reason


@given(kind=st.sampled_from(FeedEventKind))
def test_the_kind_of_an_event_is_its_word_and_one_that_is_not_known_yet_can_be_read(kind: FeedEventKind) -> None:
    event, later = FeedEvent(1, "log", 5, kind), FeedEvent(1, "log", 5, "of a later version")
    assert encode(event) == encode(FeedEvent(1, "log", 5, kind.value))
    assert [Decoder(FeedEvent).decode(encode(one)) for one in (event, later)] == [event, later]
