"""Question and answer with an Omron cuff, as acts of a session: how it is unlocked, asked, and asked again. Pure.

1. What is written is a word to unlock it, and requests that read. No key is put into a cuff: a cuff with a key must be
   paired by a program that does that, and is read with the key which those programs share. It is no secret.
2. A reply that fails its check is refused and asked for again. After `TRIES` that place is left for the next
   connection; silence after as many tries ends this one.
3. A reply to an earlier question is refused, and the right one waited for. What is left of a broken frame is thrown
   away before the next question: parts of two frames must never make one.

Sources: as omron_frames.py. The token, and that it is no secret: eigger/hass-omron omron_driver.py, `_token_unlock`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from drivers.ble import omron_frames
from drivers.ble.omron_frames import NOT_POSSIBLE, RECEIVE, TRANSMIT, UNLOCK, Reply, Request
from drivers.ble.session import Act, Answer, Found, Hear, Subscribe, VendorConversation, Write
from drivers.contract import Event, Rejected
from drivers.errors import DeviceRefused, LinkFault, LinkTimeout
from drivers.models import Eeprom

ANSWER_S, PART_S = 5.0, 1.0
TRIES = 3
# What userx14/omblepy and eigger/hass-omron put into a cuff that they pair.
KEY = bytes.fromhex("deadbeaf12341234deadbeaf12341234")

_WITH_KEY, _WITH_TOKEN = b"\x01", b"\x11"
_KEY_RIGHT, _TOKEN_RIGHT = b"\x81\x00", b"\x91\x00"
_TOKEN = b"vsgw"  # any four bytes: the cuff says them back
_TOKEN_BYTES = 20
_STALE = 8  # replies to earlier questions, in a row, while one is waited for

_T = TypeVar("_T")
_Talk = Generator[Act | Found | Event, Answer, _T]


@dataclass(frozen=True, slots=True)
class Heard:
    """A reply, and when it was asked for and came (monotonic seconds)."""

    reply: Reply
    asked_at: float
    at: float


def unlock(layout: Eeprom) -> VendorConversation:
    """Say the word that this model wants to hear. Raises LinkError where it is not the right one, or in silence."""
    if layout.unlock == "none":
        return
    word, right = _WITH_KEY + KEY, _KEY_RIGHT
    if layout.unlock == "token":
        word, right = (_WITH_TOKEN + _TOKEN).ljust(_TOKEN_BYTES, b"\0"), _TOKEN_RIGHT + _TOKEN
    yield Subscribe(UNLOCK)
    written = yield Write(UNLOCK, word)
    if written.refused:
        raise DeviceRefused(LinkFault.PAIRING_REFUSED, _not_paired("nothing"))
    heard = yield Hear(UNLOCK, ANSWER_S)
    if heard.refused:
        raise LinkTimeout(LinkFault.NO_ANSWER, "no answer to: unlock")
    if heard.value[: len(right)] != right:
        raise DeviceRefused(LinkFault.PAIRING_REFUSED, _not_paired(heard.value[:2].hex()))


def _not_paired(answer: str) -> str:
    return (
        f"the cuff does not let this gateway in (it answers {answer}): it is not paired, or with another program. Hold"
        " its Bluetooth button until P blinks, then pair it as the notes of its model say"
    )


def read(address: int, count: int, layout: Eeprom) -> _Talk[Heard | None]:
    """Answer what stands in the memory; None where it could not be had. Raises LinkError."""
    heard = yield from ask(omron_frames.read(address, count), layout)
    if heard is not None and len(heard.reply.data) != count:
        yield Rejected("length", heard.reply.data)
        return None
    return heard


def ask(request: Request, layout: Eeprom) -> _Talk[Heard | None]:
    """Answer the reply to `request`; None where each was refused. Raises LinkError: silence, or "not possible"."""
    for tries_left in reversed(range(TRIES)):
        asked = yield Write(TRANSMIT, request.frame)
        if asked.refused:
            raise DeviceRefused(LinkFault.DEVICE_REFUSED, "the cuff takes no question")
        heard = yield from _wait_for(request, asked.began_at, layout)
        if isinstance(heard, Heard):
            return heard
        if heard is None and not tries_left:
            raise LinkTimeout(LinkFault.NO_ANSWER, "no answer to: read its memory")
        yield from _throw_away(layout)
    return None


def _wait_for(request: Request, asked_at: float, layout: Eeprom) -> _Talk[Heard | Rejected | None]:
    """Answer the reply, the frame that was refused in its place, or None for silence."""
    stale: Rejected | None = None
    for _ in range(_STALE):
        first = yield Hear(RECEIVE[0], ANSWER_S)
        if first.refused:
            return None
        heard = first.value
        if layout.channels > 1:
            for channel in RECEIVE[1 : omron_frames.parts(first.value)]:
                part = yield Hear(channel, PART_S)
                heard += part.value
        reply = omron_frames.decode(heard)
        if isinstance(reply, Rejected):
            yield reply
            return reply
        if reply.kind == request.kind and request.address in (None, reply.address):
            if not reply.done:
                raise DeviceRefused(LinkFault.DEVICE_REFUSED, f"the cuff refuses (result {reply.result:02x})")
            return Heard(reply, asked_at, first.at)
        if reply.kind == NOT_POSSIBLE:
            raise DeviceRefused(LinkFault.DEVICE_REFUSED, f"the cuff refuses (result {reply.result:02x})")
        stale = Rejected("unasked", heard)
        yield stale
    return stale


def _throw_away(layout: Eeprom) -> VendorConversation:
    """Refuse what is still there of frames that nobody waits for."""
    for channel in RECEIVE[: layout.channels]:
        for _ in range(_STALE):
            left = yield Hear(channel, 0.0)
            if left.refused:
                break
            yield Rejected("unasked", left.value)
