"""Nonin Xpod 3011 and 3012, OEM III: an oximeter that streams data format 2, 75 frames a second, 9600 8N1.

A frame is 01, status, pleth, extra, and the sum of these four modulo 256. 25 frames are a packet; its first has the
sync bit. What `extra` is depends on the frame's place in the packet, counted from 1:
    9 %SpO2 for display · 20 and 21 pulse for display (two high bits, then seven)     127 and 511: none
    status: 80 always · 40 disconnected · 20 bad pulse · 10 out of track · 08 sensor alarm · 01 first of a packet
            04 without 02: the pulse is too weak
What is meant for display stays at its last value for ten seconds after a finger went out, beside the alarm: status
before number. A frame that is lost or hurt takes its packet with it.

Source: HP's Cricket header for the Xpod, revision 29 and later; Nonin Onyx II 9560 OEM specification p. 8-11, which
prints the same frames. Nothing is sent. Formats 7, 8 and 13 are others: their frames do not begin with 01.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from drivers.checksums import sum8
from drivers.contract import Codec, Driver, Event, Measurement, Notice, Rejected, Sample
from drivers.framing import NO_FRAME, ScannedCodec, Span
from drivers.listening import Listening
from drivers.models import DeviceModel, Quirks
from drivers.spot_check import SpotCheck

FRAME, FRAMES = 5, 25
PACKET = FRAME * FRAMES

_START = 0x01
_ALWAYS, _BAD_PULSE, _WEAK, _GOOD, _SYNC = 0x80, 0x20, 0x04, 0x02, 0x01
_SATURATION, _PULSE_HIGH, _PULSE_LOW = 8, 19, 20  # places in the packet, counted from 0
_NO_SATURATION, _NO_PULSE = 127, 511
_NO_MEASUREMENT = {
    0x40: ("sensor_disconnected", "no sensor is plugged in, or it does not work"),
    0x08: ("sensor_alarm", "the sensor is on no finger, or what it sees is of no use"),
    0x10: ("out_of_track", "it has seen no good pulse for a while"),
}


def codec(_quirks: Quirks) -> Codec:
    """Answer the codec; this protocol has no quirks."""
    return ScannedCodec(_scan, _decode, longest=PACKET)


def driver(model: DeviceModel) -> Driver:
    """Answer the driver of one device of this model."""
    return SpotCheck(Listening(codec(model.quirks)), model.spot_check)


def _scan(buffer: bytes | bytearray, at: int) -> Span | None:
    """Answer the packet that begins here; where a frame of it is wrong, how far it looked like one."""
    for number in range(FRAMES):
        begin = at + number * FRAME
        frame = bytes(buffer[begin : begin + FRAME])
        if frame[:1] != bytes([_START])[: len(frame)]:
            return Span(begin - at, "truncated") if number else NO_FRAME
        if len(frame) > 1 and (not frame[1] & _ALWAYS or bool(frame[1] & _SYNC) is not (number == 0)):
            return Span(begin - at, "truncated") if number else NO_FRAME
        if len(frame) < FRAME:
            return None
        if sum8(frame[:-1]) != frame[-1]:
            return Span(begin - at + FRAME, "checksum")
    return Span(PACKET)


def _decode(packet: bytes) -> Event:
    statuses, extras = packet[1::FRAME], packet[3::FRAME]
    for bit, notice in _NO_MEASUREMENT.items():
        if any(status & bit for status in statuses):
            return Notice(*notice, packet)
    if any(extras[place] & 0x80 for place in (_SATURATION, _PULSE_HIGH, _PULSE_LOW)):
        return Rejected("bad_number", packet)
    saturation = extras[_SATURATION]
    if saturation in (0, _NO_SATURATION):
        return Notice("no_data", "it shows no saturation", packet)
    if saturation > 100:
        return Rejected("bad_number", packet)
    measurements = [Measurement("oxygen_saturation", Decimal(saturation), "%")]
    pulse = (extras[_PULSE_HIGH] & 0x03) << 7 | extras[_PULSE_LOW]
    if pulse not in (0, _NO_PULSE):
        measurements.append(Measurement("pulse_rate", Decimal(pulse), "/min"))
    return Sample(tuple(measurements), tuple(_flags(statuses)), raw=packet)


def _flags(statuses: Iterable[int]) -> list[str]:
    """Answer what the packet's pulses were like; one that was bad or weak makes the numbers doubtful."""
    bits = list(statuses)
    flags = []
    if any(status & _BAD_PULSE for status in bits):
        flags.append("bad_pulse")
    if any(status & _WEAK and not status & _GOOD for status in bits):
        flags.append("weak_pulse")
    return [*flags, "low_signal"] if flags else []
