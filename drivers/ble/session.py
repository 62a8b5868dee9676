"""What is said to a Bluetooth device between connecting and its hanging up: steps, named by the model's row. Pure.

1. `converse` yields acts and is sent the answer to each; whoever runs it owns link, time and patience. It also yields
   what it found out (Identity, Battery, ClockReading, ClockSetting, Site, Notice), to which nothing is answered.
2. A characteristic that the device does not have is not asked for. An answer that was refused, or that means nothing,
   is left out: what is known of a device never depends on what it does not say.
3. The clock is read before it is set. What it showed is the only evidence for the age of its records: it is kept with
   the instant in the middle between question and answer.
4. The clock is the only thing that is ever set, and only while the host knows the time. Consent opens a slot of a
   scale's memory and changes nothing.
5. Subscribing is the last step: from then on records come. A scale that has refused consent is not asked for any. A
   vendor's protocol that must be asked comes after it, as a conversation of its own (registry.conversation), of the
   same acts.

Sources: Bluetooth GATT Specification Supplement (2A08, 2A19, 2A24 to 2A29). The order for A&D: obniz/obniz-parts,
ua651ble; andengineering/AndroidSampleCode#1. Consent: KristianP26/ble-scale-sync, src/scales/renpho.ts and
beurer-bf720.ts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from drivers.ble import date_time, user_data
from drivers.ble.thermometer import decode_type
from drivers.contract import Battery, ClockReading, ClockSetting, Event, Identity, Notice, Site
from drivers.errors import DeviceRefused, LinkFault
from drivers.models import Consent, SessionStep

MAKER, MODEL, SERIAL, FIRMWARE = "2A29", "2A24", "2A25", "2A26"
BATTERY, DATE_TIME, TEMPERATURE_TYPE = "2A19", "2A08", "2A1D"
TEXT_LIMIT = 64  # characters of a device's own words: more than any name plate has

_RESOLUTION_S = 1.0  # Date Time counts seconds
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
    """Turn on a characteristic's indications or notifications."""

    characteristic: str


@dataclass(frozen=True, slots=True)
class Hear:
    """Wait for the next value of a characteristic that was subscribed to; `refused` if none comes in `limit_s`."""

    characteristic: str
    limit_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an act, and when it was begun and answered (monotonic seconds). `refused`: the device said no."""

    began_at: float
    at: float
    value: bytes = b""
    refused: bool = False


Act = Bond | Read | Write | Subscribe | Hear
Found = Identity | Battery | ClockReading | ClockSetting | Site | Notice
Conversation = Generator[Act | Found, Answer, None]
# What a vendor's protocol of question and answer brings by itself, beside all that: records.
VendorConversation = Generator[Act | Found | Event, Answer, None]
LocalTime = Callable[[], tuple[datetime, float] | None]


def converse(
    steps: Iterable[SessionStep],
    records: Sequence[str],
    has: Collection[str],
    local_time: LocalTime,
    *,
    consent: Consent | None = None,
) -> Conversation:
    """Go through `steps`; `records` are the characteristics that bring measurements, `has` all that the device has.

    The first of `records` must be there, the others may. `local_time` answers what the device's clock should show,
    without a zone, and the monotonic instant at which; None while nobody knows. Its Notices say what the device did not
    let us do. Raises DeviceRefused where the device refuses `consent`.
    """
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
            yield from _read_clock(has)
        elif step == "set_clock":
            yield from _set_clock(has, local_time)
        elif step == "consent":
            yield from _consent(consent)
        else:
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


def _read_clock(has: Collection[str]) -> Conversation:
    if DATE_TIME not in has:
        return
    answer = yield Read(DATE_TIME)
    try:
        shown = date_time.decode(answer.value)
    except ValueError:
        return  # refused, or no time: the records cannot be placed, and the gateway says so with each
    if shown is not None:
        half_way = (answer.at - answer.began_at) / 2
        yield ClockReading(shown, answer.began_at + half_way, _RESOLUTION_S + half_way)


def _set_clock(has: Collection[str], local_time: LocalTime) -> Conversation:
    now = local_time()
    if now is None or DATE_TIME not in has:
        return
    to, at = (now[0] + _HALF_A_SECOND).replace(microsecond=0), now[1]
    yield ClockSetting(to, at)
    answer = yield Write(DATE_TIME, date_time.encode(to))
    if answer.refused:
        yield _CLOCK_REFUSED


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


def text(value: bytes) -> str | None:
    """Answer a device's own words: UTF-8, padding taken off, what cannot be printed left out; None if none is left."""
    words = value.decode("utf-8", "ignore")[: 2 * TEXT_LIMIT]
    printed = "".join(character for character in words if character.isprintable())
    return printed.strip()[:TEXT_LIMIT].rstrip() or None
