"""Welch Allyn SureTemp Plus module: answers its host's commands, and knows the temperature record.

Source: SureTemp Plus Module OEM Implementation p. 30-36, 42, 59-64. A message: 03 02 10, command, type, size, data, and
the byte that brings the sum of all to zero.

It lies as the manual tells: the probe's own temperature stands in every record and looks like a patient's, in the
holder and in the mouth; the final one stays in the record until the probe is put back.
"""

from __future__ import annotations

import struct

from simulators.serial.bedside import Vitals
from simulators.serial.load import US, Beat

_BEAT_S = 0.173
_READY_S = 1.0
_PREDICTS_S = 8.0
_PREAMBLE = b"\x03\x02\x10"
_COMMAND, _RESPONSE, _REFUSAL = 1, 2, 3
_RECORD, _SET_METHOD, _LOCK_PROBE = 0x941C, 0x2A12, 0x3503
_IDLE, _READY, _PREDICT, _FINAL, _OVER, _UNDER, _MONITOR, _ERROR = 0, 2, 3, 6, 8, 10, 12, 20
_SITES = {"oral": 0, "rectal": 1, "pediatric": 2, "adult": 4}
_HOTTEST_K, _COLDEST_K = 316.5, 299.8
_HOLDER_K, _ROOM_K, _BATTERY = 300.0, 296.604401, 445
_LONGEST = 64
_KEYS = ("monitor", "long", "fail")


def message(command: int, kind: int, data: bytes = b"") -> bytes:
    """One message, either way."""
    body = _PREAMBLE + struct.pack(">HB", command, kind) + struct.pack("<H", len(data)) + data
    return body + bytes((-sum(body) % 256,))


def short_record(kelvin: tuple[float, float], counter: int, what: tuple[int, int, int], error: int = 0) -> bytes:
    """19 bytes: final and probe temperature; `what` is method, site and state."""
    probe = 2 if what[1] == _SITES["rectal"] else 0
    return struct.pack("<ffI3BH2B", *kelvin, counter, *what, error, 1, probe)


def long_record(
    kelvin: tuple[float, float], counters: tuple[int, int], what: tuple[int, int, int], rest: bytes
) -> bytes:
    """33 bytes: a heater count beside the samples', and resistances, ambient temperature and battery at its end."""
    probe = 2 if what[1] == _SITES["rectal"] else 0
    return struct.pack("<ff2H3BH2B", *kelvin, *counters, *what, 0, 1, probe) + rest


class SureTempModule:
    """One module with its probe in the holder."""

    kinds = ("body_temperature",)

    def __init__(self, seed: int = 0) -> None:  # noqa: ARG002 - nothing here is by chance
        self._beat = Beat(_BEAT_S)
        self._vitals = Vitals(self.kinds)
        self._samples = 0
        self._out_at_us: int | None = None
        self._site = "oral"
        self._monitors = self._long = self._fails = False
        self._heard = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; it says nothing unasked."""
        self._samples += len(self._beat.advance(dt_s))
        return b""

    def receive(self, data: bytes) -> bytes:
        """Take commands, cut anyhow; answer each whole one at once, and not a hurt one."""
        self._heard += data
        out = b""
        while (at := self._heard.find(_PREAMBLE)) >= 0 and len(self._heard) >= at + 9:
            end = at + 9 + int.from_bytes(self._heard[at + 6 : at + 8], "little")
            if end > at + _LONGEST:
                self._heard = self._heard[at + 1 :]
                continue
            if len(self._heard) < end:
                break
            command, self._heard = self._heard[at:end], self._heard[end:]
            out += self._answer(command) if sum(command) % 256 == 0 else b""
        self._heard = self._heard[-_LONGEST:]
        return out

    def attach(self) -> None:
        """The probe is taken out and put into the mouth."""
        self._out_at_us = self._beat.now_us

    def detach(self) -> None:
        """It is put back into its holder."""
        self._out_at_us = None

    def press(self, key: str) -> None:
        """Press monitor (or predict), long (records of 33 bytes or 19), fail (an error or none); ValueError if none."""
        if key == "monitor":
            self._monitors = not self._monitors
        elif key == "long":
            self._long = not self._long
        elif key == "fail":
            self._fails = not self._fails
        else:
            raise ValueError(f"this thermometer has no key {key!r} ({', '.join(_KEYS)})")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set the temperature, or the site (oral, rectal, pediatric, adult: axillary); ValueError if it cannot."""
        if kind == "site" and value in _SITES:
            self._site = value
        else:
            self._vitals.set(kind, value, unit)

    def _answer(self, said: bytes) -> bytes:
        command, kind, data = int.from_bytes(said[3:5], "big"), said[5], said[8:-1]
        if kind != _COMMAND:
            return b""
        if command == _RECORD and not data:
            return message(command, _RESPONSE, self._record())
        if command == _SET_METHOD and len(data) == 1:
            self._monitors = data == b"\x01"
            return message(command, _RESPONSE)
        if command == _LOCK_PROBE and len(data) == 1:
            return message(command, _RESPONSE)
        return message(command, _REFUSAL)

    def _record(self) -> bytes:
        final, probe, state = self._feels()
        what = (int(self._monitors), _SITES[self._site], state)
        if not self._long:
            return short_record((final, probe), self._samples, what, 7 if state == _ERROR else 0)
        rest = struct.pack("<fffH", 13500.0, _ROOM_K, 12100.0, _BATTERY)
        return long_record((final, probe), (self._samples % 1000, self._samples & 0xFFFF), what, rest)

    def _feels(self) -> tuple[float, float, int]:
        """Final temperature, the probe's, state."""
        if self._out_at_us is None:
            return 0.0, _HOLDER_K, _IDLE
        if self._fails:
            return 0.0, _HOLDER_K, _ERROR
        patient = self._vitals["body_temperature"] + 273.15
        there_s = (self._beat.now_us - self._out_at_us) / US
        probe = _HOLDER_K + (patient - 0.4 - _HOLDER_K) * min(1.0, there_s / _PREDICTS_S)
        if there_s < _READY_S:
            return 0.0, probe, _READY
        if self._monitors:
            return 0.0, probe, _MONITOR
        if there_s < _PREDICTS_S:
            return 0.0, probe, _PREDICT
        if patient > _HOTTEST_K:
            return patient, probe, _OVER
        return patient, probe, _UNDER if patient < _COLDEST_K else _FINAL
