"""Rice Lake medical scales: what the PRINT key sends, and what is answered to ESC R ESC E.

Source: Rice Lake 350-10 manual p. 10, 140-10-7 manual p. 20, 160-10-7N manual p. 18, 550-10 operation manual p. 13 and
technical manual p. 19. A print is the weight in nine characters, a blank, lb or kg, a blank, the mode, a blank, CR LF;
the net example has a blank more. With a height keyed in, lines of text come instead. A reply is ESC R, ESC W, with a
height ESC H and ESC B, ESC N and m or c, ESC E.

It lies as the manuals tell: a reply says neither that the load moves nor whether it is too high or too low: both are
999.9, on later models 999.99. PRINT does nothing while the load moves.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulators.serial.load import KG_PER, Beat, Load, number, wire_unit

_PERIOD_S = 0.1
_CAPACITY_KG = 450.0
_FLOOR_KG = -1.0
_EMPTY_KG = 0.1
_CM_PER_INCH = 2.54
_UNITS = ("lb", "kg")
_KEYS = ("unit", "tare", "zero", "print")
_POLL = b"\x1bR\x1bE"
_LONGEST_COMMAND = 16


@dataclass(frozen=True, slots=True)
class Row:
    """How one model behaves. `prints`: who stands on it has PRINT pressed; else it waits to be asked."""

    prints: bool
    patient_lines: bool = False  # the 550-10: PATIENT WEIGHT in any mode
    out_of_range: str = "999.9"


ROWS = {
    "rice-lake-350-10-print": Row(prints=True),
    "rice-lake-550-10-print": Row(prints=True, patient_lines=True),
    "rice-lake-140-10-7-esc": Row(prints=False),
    "rice-lake-150-10-esc": Row(prints=False, out_of_range="999.99"),
}


def weight_line(weight: float, unit: str, mode: str) -> bytes:
    """One print in weighing mode; `mode` is Gross or Net."""
    shown = "Gross" if mode == "Gross" else " Net  "
    return f"{round(weight, 1) + 0.0:>9.1f} {unit} {shown} \r\n".encode("ascii")


def text_line(name: str, value: str) -> bytes:
    """One line of a print in BMI mode."""
    return f"{name} {value}\r\n".encode("ascii")


def reply(weight: str, unit: str, height: float = 0.0, bmi: float = 0.0) -> bytes:
    """One answer; `weight` as it is shown, height in cm or inches to match `unit`."""
    beside = f"\x1bH{height:05.1f}\x1bB{bmi:04.1f}" if height else ""
    return f"\x1bR\x1bW{weight}{beside}\x1bN{'m' if unit == 'kg' else 'c'}\x1bE".encode("ascii")


class RiceLakeScale:
    """One scale. `model` is an id of config/devices; ValueError for another."""

    def __init__(self, model: str, seed: int = 0) -> None:
        if model not in ROWS:
            raise ValueError(f"no Rice Lake row {model!r} ({', '.join(ROWS)})")
        self._row = ROWS[model]
        self._beat = Beat(_PERIOD_S)
        self._load = Load(seed)
        self._unit = "kg"
        self._tare_kg = self._height_cm = 0.0
        self._to_print = False
        self._heard = self._queued = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the scale sends in that time."""
        out, self._queued = self._queued, b""
        for at_us in self._beat.advance(dt_s):
            if self._to_print and self._load.still(at_us):
                self._to_print = False
                out += self._print(at_us)
        return out

    def receive(self, data: bytes) -> bytes:
        """Take requests, cut anyhow; answer each at once."""
        out = b""
        for byte in data:
            self._heard = (self._heard + bytes([byte]))[-_LONGEST_COMMAND:]
            if self._heard.endswith(_POLL):
                out += self._reply(self._beat.now_us)
        return out

    def step_on(self, kg: float) -> None:
        """Someone of `kg` kilograms steps on."""
        self._load.put(kg, self._beat.now_us)
        self._to_print = self._row.prints and kg > _EMPTY_KG

    def step_off(self) -> None:
        """The platform is empty again."""
        self.step_on(0.0)

    def press(self, key: str) -> None:
        """Press unit, tare, zero or print; ValueError for another key."""
        if key == "unit":
            self._unit = _UNITS[1 - _UNITS.index(self._unit)]
        elif key == "tare":
            self._tare_kg = self._load.felt(self._beat.now_us)
        elif key == "zero":
            self._tare_kg = 0.0
        elif key == "print":
            self._queued += self._print(self._beat.now_us)
        else:
            raise ValueError(f"this scale has no key {key!r} ({', '.join(_KEYS)})")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set body_weight (stands there from now on), body_height, tare or unit; ValueError if not."""
        if kind == "body_weight":
            self._unit = wire_unit(unit or "kg", _UNITS)
            self.step_on(number(value, kind) * KG_PER[self._unit])
        elif kind == "body_height" and unit in ("", "cm", "[in_i]"):
            self._height_cm = number(value, kind) * (_CM_PER_INCH if unit == "[in_i]" else 1.0)
        elif kind == "tare":
            self._tare_kg = number(value, kind) * KG_PER[wire_unit(unit or "kg", _UNITS)]
        elif kind == "unit":
            self._unit = wire_unit(value, _UNITS)
        else:
            raise ValueError(f"this scale cannot be set to {kind}={value}{unit} (body_weight, body_height, tare, unit)")

    def _in_range(self, at_us: int) -> bool:
        return _FLOOR_KG <= self._load.felt(at_us) <= _CAPACITY_KG

    def _print(self, at_us: int) -> bytes:
        if not (self._load.still(at_us) and self._in_range(at_us)):
            return b""
        per_unit = KG_PER[self._unit]
        gross, tare = self._load.felt(at_us) / per_unit, self._tare_kg / per_unit
        net, unit = gross - tare, self._unit.upper()
        if not (self._height_cm or self._row.patient_lines):
            return weight_line(net, self._unit, "Net" if self._tare_kg else "Gross")
        if self._row.patient_lines:
            out = text_line("PATIENT WEIGHT", f"{net:.1f} {unit}")
        else:
            lines = (("GROSS WEIGHT", gross), ("TARE WEIGHT", tare), ("NET WEIGHT", net))
            out = b"".join(text_line(name, f"{weight:.1f} {unit}") for name, weight in lines)
        return out + (self._height_lines(net * per_unit) if self._height_cm else b"")

    def _height_lines(self, net_kg: float) -> bytes:
        if self._unit == "kg":
            height = f"{self._height_cm:.1f} CM"
        else:
            tenths = round(self._height_cm / _CM_PER_INCH * 10)
            height = f"{tenths // 120}-{tenths % 120 / 10:04.1f} FT"
        name = "PATIENT B M I  " if self._row.patient_lines else "PATIENT BMI"
        return text_line("PATIENT HEIGHT", height) + text_line(name, f"{self._bmi(net_kg):.1f}")

    def _bmi(self, net_kg: float) -> float:
        return net_kg / (self._height_cm / 100) ** 2

    def _reply(self, at_us: int) -> bytes:
        if not self._in_range(at_us):
            return reply(self._row.out_of_range, self._unit)
        net_kg = self._load.felt(at_us) - self._tare_kg
        net = round(net_kg / KG_PER[self._unit], 1) + 0.0
        if not self._height_cm:
            return reply(f"{net:06.1f}", self._unit)
        height = self._height_cm if self._unit == "kg" else self._height_cm / _CM_PER_INCH
        return reply(f"{net:06.1f}", self._unit, height, self._bmi(net_kg))
