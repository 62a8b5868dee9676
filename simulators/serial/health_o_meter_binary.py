"""Health o meter Professional chair scale 2595KL and baby scales 522KL, 553KL: the binary protocol, each with its lies.

Source: Pelstar "Communication Protocols" REV20230711, p. 14-17 (STocidlowski/ScaleReporter reference/). A packet is 02
(a baby scale: 02 or 01), 80 for lb or 82 for kg, D7, E4, the weight with its zeros (xxx.x, a baby scale xxx.xxx), CR.
The scale speaks by itself.

They lie as the sheet tells: the chair goes on sending a weight after its owner left; until date code 4215 it sends the
last patient's weight for whoever weighs about the same, and one packet more for UNITS; an arm rest that is pulled up
leaves a false weight. A baby scale sends whatever it shows, moving or not, and each weight twice.

Where staff must press a key between two patients, `nurse` presses it when the platform is empty.
"""

from __future__ import annotations

from simulators.serial.load import KG_PER, US, Beat, Load, number, wire_unit

_EMPTY_KG = 0.1
_CLOSE_KG = 1.0  # the sheet says "close": how close it does not say
_NURSE_S = 2.0
_UNITS = ("kg", "lb")


def packet(weight: float, unit: str, *, baby: bool, start: int = 0x02) -> bytes:
    """One packet; `weight` is in `unit` (kg, lb)."""
    text = f"{weight:07.3f}" if baby else f"{weight:05.1f}"
    return bytes([start, 0x82 if unit == "kg" else 0x80, 0xD7, 0xE4]) + text.encode("ascii") + b"\r"


class ChairScale:
    """A 2595KL; `early`: made before date code 4215."""

    def __init__(self, *, early: bool = False, seed: int = 0) -> None:
        self._early = early
        self._beat = Beat(0.25 if early else 1.0)
        self._load = Load(seed)
        self._unit = "kg"
        self._nurse = not early  # the early one needs none
        self._locked_kg: float | None = None
        self._previous_kg: float | None = None
        self._false_kg: float | None = None
        self._untouched = True  # nobody has sat there since it was switched on
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
        """Someone of `kg` kilograms sits down."""
        self._load.put(kg, self._beat.now_us)
        self._untouched = self._untouched and kg <= _EMPTY_KG

    def step_off(self) -> None:
        """The chair is empty again."""
        self.step_on(0.0)

    def press(self, key: str) -> None:
        """Press unit, reweigh or zero; ValueError for another key."""
        if key == "unit":
            self._unit = _UNITS[1 - _UNITS.index(self._unit)]
            if self._early and self._locked_kg is None and self._previous_kg is not None:
                self._queued += self._packet(self._previous_kg)
        elif key in ("reweigh", "zero"):
            self._locked_kg = self._false_kg = None
        else:
            raise ValueError(f"this scale has no key {key!r} (unit, reweigh, zero)")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set body_weight (sits there from now on), unit, arm_rest (a false weight) or nurse; ValueError if not."""
        if kind == "body_weight":
            self._unit = wire_unit(unit or "kg", _UNITS)
            self.step_on(number(value, kind) * KG_PER[self._unit])
        elif kind == "unit":
            self._unit = wire_unit(value, _UNITS)
        elif kind == "arm_rest":
            self._false_kg = number(value, kind) * KG_PER[wire_unit(unit or "kg", _UNITS)]
        elif kind == "nurse" and value in ("yes", "no"):
            self._nurse = value == "yes"
        else:
            raise ValueError(
                f"this scale cannot be set to {kind}={value}{unit} (body_weight, unit, arm_rest, nurse=yes|no)"
            )

    def _speak(self, at_us: int) -> bytes:
        if self._false_kg is not None:
            return self._packet(self._false_kg)
        felt_kg, still = self._load.felt(at_us), self._load.still(at_us)
        if still and felt_kg > _EMPTY_KG:
            if self._locked_kg is None:
                self._lock(felt_kg)
        elif self._early or (still and self._nurse and at_us - self._load.changed_us >= _NURSE_S * US):
            self._locked_kg = None
        if self._locked_kg is None:
            return self._packet(0.0) if self._early and self._untouched else b""
        return self._packet(self._locked_kg)

    def _lock(self, felt_kg: float) -> None:
        before = self._previous_kg if self._early else None
        self._locked_kg = before if before is not None and abs(before - felt_kg) < _CLOSE_KG else felt_kg
        self._previous_kg = self._locked_kg

    def _packet(self, kg: float) -> bytes:
        return packet(kg / KG_PER[self._unit], self._unit, baby=False)


class BabyScale:
    """A 522KL, or a 553KL that holds (`holds`) what it has locked until RELEASE. `soh`: its packets begin with 01."""

    def __init__(self, *, holds: bool = False, soh: bool = False, seed: int = 0) -> None:
        self._holds = holds
        self._start = 0x01 if soh else 0x02
        self._beat = Beat(1.0)
        self._load = Load(seed)
        self._unit = "kg"
        self._nurse = holds
        self._tare_kg = 0.0
        self._locked_kg: float | None = None
        self._silent = False

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the scale sends in that time."""
        return b"".join(self._speak(at_us) for at_us in self._beat.advance(dt_s))

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002 - the face asks for it
        """Answer nothing: this protocol is told, not asked."""
        return b""

    def step_on(self, kg: float) -> None:
        """A baby of `kg` kilograms is laid down."""
        self._load.put(kg, self._beat.now_us)

    def step_off(self) -> None:
        """The baby is taken up."""
        self.step_on(0.0)

    def press(self, key: str) -> None:
        """Press unit, hold or zero; ValueError for another key."""
        if key == "unit":
            self._unit = _UNITS[1 - _UNITS.index(self._unit)]
        elif key == "hold" and self._holds:
            self._locked_kg = None
        elif key == "hold":
            self._silent = not self._silent
        elif key == "zero":
            self._tare_kg = self._load.felt(self._beat.now_us)
            self._locked_kg = None
        else:
            raise ValueError(f"this scale has no key {key!r} (unit, hold, zero)")

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set body_weight (lies there from now on), unit or nurse; ValueError if not."""
        if kind == "body_weight":
            self._unit = wire_unit(unit or "kg", _UNITS)
            self.step_on(number(value, kind) * KG_PER[self._unit])
        elif kind == "unit":
            self._unit = wire_unit(value, _UNITS)
        elif kind == "nurse" and value in ("yes", "no"):
            self._nurse = value == "yes"
        else:
            raise ValueError(f"this scale cannot be set to {kind}={value}{unit} (body_weight, unit, nurse=yes|no)")

    def _speak(self, at_us: int) -> bytes:
        net_kg, still = self._load.felt(at_us) - self._tare_kg, self._load.still(at_us)
        if self._holds and still and net_kg > _EMPTY_KG and self._locked_kg is None:
            self._locked_kg = net_kg
        elif self._nurse and still and net_kg <= _EMPTY_KG:
            self._locked_kg = None
        shown_kg = net_kg if self._locked_kg is None else self._locked_kg
        if self._silent or shown_kg < -0.0005:  # under zero the display says so, and nothing is sent
            return b""
        said = packet(max(shown_kg, 0.0) / KG_PER[self._unit], self._unit, baby=True, start=self._start)
        return said * (2 if round(shown_kg, 3) else 1)
