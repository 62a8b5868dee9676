"""FORA D40 and IR42 by TaiDoc: meters that keep what they measured, and answer with one record at a time.

Source: markchuang56/iOS-Demo ForaD40.h and YentingChia-Ultron/Ultron-esp32BLE foraThermometer.c (frames, bits of the
time); captures of a D40b and an IR42. A frame: 51, command, four bytes, A3 (the host) or A5 (the device), their sum.

It lies as a memory does: record 0 is told for ever, whoever it was; when it is deleted, an older one stands there. A
thermometer keeps the temperature of a tea cup beside those of people, a D40 the glucose.
"""

from __future__ import annotations

from datetime import datetime

from simulators.serial.bedside import Clock, Vitals
from simulators.serial.load import US, Beat

_BEAT_S = 0.1
_MEASURES_S = {"D40": 30.0, "IR42": 2.0}
_MODELS = {"D40": 3261, "IR42": 1242}
_MODES = {"ear": 0, "forehead": 1, "rectal": 2, "axillary": 3, "object": 4, "room": 5, "child": 6}
_ROOM = 27.0
_READ_MODEL, _READ_TIME, _READ_VALUE, _COUNT = 0x24, 0x25, 0x26, 0x2B
_NOTHING = b"\xff\xff\xff\xff"
_FRAME = 8
_KEYS = ("delete", "glucose", "average")


def frame(command: int, data: bytes, end: int = 0xA5) -> bytes:
    """One frame; `end` is A3 for the host's."""
    body = bytes((0x51, command)) + data + bytes((end,))
    return body + bytes((sum(body) % 256,))


def time(at: datetime, minute_bits: int, hour_bits: int) -> bytes:
    """The four bytes of a record's time, with the bits that stand beside minute and hour."""
    date = (at.year - 2000) << 9 | at.month << 5 | at.day
    return date.to_bytes(2, "little") + bytes((at.minute | minute_bits, at.hour | hour_bits))


class TaidocMeter:
    """One meter with an empty memory: a D40 (pressure) or an IR42 (temperature)."""

    def __init__(self, model: str, seed: int = 0) -> None:  # noqa: ARG002 - nothing here is by chance
        self._model = model
        self.kinds = ("systolic", "diastolic", "pulse_rate") if model == "D40" else ("body_temperature",)
        self._beat = Beat(_BEAT_S)
        self._clock = Clock()
        self._vitals = Vitals(self.kinds)
        self._records: list[tuple[bytes, bytes]] = []
        self._done_us: int | None = None
        self._mode, self._fahrenheit = "forehead", False
        self._irregular = self._averages = False
        self._mean = 0
        self._heard = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; it says nothing unasked."""
        for at_us in self._beat.advance(dt_s):
            if self._done_us is not None and at_us >= self._done_us:
                self._done_us = None
                self._records.insert(0, self._measure(at_us))
        return b""

    def receive(self, data: bytes) -> bytes:
        """Take commands, cut anyhow; answer each whole one at once."""
        self._heard += data
        out = b""
        while len(self._heard) >= _FRAME:
            said = self._heard[:_FRAME]
            if said == frame(said[1], said[2:6], 0xA3):
                out += self._answer(said[1], int.from_bytes(said[2:4], "little"))
                self._heard = self._heard[_FRAME:]
            else:
                self._heard = self._heard[1:]
        return out

    def attach(self) -> None:
        """It is put on and started."""
        self._done_us = self._beat.now_us + round(_MEASURES_S[self._model] * US)

    def detach(self) -> None:
        """It is taken off: what was not over is not kept."""
        self._done_us = None

    def press(self, key: str) -> None:
        """Press delete (the newest record), glucose (keep one, on a D40) or average; ValueError for another key."""
        if key == "delete":
            del self._records[:1]
        elif key == "glucose" and self._model == "D40":
            at = self._clock.at(self._beat.now_us)
            self._records.insert(0, (time(at, 0, 0), (104).to_bytes(2, "little") + bytes((250, 0x97))))
        elif key == "average" and self._model == "D40":
            self._averages = not self._averages
        else:
            raise ValueError(f"this meter has no key {key!r} ({', '.join(_KEYS)})")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set a vital, mode or unit (C, F), irregular (yes, no), mean (the doubtful byte), clock; ValueError if not."""
        if kind == "mode" and value in _MODES and self._model == "IR42":
            self._mode = value
        elif kind == "unit" and value in ("C", "F") and self._model == "IR42":
            self._fahrenheit = value == "F"
        elif kind == "irregular" and value in ("yes", "no") and self._model == "D40":
            self._irregular = value == "yes"
        elif kind == "mean" and value.isdecimal() and int(value) < 256 and self._model == "D40":
            self._mean = int(value)
        elif kind == "clock":
            self._clock = Clock(datetime.fromisoformat(value))
        else:
            self._vitals.set(kind, value, unit)

    def _answer(self, command: int, index: int) -> bytes:
        if command == _READ_MODEL:
            return frame(command, bytes.fromhex(f"{_MODELS[self._model]:04}")[::-1] + b"\x00\x00")
        if command == _COUNT:
            return frame(command, len(self._records).to_bytes(4, "little"))
        if command not in (_READ_TIME, _READ_VALUE):
            return b""
        halves = self._records[index] if index < len(self._records) else (_NOTHING, _NOTHING)
        return frame(command, halves[command - _READ_TIME])

    def _measure(self, at_us: int) -> tuple[bytes, bytes]:
        at, vitals = self._clock.at(at_us), self._vitals
        if self._model == "D40":
            bits = (0x80 | (0x40 if self._irregular else 0), 0x80 if self._averages else 0)
            numbers = (vitals["systolic"], self._mean, vitals["diastolic"], vitals["pulse_rate"])
            return time(at, *bits), bytes(round(number) for number in numbers)
        mode = _MODES[self._mode]
        shown = [_ROOM if self._mode == "room" else vitals["body_temperature"], _ROOM]
        if self._fahrenheit:
            shown = [celsius * 9 / 5 + 32 for celsius in shown]
        value = b"".join(round(10 * degrees).to_bytes(2, "little") for degrees in shown)
        return time(at, (mode & 3) << 6, (mode & 4) << 3 | (0x80 if self._fahrenheit else 0)), value
