"""A SunTech Advantage OEM module within a monitor: answers what the cuff's pressure is and what the last result was.

Source: a public Java driver's tests (com.ak.comm.bytes.suntech). A reply is 3E, its length, data, and the byte that
brings the sum to zero. The module measures when its monitor's key is pressed; a host that only asks starts nothing.

It lies as such modules do: the last result is answered for ever, while the next is measured and some seconds after the
cuff is empty too; the gauge stands a little off zero; a failed result has zeros and an error. Before the first one all
is zeros.
"""

from __future__ import annotations

from simulators.serial.bedside import Vitals
from simulators.serial.cuff import PRESSURES
from simulators.serial.load import US, Beat

_BEAT_S = 0.1
_EMPTY_AFTER_S = 25.0
_RESULT_AFTER_S = 28.0
_PUMPED_TO, _REST_AT = 180, 2
_WEAK = 1
_LONGEST_COMMAND = 5
_KEYS = ("start", "stop")


def reply(data: bytes) -> bytes:
    """One reply with this data."""
    said = bytes([0x3E, len(data) + 3]) + data
    return said + bytes([-sum(said) % 256])


def pressure(mmhg: int) -> bytes:
    """What is said of the pressure in the cuff."""
    return reply(mmhg.to_bytes(2, "little", signed=True))


def result(
    numbers: tuple[int, int, int, int], error: int = 0, *, beats: int = 0, state: int = 0, test: str = ""
) -> bytes:
    """One result; `numbers` are systolic, diastolic, pulse and mean, `test` the test codes in hex."""
    systolic, diastolic, pulse, mean = (number.to_bytes(2, "little") for number in numbers)
    codes = bytes.fromhex(test or "00" * 8)
    return reply(systolic + diastolic + bytes([beats, state]) + codes + pulse + mean + bytes([error, 0, 0]))


class SuntechModule:
    """One module with its monitor's key."""

    kinds = PRESSURES

    def __init__(self, seed: int = 0) -> None:  # noqa: ARG002 - nothing here is by chance
        self._beat = Beat(_BEAT_S)
        self._vitals = Vitals(self.kinds)
        self._started_us: int | None = None
        self._empty_us = self._done_us = 0
        self._error = 0
        self._last = result((0, 0, 0, 0))
        self._heard = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; it says nothing unasked."""
        for at_us in self._beat.advance(dt_s):
            if self._started_us is not None and at_us >= self._done_us:
                self._started_us = None
                self._last = self._result()
        return b""

    def receive(self, data: bytes) -> bytes:
        """Take commands, cut anyhow; answer the two that read. No other is simulated."""
        out = b""
        for byte in data:
            self._heard = (self._heard + bytes([byte]))[-_LONGEST_COMMAND:]
            if self._heard == b"\x3a\x79\x05\x00\x48":
                out += pressure(self._pressure())
            elif self._heard == b"\x3a\x79\x03\x00\x4a":
                out += self._last
        return out

    def attach(self) -> None:
        """The cuff is put on and the monitor's key pressed."""
        self.press("start")

    def detach(self) -> None:
        """It is taken off: what was being measured fails."""
        if self._started_us is not None and self._beat.now_us < self._empty_us:
            self._error, self._empty_us, self._done_us = _WEAK, self._beat.now_us, self._beat.now_us + 3 * US

    def press(self, key: str) -> None:
        """Press start or stop; ValueError for another key."""
        now_us = self._beat.now_us
        if key == "start":
            self._error, self._started_us = 0, now_us
            self._empty_us, self._done_us = now_us + round(_EMPTY_AFTER_S * US), now_us + round(_RESULT_AFTER_S * US)
        elif key == "stop":
            self._started_us = None
        else:
            raise ValueError(f"this monitor has no key {key!r} ({', '.join(_KEYS)})")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set a vital; ValueError if it cannot."""
        self._vitals.set(kind, value, unit)

    def _pressure(self) -> int:
        if self._started_us is None or self._beat.now_us >= self._empty_us:
            return _REST_AT
        part = (self._empty_us - self._beat.now_us) / (_EMPTY_AFTER_S * US)
        return round(_PUMPED_TO * min(1.0, 0.25 + part))

    def _result(self) -> bytes:
        if self._error:
            return result((0, 0, 0, 0), self._error)
        vitals = self._vitals
        numbers = [round(vitals[kind]) for kind in ("systolic", "diastolic", "pulse_rate", "mean_arterial_pressure")]
        return result((numbers[0], numbers[1], numbers[2], numbers[3]), beats=30, state=1, test="0000000000003107")
