"""What is said to a Bluetooth device between connecting and its hanging up: steps, named by the model's row. Pure.

1. `converse` yields acts and is sent the answer to each; whoever runs it owns link, time and patience. It also yields
   what it found out (Identity, Battery, ClockReading, Site, Notice), to which nothing is answered. A ClockSetting is
   answered: refused by the host, which could not take note of it, the clock is left as it is.
2. A characteristic that the device does not have is not asked for. An answer that was refused, or that means nothing,
   is left out: what is known of a device never depends on what it does not say.
3. The clock is read before it is set. What it showed is the only evidence for the age of its records: it is kept with
   the instant in the middle between question and answer, or with that of its arrival where the device tells it unasked.
4. Current Time (2A2B) is the clock where there is one, Date Time (2A08) otherwise: the service of 2A2B has to let it be
   read, and what is read is what is set. Either stamps the records.
5. The clock is the only thing that is ever set, and only while the host knows the time. Consent opens a slot of a
   scale's memory and changes nothing.
6. Subscribing to records is the last step: from then on they come. A scale that has refused consent is not asked for
   any. A vendor's protocol that must be asked comes after it, as a conversation of its own (registry.conversation), of
   the same acts.

Sources: Bluetooth GATT Specification Supplement (2A08, 2A19, 2A24 to 2A29, 2A2B); Current Time Service 1.1, 3.1. The
order for A&D: obniz/obniz-parts, ua651ble; andengineering/AndroidSampleCode#1. A clock that is told, and set only then
and only if it is off by 10 minutes: weliem/blessed-android, BluetoothHandler (Omron); StanfordSpezi/SpeziDevices,
OmronReverseEngineering. Consent: KristianP26/ble-scale-sync, src/scales/renpho.ts and beurer-bf720.ts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from drivers.ble import current_time, date_time, user_data
from drivers.ble.companions import text
from drivers.ble.thermometer import decode_type
from drivers.contract import Battery, ClockReading, ClockSetting, Event, Identity, Notice, Site
from drivers.errors import DeviceRefused, LinkFault
from drivers.models import Consent, DeviceClock, SessionStep

MAKER, MODEL, SERIAL, FIRMWARE = "2A29", "2A24", "2A25", "2A26"
BATTERY, CURRENT_TIME, DATE_TIME, TEMPERATURE_TYPE = "2A19", "2A2B", "2A08", "2A1D"
HEAR_S = 3.0  # a clock that is told comes at once, or not at all

_RESOLUTION_S = 1.0  # Date Time counts seconds, and so do most clocks that could show fractions
_HALF_A_SECOND = timedelta(seconds=0.5)
CLOCK_NOT_SET = "clock_not_set"
_CLOCK_REFUSED = Notice(CLOCK_NOT_SET, "the device does not let its clock be set: set it by hand")
CONSENT_S = 5.0  # a scale's word on a consent code
_CONSENT_REFUSED = (
    "the scale refuses this user or consent code: look at user and consent_file; new batteries may have wiped its users"
)
_NO_WORD = Notice("consent_unanswered", "the scale did not say whether it knows user and consent code")


@dataclass(frozen=True, slots=True)
class Bond:
    """Pair and bond, unless that was done before."""


@dataclass(frozen=True, slots=True)
class Read:
    """Read a characteristic."""

    characteristic: str


@dataclass(frozen=True, slots=True)
class Write:
    """Write a characteristic, with response."""

    characteristic: str
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Turn on a characteristic's indications or notifications. That it `must` be: a refusal ends the session."""

    characteristic: str
    must: bool = True


@dataclass(frozen=True, slots=True)
class Hear:
    """Wait for the next value of a characteristic that was subscribed to; `refused` if none comes in `limit_s`.

    What other characteristics say meanwhile is not lost: it is taken after the conversation.
    """

    characteristic: str
    limit_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Say nothing for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an act, and when it was begun and answered (monotonic seconds). `refused`: the device said no."""

    began_at: float
    at: float
    value: bytes = b""
    refused: bool = False


Act = Bond | Read | Write | Subscribe | Hear | Pause
Found = Identity | Battery | ClockReading | ClockSetting | Site | Notice
Conversation = Generator[Act | Found, Answer, None]
# What a vendor's protocol of question and answer brings by itself, beside all that: records.
VendorConversation = Generator[Act | Found | Event, Answer, None]
LocalTime = Callable[[], tuple[datetime, float] | None]


@dataclass(frozen=True, slots=True)
class _Clock:
    """What is known of a device's clock. `open`: it takes a setting now."""

    reading: ClockReading | None = None
    open: bool = True


def converse(
    steps: Iterable[SessionStep],
    records: Sequence[str],
    has: Collection[str],
    local_time: LocalTime,
    *,
    clock: DeviceClock = DeviceClock(),  # noqa: B008 - it is frozen
    consent: Consent | None = None,
    pause_s: float = 0.0,
) -> Conversation:
    """Go through `steps`; `records` are the characteristics that bring measurements, `has` all that the device has.

    The first of `records` must be there, the others may. `local_time` answers what the device's clock should show,
    without a zone, and the monotonic instant at which; None while nobody knows. `clock` is how the model's clock is
    read and set, `pause_s` how long nothing is said before its records are subscribed to. Its Notices say what the
    device did not let us do. Raises DeviceRefused where the device refuses `consent`.
    """
    known = _Clock(open=not clock.told)
    for step in steps:
        if step == "bond":
            yield Bond()
        elif step == "information":
            yield from _information(has)
        elif step == "battery":
            yield from _battery(has)
        elif step == "site":
            yield from _site(has)
        elif step == "read_clock":
            known = yield from _read_clock(has, clock)
        elif step == "set_clock":
            yield from _set_clock(has, local_time, clock, known)
        elif step == "consent":
            yield from _consent(consent)
        else:
            if pause_s:
                yield Pause(pause_s)
            for characteristic in records:
                if characteristic in has or characteristic == records[0]:
                    yield Subscribe(characteristic)


def _information(has: Collection[str]) -> Conversation:
    said: dict[str, str | None] = {}
    for name, characteristic in _TEXTS.items():
        if characteristic in has:
            answer = yield Read(characteristic)
            said[name] = text(answer.value)
    yield Identity(**said)


_TEXTS: Mapping[str, str] = {"maker": MAKER, "model": MODEL, "serial": SERIAL, "firmware": FIRMWARE}


def _battery(has: Collection[str]) -> Conversation:
    if BATTERY in has:
        answer = yield Read(BATTERY)
        if len(answer.value) == 1 and answer.value[0] <= 100:
            yield Battery(answer.value[0])


def _read_clock(has: Collection[str], clock: DeviceClock) -> Generator[Act | Found, Answer, _Clock]:
    characteristic = _clock_of(has)
    if characteristic is None:
        return _Clock(open=False)
    told = False
    if clock.told:
        answer = yield Subscribe(characteristic, must=False)
        if not answer.refused:
            answer = yield Hear(characteristic, HEAR_S)
        told = not answer.refused
    if not told:
        answer = yield Read(characteristic)
    try:
        shown = _READ[characteristic](answer.value)
    except ValueError:
        shown = None  # refused, or no time: the records cannot be placed, and the gateway says so with each
    if shown is None:
        return _Clock(open=told or not clock.told)
    half_way = 0.0 if told else (answer.at - answer.began_at) / 2
    reading = ClockReading(shown, answer.at - half_way, _RESOLUTION_S + half_way)
    yield reading
    return _Clock(reading, open=told or not clock.told)


def _set_clock(has: Collection[str], local_time: LocalTime, clock: DeviceClock, known: _Clock) -> Conversation:
    now, characteristic = local_time(), _clock_of(has)
    if now is None or characteristic is None or not known.open:
        return
    if known.reading is not None:
        shows = known.reading.shown - now[0]
        off = shows.total_seconds() + now[1] - known.reading.at
        if abs(off) < clock.off_by_s:
            return
    to, at = (now[0] + _HALF_A_SECOND).replace(microsecond=0), now[1]
    noted = yield ClockSetting(to, at)
    if noted.refused:
        return
    answer = yield Write(characteristic, _WRITTEN[characteristic](to))
    if answer.refused:
        yield _CLOCK_REFUSED


def _clock_of(has: Collection[str]) -> str | None:
    return next((characteristic for characteristic in (CURRENT_TIME, DATE_TIME) if characteristic in has), None)


_READ: Mapping[str, Callable[[bytes], datetime | None]] = {
    CURRENT_TIME: current_time.decode,
    DATE_TIME: date_time.decode,
}
_WRITTEN: Mapping[str, Callable[[datetime], bytes]] = {
    CURRENT_TIME: current_time.encode,
    DATE_TIME: date_time.encode,
}


def _site(has: Collection[str]) -> Conversation:
    if TEMPERATURE_TYPE in has:
        answer = yield Read(TEMPERATURE_TYPE)
        told = decode_type(answer.value)
        if isinstance(told, Notice) and told.detail:
            yield Site(told.detail)


def _consent(consent: Consent | None) -> Conversation:
    """Ask for the slot. A model with this step has the control point: that it is missing is no reason to go on."""
    if consent is None:
        return
    yield Subscribe(user_data.CONTROL_POINT)
    asked = yield Write(user_data.CONTROL_POINT, user_data.encode_consent(consent))
    if asked.refused:
        raise DeviceRefused(LinkFault.CONSENT_REFUSED, _CONSENT_REFUSED)
    answer = yield Hear(user_data.CONTROL_POINT, CONSENT_S)
    event = user_data.decode_control_point(answer.value)
    if isinstance(event, Notice) and event.code == "consent_refused":
        raise DeviceRefused(LinkFault.CONSENT_REFUSED, _CONSENT_REFUSED)
    if not isinstance(event, Notice) or event.code != "consent_accepted":
        yield _NO_WORD
