"""Cardinal and Detecto indicators that speak SMA: APEX and 750 plainly, 758C with `W01,` before each frame.

Source: Detecto APEX manual p. 34, APEX-RI manual p. 32; Cardinal Detecto 758C manual p. 36. A frame is LF, status,
range, mode, motion, a reserved blank, ten characters of weight, the unit in three, CR. E takes the place of Z, O and U
and puts dashes where the weight stands. LF W CR or ENQ asks for one frame, LF R CR for the last one again.

It lies as the manual tells: under O the number is there, and looks like a weight.
"""

from __future__ import annotations

from simulators.serial.load import KG_PER, Beat, Load, number, wire_unit

_PERIOD_S = 0.1
_CAPACITY_KG = 270.0
_FLOOR_KG = -1.0
_CENTER_KG = 0.02
_UNITS = ("lb", "kg")
_KEYS = ("unit", "tare", "zero")
_LONGEST_COMMAND = 16


def frame(prefix: str, status: str, mode: str, weight: float, unit: str, *, moves: bool = False) -> bytes:
    """One frame; `weight` is in `unit` (lb, kg). Under E it does not count."""
    decimals = 2 if prefix else 1
    text = "-" * 10 if status == "E" else f"{round(weight, decimals) + 0.0:>10.{decimals}f}"
    return f"\n{prefix}{status}1{mode}{'M' if moves else ' '} {text}{unit:<3}\r".encode("ascii")


class SmaScale:
    """One scale: answers when it is asked, or with `mode=continuous` speaks ten times a second."""

    def __init__(self, prefix: str = "", seed: int = 0) -> None:
        self._prefix = prefix
        self._beat = Beat(_PERIOD_S)
        self._load = Load(seed)
        self._unit = _UNITS[0]
        self._tare_kg = 0.0
        self._broken = self._continuous = False
        self._heard = b""
        self._last = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the scale sends in that time."""
        instants = self._beat.advance(dt_s)
        return b"".join(self._frame(at_us) for at_us in instants) if self._continuous else b""

    def receive(self, data: bytes) -> bytes:
        """Take commands, cut anyhow; answer each at once."""
        out = b""
        for byte in data:
            self._heard = (self._heard + bytes([byte]))[-_LONGEST_COMMAND:]
            if self._heard.endswith((b"\nW\r", b"\x05")):
                out += self._frame(self._beat.now_us)
            elif self._heard.endswith(b"\nR\r"):
                out += self._last
        return out

    def step_on(self, kg: float) -> None:
        """Someone of `kg` kilograms steps on."""
        self._load.put(kg, self._beat.now_us)

    def step_off(self) -> None:
        """The platform is empty again."""
        self.step_on(0.0)

    def press(self, key: str) -> None:
        """Press unit, tare or zero; ValueError for another key."""
        if key == "unit":
            self._unit = _UNITS[1 - _UNITS.index(self._unit)]
        elif key == "tare":
            self._tare_kg = self._load.felt(self._beat.now_us)
        elif key == "zero":
            self._tare_kg = 0.0
        else:
            raise ValueError(f"this scale has no key {key!r} ({', '.join(_KEYS)})")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set body_weight (stands there from now on), unit, mode or zero_error; ValueError says what can be set."""
        if kind == "body_weight":
            self._unit = wire_unit(unit or "kg", _UNITS)
            self.step_on(number(value, kind) * KG_PER[self._unit])
        elif kind == "unit":
            self._unit = wire_unit(value, _UNITS)
        elif kind == "mode" and value in ("asked", "continuous"):
            self._continuous = value == "continuous"
        elif kind == "zero_error" and value in ("yes", "no"):
            self._broken = value == "yes"
        else:
            allowed = "body_weight, unit, mode=asked|continuous, zero_error=yes|no"
            raise ValueError(f"this scale cannot be set to {kind}={value}{unit} ({allowed})")

    def _frame(self, at_us: int) -> bytes:
        gross_kg = self._load.felt(at_us)
        net_kg = gross_kg - self._tare_kg
        still = self._load.still(at_us)
        if self._broken:
            status = "E"
        elif not _FLOOR_KG <= gross_kg <= _CAPACITY_KG:
            status = "O" if gross_kg > 0 else "U"
        else:
            status = "Z" if still and abs(net_kg) < _CENTER_KG else " "
        mode = "N" if self._tare_kg else "G"
        self._last = frame(self._prefix, status, mode, net_kg / KG_PER[self._unit], self._unit, moves=not still)
        return self._last
