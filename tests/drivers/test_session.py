"""The dialog with a Bluetooth device, as the steps that it is: no link, no clock but the one that is handed in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.ble import current_time
from drivers.ble.companions import TEXT_LIMIT, text
from drivers.ble.session import (
    BATTERY,
    CONSENT_S,
    CURRENT_TIME,
    DATE_TIME,
    FIRMWARE,
    HEAR_S,
    MAKER,
    MODEL,
    SERIAL,
    TEMPERATURE_TYPE,
    Act,
    Answer,
    Bond,
    Found,
    Hear,
    LocalTime,
    Pause,
    Read,
    Subscribe,
    Write,
    converse,
)
from drivers.contract import Battery, ClockReading, ClockSetting, Identity, Notice, Site
from drivers.errors import DeviceRefused, LinkFault
from drivers.models import Consent, DeviceClock, SessionStep

A_AND_D: tuple[SessionStep, ...] = ("bond", "information", "battery", "site", "read_clock", "set_clock", "subscribe")
ALL = frozenset({MAKER, MODEL, SERIAL, FIRMWARE, BATTERY, DATE_TIME, TEMPERATURE_TYPE, "2A35"})
SAID: Mapping[str, bytes] = {
    MAKER: b"A&D Medical",
    MODEL: b"UA-651BLE",
    SERIAL: b"SIM-000001",
    FIRMWARE: b"1.0",
    BATTERY: b"\x5a",
    TEMPERATURE_TYPE: b"\x06",
    DATE_TIME: bytes.fromhex("ea070b160d0509"),  # 2026-11-22 13:05:09
}
NOW = datetime(2026, 11, 22, 13, 5, 30, 600_000)  # noqa: DTZ001 - a device's clock has no zone
OF_THE_SITE = Consent(1, 4711)
Said = list[Act | Found]


def talk(
    steps: Sequence[SessionStep] = A_AND_D,
    said: Mapping[str, bytes | None] = SAID,
    has: Collection[str] = ALL,
    local_time: LocalTime = lambda: (NOW, 50.0),
    records: Sequence[str] = ("2A35",),
    consent: Consent | None = OF_THE_SITE,
    clock_kind: DeviceClock = DeviceClock(),  # noqa: B008 - it is frozen
    pause_s: float = 0.0,
    noted: bool = True,
) -> Said:
    """Go through the dialog; None in `said` is what the device refuses. Each act takes two seconds.

    `notified` in `said` is what it tells of its clock unasked, at the end of those two seconds. `noted`: whether the
    host takes note that the clock is about to be set.
    """
    heard: Said = []
    conversation = converse(steps, records, has, local_time, clock=clock_kind, consent=consent, pause_s=pause_s)
    clock = 100.0
    answer: Answer | None = None
    while True:
        try:
            act = next(conversation) if answer is None else conversation.send(answer)
        except StopIteration:
            return heard
        heard.append(act)
        answer = None
        if isinstance(act, Hear):
            value = said.get("notified", said.get(act.characteristic if act.characteristic == "2A9F" else "", b""))
            answer = Answer(clock, clock + 2.0, value or b"", refused=not value)
            clock += 10.0
        elif isinstance(act, Act):
            value = said.get(act.characteristic, b"") if isinstance(act, Read) else b""
            refused = value is None or (isinstance(act, Write) and said.get("write", b"") is None)
            refused |= isinstance(act, Subscribe) and not act.must and said.get("subscribe", b"") is None
            answer = Answer(clock, clock + 2.0, value or b"", refused)
            clock += 10.0
        elif isinstance(act, ClockSetting):
            answer = Answer(clock, clock, refused=not noted)


def the_only(kind: type[Found], said: Said) -> Found | None:
    found = [one for one in said if isinstance(one, kind)]
    assert len(found) <= 1
    return found[0] if found else None


def asked(said: Said) -> list[str]:
    return [act.characteristic for act in said if isinstance(act, Read | Write | Subscribe | Hear)]


def test_the_whole_way_of_an_a_and_d() -> None:
    assert talk() == [
        Bond(),
        Read(MAKER),
        Read(MODEL),
        Read(SERIAL),
        Read(FIRMWARE),
        Identity("A&D Medical", "UA-651BLE", "SIM-000001", "1.0"),
        Read(BATTERY),
        Battery(90),
        Read(TEMPERATURE_TYPE),
        Site("oral"),
        Read(DATE_TIME),
        ClockReading(datetime(2026, 11, 22, 13, 5, 9), 171.0, 2.0),  # noqa: DTZ001
        ClockSetting(datetime(2026, 11, 22, 13, 5, 31), 50.0),  # noqa: DTZ001 - rounded, not cut off
        Write(DATE_TIME, bytes.fromhex("ea070b160d051f")),
        Subscribe("2A35"),
    ]


def test_the_steps_are_gone_through_in_their_order() -> None:
    said = talk(("set_clock", "battery", "bond", "subscribe"))
    assert [type(one) for one in said] == [ClockSetting, Write, Read, Battery, Bond, Subscribe]


def test_every_step_that_a_model_may_name_does_something() -> None:
    for step in get_args(SessionStep):
        assert talk((step,)), step


@given(st.frozensets(st.sampled_from(sorted(ALL - {"2A35"}))))
def test_what_the_device_does_not_have_is_not_asked_for(has: frozenset[str]) -> None:
    assert set(asked(talk(has={*has, "2A35"}))) == {*has, "2A35"}


def test_each_characteristic_that_brings_records_is_subscribed() -> None:
    both = {"2A35", "2A1C"}
    assert talk(("subscribe",), records=("2A35", "2A1C"), has=both) == [Subscribe("2A35"), Subscribe("2A1C")]


def test_of_what_brings_records_only_the_first_must_be_there() -> None:
    assert talk(("subscribe",), records=("2A9D", "2A9C"), has={"2A9D"}) == [Subscribe("2A9D")]
    assert talk(("subscribe",), records=("2A9D", "2A9C"), has=()) == [Subscribe("2A9D")]


# ---- consent ---------------------------------------------------------------------------------------------------------


def test_consent_is_asked_for_and_answered_before_any_record_is() -> None:
    said = talk(("consent", "subscribe"), said={"2A9F": bytes.fromhex("200201")}, records=("2A9D",), has={"2A9D"})
    assert said == [
        Subscribe("2A9F"),
        Write("2A9F", bytes.fromhex("02016712")),
        Hear("2A9F", CONSENT_S),
        Subscribe("2A9D"),
    ]
    assert "6712" not in repr(said)
    assert "g\\x12" not in repr(said)


def test_what_the_maker_of_the_renpho_writes() -> None:
    said = talk(("consent",), consent=Consent(170, 9999))
    assert Write("2A9F", bytes.fromhex("02aa0f27")) in said


@pytest.mark.parametrize("answer", ["200205", "200204", "2002ff"])
def test_a_refused_consent_ends_the_session_and_says_what_to_do(answer: str) -> None:
    with pytest.raises(DeviceRefused, match="consent_file") as refused:
        talk(("consent", "subscribe"), said={"2A9F": bytes.fromhex(answer)})
    assert refused.value.fault is LinkFault.CONSENT_REFUSED
    assert "4711" not in str(refused.value)


def test_a_control_point_that_takes_no_request_has_refused() -> None:
    with pytest.raises(DeviceRefused):
        talk(("consent", "subscribe"), said={"write": None})


@pytest.mark.parametrize("answer", ["", "20", "200101", "ff"])
def test_a_scale_that_says_nothing_to_consent_is_told_and_asked_on(answer: str) -> None:
    said = talk(("consent", "subscribe"), said={"2A9F": bytes.fromhex(answer)})
    notice = the_only(Notice, said)
    assert isinstance(notice, Notice)
    assert notice.code == "consent_unanswered"
    assert said[-1] == Subscribe("2A35")


def test_without_a_code_nothing_is_asked() -> None:
    assert talk(("consent", "subscribe"), consent=None) == [Subscribe("2A35")]


def test_what_brings_records_is_asked_for_though_it_is_not_there() -> None:
    """Whoever has the link then says that this is another model."""
    assert talk(("subscribe",), has=()) == [Subscribe("2A35")]


# ---- clock -----------------------------------------------------------------------------------------------------------


def test_the_clock_is_not_set_while_nobody_knows_the_time() -> None:
    said = talk(local_time=lambda: None)
    assert not [one for one in said if isinstance(one, Write | ClockSetting)]
    assert the_only(ClockReading, said) is not None


def test_the_setting_is_told_before_it_is_written() -> None:
    said = talk(("set_clock", "subscribe"))
    assert [type(one) for one in said[:2]] == [ClockSetting, Write]


def test_a_refused_setting_is_a_notice() -> None:
    said = talk(said={**SAID, "write": None})
    notice = the_only(Notice, said)
    assert isinstance(notice, Notice)
    assert notice.code == "clock_not_set"
    assert said.index(notice) == said.index(Write(DATE_TIME, bytes.fromhex("ea070b160d051f"))) + 1
    assert said[-1] == Subscribe("2A35")


def test_a_setting_that_was_taken_is_no_notice() -> None:
    assert the_only(Notice, talk()) is None


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"",
        bytes.fromhex("ea070b160d05"),
        bytes.fromhex("ea070b160d050900"),
        bytes.fromhex("00000b160d0509"),  # no year
        bytes.fromhex("ea0700160d0509"),  # no month
        bytes.fromhex("ea070b000d0509"),  # no day
        bytes.fromhex("ea070d160d0509"),  # month 13
        bytes.fromhex("ea070b16180509"),  # hour 24
        bytes.fromhex("ea07021e0d0509"),  # 30 February
        bytes.fromhex("01000b160d0509"),  # year 1
        b"\xff" * 7,
    ],
)
def test_a_clock_that_shows_no_time_is_set_all_the_same(answer: bytes | None) -> None:
    said = talk(said={**SAID, DATE_TIME: answer})
    assert the_only(ClockReading, said) is None
    assert the_only(ClockSetting, said) is not None


# ---- a clock of two kinds, and one that is told ----------------------------------------------------------------------

CLOCK: tuple[SessionStep, ...] = ("read_clock", "set_clock", "subscribe")
TOLD = DeviceClock(told=True, off_by_s=600)
AT_HALF_PAST = bytes.fromhex("ea070b160d1e00078000")  # 2026-11-22 13:30:00 and a half, a Sunday


def test_a_current_time_is_read_with_its_fractions_and_set() -> None:
    said = talk(CLOCK, {CURRENT_TIME: AT_HALF_PAST}, {CURRENT_TIME, "2A35"})
    assert said == [
        Read(CURRENT_TIME),
        ClockReading(datetime(2026, 11, 22, 13, 30, 0, 500_000), 101.0, 2.0),  # noqa: DTZ001
        ClockSetting(datetime(2026, 11, 22, 13, 5, 31), 50.0),  # noqa: DTZ001
        Write(CURRENT_TIME, bytes.fromhex("ea070b160d051f070001")),
        Subscribe("2A35"),
    ]


def test_of_two_clocks_the_one_that_is_read_is_the_one_that_is_set() -> None:
    said = talk(CLOCK, {CURRENT_TIME: AT_HALF_PAST, DATE_TIME: SAID[DATE_TIME]}, {CURRENT_TIME, DATE_TIME, "2A35"})
    assert asked(said) == [CURRENT_TIME, CURRENT_TIME, "2A35"]


def test_a_clock_that_is_told_is_heard_once_and_set_at_that_moment() -> None:
    said = talk(CLOCK, {"notified": AT_HALF_PAST}, {CURRENT_TIME, "2A35"}, clock_kind=TOLD)
    assert said[:3] == [
        Subscribe(CURRENT_TIME, must=False),
        Hear(CURRENT_TIME, HEAR_S),
        ClockReading(datetime(2026, 11, 22, 13, 30, 0, 500_000), 112.0, 1.0),  # noqa: DTZ001 - as of its arrival
    ]
    assert [type(one) for one in said[3:]] == [ClockSetting, Write, Subscribe]


@pytest.mark.parametrize(("off_s", "written"), [(0, 0), (599, 0), (-599, 0), (601, 1), (-601, 1), (86_400 * 365, 1)])
def test_what_a_device_would_refuse_is_not_written(off_s: float, written: int) -> None:
    shown = current_time.encode(NOW + timedelta(seconds=off_s))
    said = talk(CLOCK, {"notified": shown}, {CURRENT_TIME, "2A35"}, lambda: (NOW, 112.0), clock_kind=TOLD)
    assert len([one for one in said if isinstance(one, Write)]) == written
    assert len([one for one in said if isinstance(one, ClockSetting)]) == written


def test_how_far_a_clock_is_off_counts_the_time_since_it_was_heard() -> None:
    shown = current_time.encode(NOW)
    said = talk(CLOCK, {"notified": shown}, {CURRENT_TIME, "2A35"}, lambda: (NOW, 112.0 - 601), clock_kind=TOLD)
    assert [one for one in said if isinstance(one, Write)]


@pytest.mark.parametrize("notified", [b"", None])
def test_a_clock_that_is_not_told_is_read_and_not_written(notified: bytes | None) -> None:
    said = talk(CLOCK, {"notified": notified, CURRENT_TIME: AT_HALF_PAST}, {CURRENT_TIME, "2A35"}, clock_kind=TOLD)
    assert asked(said) == [CURRENT_TIME, CURRENT_TIME, CURRENT_TIME, "2A35"]
    assert the_only(ClockReading, said) is not None
    assert not [one for one in said if isinstance(one, Write)]


def test_a_clock_that_does_not_let_itself_be_told_is_read_and_not_written() -> None:
    said = talk(CLOCK, {"subscribe": None, CURRENT_TIME: AT_HALF_PAST}, {CURRENT_TIME, "2A35"}, clock_kind=TOLD)
    assert not [one for one in said if isinstance(one, Hear | Write)]
    assert the_only(ClockReading, said) is not None


def test_a_told_clock_that_shows_no_time_is_set() -> None:
    said = talk(CLOCK, {"notified": bytes(10)}, {CURRENT_TIME, "2A35"}, clock_kind=TOLD)
    assert the_only(ClockReading, said) is None
    assert [one for one in said if isinstance(one, Write)]


def test_a_refusal_of_what_was_told_is_a_notice_at_most() -> None:
    said = talk(CLOCK, {"notified": AT_HALF_PAST, "write": None}, {CURRENT_TIME, "2A35"}, clock_kind=TOLD)
    assert isinstance(the_only(Notice, said), Notice)
    assert said[-1] == Subscribe("2A35")


def test_it_is_left_alone_before_its_records_are_subscribed_to() -> None:
    assert talk(("battery", "subscribe"), pause_s=0.1)[-2:] == [Pause(0.1), Subscribe("2A35")]
    assert not [one for one in talk() if isinstance(one, Pause)]


# ---- what it says of itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [b"\x65", b"\xff", b"", b"\x5a\x00", None])
def test_what_is_no_percentage_is_no_battery(answer: bytes | None) -> None:
    assert the_only(Battery, talk(said={**SAID, BATTERY: answer})) is None


@pytest.mark.parametrize(("answer", "percent"), [(b"\x00", 0), (b"\x64", 100)])
def test_a_battery_from_end_to_end(answer: bytes, percent: int) -> None:
    assert the_only(Battery, talk(said={**SAID, BATTERY: answer})) == Battery(percent)


@pytest.mark.parametrize("answer", [b"\x00", b"\x0a", b"", b"\x06\x06", None])
def test_a_place_that_means_nothing_is_left_out(answer: bytes | None) -> None:
    assert the_only(Site, talk(said={**SAID, TEMPERATURE_TYPE: answer})) is None


def test_a_text_that_is_refused_is_left_out_and_the_others_stand() -> None:
    identity = the_only(Identity, talk(said={**SAID, SERIAL: None}))
    assert identity == Identity("A&D Medical", "UA-651BLE", None, "1.0")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"5171200001\x00\x00\x00\x00", "5171200001"),
        (b"  UA-651BLE      ", "UA-651BLE"),
        ("Größe 2".encode(), "Größe 2"),
        (b"A\xff\xfe&D", "A&D"),
        (b"A&D\xc3", "A&D"),  # a letter cut off
        (b"one\r\ntwo\x1b[31m", "onetwo[31m"),
        ("a\u202eb".encode(), "ab"),  # turns what follows around
        (b"", None),
        (b"\x00" * 20, None),
        (b" \t\x00 ", None),
        (b"\xff\xff", None),
        (b"x" * 512, "x" * TEXT_LIMIT),
        (b"x" * (TEXT_LIMIT - 1) + b" y", "x" * (TEXT_LIMIT - 1)),
    ],
)
def test_a_devices_own_words(value: bytes, words: str | None) -> None:
    assert text(value) == words


@given(st.binary(max_size=512))
def test_a_devices_words_are_bounded_and_fit_to_print(value: bytes) -> None:
    words = text(value)
    assert words is None or (0 < len(words) <= TEXT_LIMIT and words.isprintable() and words == words.strip())


# ---- whatever it says ------------------------------------------------------------------------------------------------

_answers: st.SearchStrategy[Mapping[str, bytes | None]] = st.dictionaries(
    st.sampled_from(sorted({*ALL, "write"})), st.none() | st.binary(max_size=20) | st.binary(min_size=7, max_size=7)
)
_times: st.SearchStrategy[Callable[[], tuple[datetime, float] | None]] = st.sampled_from(
    [lambda: None, lambda: (NOW, 50.0)]
)


@given(st.permutations(A_AND_D), _answers, st.frozensets(st.sampled_from(sorted(ALL))), _times)
def test_nothing_that_a_device_says_ends_the_dialog_and_only_its_clock_is_written(
    steps: Sequence[SessionStep], said: Mapping[str, bytes | None], has: frozenset[str], local_time: LocalTime
) -> None:
    heard = talk(steps, said, has, local_time)
    assert heard.count(Subscribe("2A35")) == 1
    writes = [act for act in heard if isinstance(act, Write)]
    assert all(act.characteristic == DATE_TIME and len(act.value) == 7 for act in writes)
    assert len(writes) == (DATE_TIME in has and local_time() is not None)


def test_a_setting_of_which_the_host_cannot_take_note_is_not_made() -> None:
    said = talk(noted=False)
    assert the_only(ClockSetting, said) is not None
    assert not [one for one in said if isinstance(one, Write | Notice)]
    assert isinstance(said[-1], Subscribe), "the records are read all the same"
