"""A terminal that speaks MT-SICS: it answers, and repeats only when asked to.

Source: MT-SICS reference (S, SI, SIR; `S S` stable, `S D` dynamic, `S I` not now, `S +` over, `S -` under, `ES` not
understood); frames after instrumentkit/InstrumentKit tests/test_mettler_toledo/test_mt_sics.py. Lines end CR LF; the
number is right-justified in 10 characters.
"""

from __future__ import annotations

from simulators.serial.load import KG_PER, US, Beat, Load, number, wire_unit

_PERIOD_S = 0.1
_WAIT_S = 3.0  # how long `S` waits for a stable weight before it says `S I`
_CAPACITY_KG = 300.0
_FLOOR_KG = -1.0
_DECIMALS = {"kg": 2, "lb": 2, "g": 1}
_UNITS = tuple(_DECIMALS)
_KEYS = ("unit", "tare", "zero")
_LONGEST_LINE = 64  # bytes; a longer command is none


class MtSicsScale:
    """One scale with its terminal."""

    def __init__(self, seed: int = 0) -> None:
        self._beat = Beat(_PERIOD_S)
        self._load = Load(seed)
        self._unit = "kg"
        self._tare_kg = 0.0
        self._heard = b""
        self._repeating = False
        self._waiting_until_us: int | None = None

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer a weight that was waited for, and what SIR repeats."""
        out = b""
        for at_us in self._beat.advance(dt_s):
            if self._waiting_until_us is not None:
                if self._load.still(at_us):
                    out += self._weight(at_us)
                    self._waiting_until_us = None
                elif at_us >= self._waiting_until_us:
                    out += b"S I\r\n"
                    self._waiting_until_us = None
            elif self._repeating:
                out += self._weight(at_us)
        return out

    def receive(self, data: bytes) -> bytes:
        """Take commands, cut anyhow; answer what can be said at once."""
        *lines, self._heard = (self._heard + data).split(b"\n")
        out = b"".join(self._command(line.removesuffix(b"\r")) for line in lines)
        if len(self._heard) > _LONGEST_LINE:
            self._heard = b""
            out += b"ES\r\n"
        return out

    def step_on(self, kg: float) -> None:
        """Put `kg` kilograms on the platform."""
        self._load.put(kg, self._beat.now_us)

    def step_off(self) -> None:
        """Empty the platform."""
        self.step_on(0.0)

    def press(self, key: str) -> None:
        """Press unit, tare or zero; ValueError for another key."""
        if key == "unit":
            self._unit = _UNITS[(_UNITS.index(self._unit) + 1) % len(_UNITS)]
        elif key == "tare":
            self._tare_kg = self._load.felt(self._beat.now_us)
        elif key == "zero":
            self._tare_kg = 0.0
        else:
            raise ValueError(f"this scale has no key {key!r} ({', '.join(_KEYS)})")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set body_weight (stands there from now on) or unit; ValueError if it cannot."""
        if kind == "body_weight":
            self._unit = wire_unit(unit or "kg", _UNITS)
            self.step_on(number(value, kind) * KG_PER[self._unit])
        elif kind == "unit":
            self._unit = wire_unit(value, _UNITS)
        else:
            raise ValueError(f"this scale cannot be set to {kind}={value}{unit} (body_weight, unit)")

    def _command(self, line: bytes) -> bytes:
        now_us = self._beat.now_us
        if line not in (b"S", b"SI", b"SIR"):
            return b"ES\r\n"
        # Each of the three ends what was asked before.
        self._waiting_until_us = None
        self._repeating = line == b"SIR"
        if line == b"S" and not self._load.still(now_us):
            self._waiting_until_us = now_us + round(_WAIT_S * US)
            return b""
        return self._weight(now_us)

    def _weight(self, at_us: int) -> bytes:
        gross_kg = self._load.felt(at_us)
        if gross_kg > _CAPACITY_KG:
            return b"S +\r\n"
        if gross_kg < _FLOOR_KG:
            return b"S -\r\n"
        decimals = _DECIMALS[self._unit]
        value = round((gross_kg - self._tare_kg) / KG_PER[self._unit], decimals) + 0.0
        status = "S" if self._load.still(at_us) else "D"
        return f"S {status} {value:>10.{decimals}f} {self._unit}\r\n".encode("ascii")
