"""GE Dinamap and CARESCAPE V100: answers NA, OA, RA and TC; cuff, oximeter and thermometer in one.

Source: a public C# driver that quotes GE 2010566. A message is a blank, two letters, data, two check characters, CR. No
raw reply was ever published: that replies carry the check characters is taken from the commands.

It lies as the manual tells: the last determination is answered for ever, only its age grows; after 5400 s that stands
still too. A temperature is in tenths of Fahrenheit, whatever the display shows.
"""

from __future__ import annotations

from simulators.serial.bedside import Vitals
from simulators.serial.load import US, Beat

_BEAT_S = 0.1
_MEASURES_S = 25.0
_PREDICTS_S = 8.0
_SEES_PULSE_S = 6.0
_OLDEST_S = 5400
_LONGEST_COMMAND = 16
_KEYS = ("start", "stop", "unit")


def message(text: str) -> bytes:
    """One message: `text` without its blank, with check characters and CR."""
    body = f" {text}"
    total = sum(ord(character) - 0x1F for character in body)
    return f"{body}{chr(0x20 + (total >> 6))}{chr(0x20 + (total & 0x3F))}\r".encode("ascii")


class DinamapMonitor:
    """One monitor."""

    kinds = ("systolic", "diastolic", "mean_arterial_pressure", "pulse_rate", "oxygen_saturation", "body_temperature")

    def __init__(self, seed: int = 0) -> None:  # noqa: ARG002 - nothing here is by chance
        self._beat = Beat(_BEAT_S)
        self._vitals = Vitals(self.kinds)
        self._status = "1"
        self._result = "000000000"
        self._rate = 0
        self._measured_us: int | None = None
        self._done_us: int | None = None
        self._temperature = 0
        self._count = 0
        self._predicted_us: int | None = None
        self._probe_done_us: int | None = None
        self._finger_us: int | None = None
        self._fahrenheit = True
        self._heard = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; it says nothing unasked."""
        for at_us in self._beat.advance(dt_s):
            if self._done_us is not None and at_us >= self._done_us:
                self._done_us = None
                self._finish("1", at_us)
            if self._probe_done_us is not None and at_us >= self._probe_done_us:
                self._probe_done_us = None
                self._temperature = round((self._vitals["body_temperature"] * 9 / 5 + 32) * 10)
                self._count, self._predicted_us = (self._count + 1) % 10, at_us
        return b""

    def receive(self, data: bytes) -> bytes:
        """Take commands, cut anyhow; answer each whole one at once."""
        *commands, rest = (self._heard + data).split(b"\r")
        self._heard = rest[-_LONGEST_COMMAND:]
        return b"".join(self._answer(command) for command in commands)

    def attach(self) -> None:
        """Cuff on and started, probe in the mouth, finger in the sensor."""
        self.press("start")
        self._probe_done_us = self._beat.now_us + round(_PREDICTS_S * US)
        self._finger_us = self._beat.now_us

    def detach(self) -> None:
        """All is taken off; a determination that was not over fails."""
        self._finger_us = self._probe_done_us = None
        if self._done_us is not None:
            self._done_us = None
            self._finish("3", self._beat.now_us)

    def press(self, key: str) -> None:
        """Press start, stop or unit (of the temperature's display); ValueError for another key."""
        if key == "start":
            self._done_us = self._beat.now_us + round(_MEASURES_S * US)
        elif key == "stop":
            self._done_us = None
        elif key == "unit":
            self._fahrenheit = not self._fahrenheit
        else:
            raise ValueError(f"this monitor has no key {key!r} ({', '.join(_KEYS)})")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set a vital; ValueError if it cannot."""
        self._vitals.set(kind, value, unit)

    def _finish(self, status: str, at_us: int) -> None:
        vitals = self._vitals
        numbers = (vitals["systolic"], vitals["diastolic"], vitals["mean_arterial_pressure"])
        self._status, self._measured_us = status, at_us
        self._result = "".join(f"{value:03.0f}" for value in numbers) if status == "1" else "000000000"
        self._rate = round(vitals["pulse_rate"]) if status == "1" else 0

    def _answer(self, command: bytes) -> bytes:
        for letters, reply in (("NA", self._na), ("OA", self._oa), ("RA", self._ra), ("TC", self._tc)):
            if command + b"\r" == message(letters):
                return reply()
        return b""

    def _age(self, since_us: int | None, none: str) -> str:
        if since_us is None:
            return none
        return f"{min((self._beat.now_us - since_us) // US, _OLDEST_S):0{len(none)}}"

    def _na(self) -> bytes:
        if self._done_us is not None:
            return message(f"NA010{self._age(self._measured_us, '9999')}000000000")
        return message(f"NA{self._status}10{self._age(self._measured_us, '9999')}{self._result}")

    def _sees_pulse(self) -> bool:
        return self._finger_us is not None and self._beat.now_us - self._finger_us >= _SEES_PULSE_S * US

    def _oa(self) -> bytes:
        if self._finger_us is None:
            return message("OA3000012")
        if not self._sees_pulse():
            return message("OA3000112")
        return message(f"OA1{self._vitals['oxygen_saturation']:03.0f}712")

    def _ra(self) -> bytes:
        if self._finger_us is not None:
            return message(f"RA2{self._vitals['pulse_rate']:03.0f}" if self._sees_pulse() else "RA2-99")
        return message(f"RA3{self._rate:03}" if self._rate else "RA3-99")

    def _tc(self) -> bytes:
        age, unit = self._age(self._predicted_us, "99999"), int(self._fahrenheit)
        if self._probe_done_us is not None:
            return message(f"TC10{self._count}{age}{0:04}{unit}")
        return message(f"TC00{self._count}{age}{self._temperature:04}{unit}")
