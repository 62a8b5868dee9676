"""Health o meter Professional scales: the ESC protocol, each model and firmware with its own lies.

Source: Pelstar "Communication Protocols" REV20230711 (STocidlowski/ScaleReporter reference/).

1. A packet is ESC R, I<10-character ID>, W<weight>, H<height>, B<BMI>, [T<tare>], N<c|m>, ESC E; no line end.
   `c` is lb and inches, `m` kg and cm. 0.0 in H or B is "not entered", an all-zero ID is "none keyed in".
2. The scale starts to speak by itself and listens to nothing.
3. What a model does against expectation is a column of the table, never an `if` on a model's name.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from simulators.serial.load import KG_PER, US, Beat, Load, number, wire_unit

SIMULATED_ID = "SIM-000001"  # the marker by which nothing simulated can look real
NO_ID = "0000000000"
_ID_LENGTH = 10
_EMPTY_KG = 0.1  # below this nobody stands there
_CM_PER_INCH = 2.54
_UNITS = ("kg", "lb")
_KEYS = ("unit", "recall", "tare", "zero", "hold", "send", "clear")


@dataclass(frozen=True, slots=True)
class Row:
    """How one model with one firmware behaves."""

    decimals: int = 1
    has_tare: bool = False
    period_s: float = 1.0
    always: bool = False  # speaks also while unlocked and empty: stability is not on the wire
    trailing_s: float = 0.0  # goes on sending the old weight this long after removal
    hold_silences: bool = False
    unit_lags: bool = False  # UNIT shows on the wire only from the next weighing
    resends: bool = False  # RECALL and UNIT send the previous weight once more
    starts_with_6: bool = False  # from the second packet of a stream on: `6R` for ESC R
    bmi_needs_send: bool = False
    garbage_height: bool = False
    tips: bool = False  # a tipped scale shows a false weight until ZERO


ROWS = {
    "health-o-meter-498kl": Row(decimals=2, hold_silences=True),
    "health-o-meter-500kl": Row(has_tare=True, unit_lags=True),
    "health-o-meter-2210kl-am": Row(decimals=3, has_tare=True, trailing_s=30.0),
    "health-o-meter-597kl": Row(),  # 599KL and 752KL too; the unit may change in mid-stream
    "health-o-meter-597kl-3.1.12": Row(always=True),
    "health-o-meter-600kl": Row(period_s=0.25, bmi_needs_send=True),
    "health-o-meter-600kl-3.2.02": Row(period_s=0.25, always=True, garbage_height=True, tips=True),
    "health-o-meter-1100kl-e": Row(has_tare=True),  # 1100 to 3105, "E" serial numbers
    "health-o-meter-1100kl-l": Row(has_tare=True, resends=True, starts_with_6=True, tips=True),  # 1100 to 3001, "L"
}


def packet(
    row: Row, ident: str, weight: float, height: float, bmi: float, tare: float, unit: str, *, continued: bool = False
) -> bytes:
    """One packet; weight and tare in `unit` (kg or lb), height in cm or inches to match, BMI in kg/m2."""
    start = "6R" if continued and row.starts_with_6 else "\x1bR"
    fields = [f"I{ident}", f"W{weight:.{row.decimals}f}", f"H{height:.{row.decimals}f}", f"B{bmi:.{row.decimals}f}"]
    if row.has_tare:
        fields.append(f"T{tare:.{row.decimals}f}")
    fields += ["Nm" if unit == "kg" else "Nc", "E"]
    return (start + "".join(f"\x1b{field}" for field in fields)).encode("ascii")


class HealthOMeterScale:
    """One scale: empty, settling, locked. `model` is an id of config/devices; ValueError for another."""

    def __init__(self, model: str, seed: int = 0) -> None:
        if model not in ROWS:
            raise ValueError(f"no Health o meter row {model!r} ({', '.join(ROWS)})")
        self._row = ROWS[model]
        self._random = random.Random(seed)
        self._beat = Beat(self._row.period_s)
        self._load = Load(seed)
        self._ident = SIMULATED_ID
        self._unit = self._stream_unit = "kg"
        self._height_cm = 0.0
        self._garbage_height = 0.0
        self._fixed_bmi: float | None = None
        self._tare_kg = self._tip_kg = 0.0
        self._locked_kg: float | None = None  # what is on the display and on the wire, net of tare
        self._previous_kg: float | None = None
        self._sent = 0  # packets of this stream
        self._held = self._bmi_sent = False
        self._queued = b""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the scale sends in that time."""
        out, self._queued = self._queued, b""
        for at_us in self._beat.advance(dt_s):
            out += self._speak(at_us)
        return out

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002 - the face asks for it
        """Answer nothing: this protocol is told, not asked."""
        return b""

    def step_on(self, kg: float) -> None:
        """Someone of `kg` kilograms steps on."""
        self._load.put(kg, self._beat.now_us)
        self._bmi_sent = False
        self._garbage_height = self._random.uniform(300.0, 900.0)

    def step_off(self) -> None:
        """The platform is empty again."""
        self._load.put(0.0, self._beat.now_us)

    def press(self, key: str) -> None:
        """Press unit, recall, tare, zero, hold, send or clear (the ID, the height); ValueError for another key."""
        if key == "unit":
            self._unit = _UNITS[1 - _UNITS.index(self._unit)]
            self._resend()
        elif key == "recall":
            self._resend()
        elif key == "tare":
            self._tare_kg = self._load.felt(self._beat.now_us) if self._row.has_tare else 0.0
        elif key == "zero":
            self._tare_kg = self._tip_kg = 0.0
        elif key == "hold":
            self._held = not self._held
        elif key == "send":
            self._bmi_sent = True
        elif key == "clear":
            self._ident, self._height_cm, self._fixed_bmi = NO_ID, 0.0, None
        else:
            raise ValueError(f"this scale has no key {key!r} ({', '.join(_KEYS)})")

    def enter_height(self, cm: float) -> None:
        """Key in a height in centimetres; 0 for none."""
        self._height_cm = cm

    def enter_id(self, text: str) -> None:
        """Key in an ID of at most 10 letters, digits and hyphens; zeros fill it on the left."""
        if len(text) > _ID_LENGTH or not text.isascii() or not text.replace("-", "0").isalnum():
            raise ValueError(f"an ID has 1 to {_ID_LENGTH} letters, digits and hyphens, not {text!r}")
        self._ident = text.rjust(_ID_LENGTH, "0")

    def tip(self, kg: float) -> None:
        """Tip the scale: models with that fault weigh `kg` too much until ZERO."""
        self._tip_kg = kg if self._row.tips else 0.0

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set body_weight (stands there from now on), body_height, bmi, tare, tip, id or unit; ValueError if not."""
        if kind == "id":
            self.enter_id(value)
        elif kind == "unit":
            self._unit = wire_unit(value, _UNITS)
        elif kind == "body_weight":
            self._unit = wire_unit(unit or "kg", _UNITS)
            self.step_on(number(value, kind) * KG_PER[self._unit])
        elif kind == "body_height" and unit in ("", "cm", "[in_i]"):
            self.enter_height(number(value, kind) * (_CM_PER_INCH if unit == "[in_i]" else 1.0))
        elif kind == "bmi" and unit in ("", "kg/m2"):
            self._fixed_bmi = number(value, kind)
        elif kind in ("tare", "tip"):
            kg = number(value, kind) * KG_PER[wire_unit(unit or "kg", _UNITS)]
            if kind == "tip":
                self.tip(kg)
            else:
                self._tare_kg = kg if self._row.has_tare else 0.0
        else:
            raise ValueError(
                f"this scale cannot be set to {kind}={value}{unit}"
                " (body_weight, body_height, bmi, tare, tip, id, unit; units kg, [lb_av], cm, [in_i], kg/m2)"
            )

    def _speak(self, at_us: int) -> bytes:
        gross_kg = self._load.felt(at_us) + self._tip_kg
        if self._load.still(at_us) and gross_kg > _EMPTY_KG:
            self._lock(gross_kg - self._tare_kg)
        elif self._locked_kg is not None and at_us - self._load.changed_us >= self._row.trailing_s * US:
            self._locked_kg = None
            self._sent = 0
        if self._held and self._row.hold_silences:
            return b""
        if self._row.always:
            return self._packet(gross_kg - self._tare_kg, self._unit)
        if self._locked_kg is None:
            return b""
        return self._packet(self._locked_kg, self._stream_unit if self._row.unit_lags else self._unit)

    def _lock(self, net_kg: float) -> None:
        if self._locked_kg is None:
            self._stream_unit = self._unit
        self._locked_kg = self._previous_kg = net_kg

    def _resend(self) -> None:
        if self._row.resends and self._previous_kg is not None:
            self._queued += self._packet(self._previous_kg, self._unit)

    def _packet(self, net_kg: float, unit: str) -> bytes:
        per_unit = KG_PER[unit]
        height_cm = self._height_cm or (self._garbage_height if self._row.garbage_height else 0.0)
        height = height_cm if unit == "kg" else height_cm / _CM_PER_INCH
        continued = self._locked_kg is not None and self._sent > 0
        self._sent += self._locked_kg is not None
        net, tare = net_kg / per_unit, self._tare_kg / per_unit
        return packet(self._row, self._ident, net, height, self._bmi(net_kg), tare, unit, continued=continued)

    def _bmi(self, net_kg: float) -> float:
        if self._fixed_bmi is not None:
            return self._fixed_bmi
        if not self._height_cm or (self._row.bmi_needs_send and not self._bmi_sent):
            return 0.0
        return net_kg / (self._height_cm / 100) ** 2
