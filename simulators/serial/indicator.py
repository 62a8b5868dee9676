"""What weighing indicators share, whatever they speak: a platform, a unit, a tare, and keys for them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from simulators.serial.load import KG_PER, Beat, Load, number, wire_unit

_PERIOD_S = 0.1
_CAPACITY_KG = 300.0
_FLOOR_KG = -1.0


@dataclass(frozen=True, slots=True)
class Shown:
    """What stands on the display at one instant: `net` and `tare` in `unit`; `beyond`: 1 over, -1 under the range."""

    net: float
    tare: float
    unit: str
    still: bool
    beyond: int


class Indicator(ABC):
    """One indicator with its platform; a device answers what it says at one beat in `_said`. See Scale."""

    units: ClassVar[tuple[str, ...]] = ("kg", "lb")
    keys: ClassVar[tuple[str, ...]] = ("unit", "tare", "zero")
    switches: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # what else can be set, and to what; the first at first

    def __init__(self, seed: int = 0) -> None:
        self._beat = Beat(_PERIOD_S)
        self._load = Load(seed)
        self._unit = self.units[0]
        self._tare_kg = 0.0
        self._switched = {name: values[0] for name, values in self.switches.items()}

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the indicator sends in that time."""
        return b"".join(map(self._said, self._beat.advance(dt_s)))

    def receive(self, data: bytes) -> bytes:  # noqa: ARG002 - the face asks for it
        """Answer nothing: commands are not simulated."""
        return b""

    def step_on(self, kg: float) -> None:
        """Someone of `kg` kilograms steps on."""
        self._load.put(kg, self._beat.now_us)

    def step_off(self) -> None:
        """The platform is empty again."""
        self.step_on(0.0)

    def press(self, key: str) -> None:
        """Press one of `keys`; ValueError for another."""
        if key not in self.keys:
            raise ValueError(f"this scale has no key {key!r} ({', '.join(self.keys)})")
        if key == "unit":
            self._unit = self.units[(self.units.index(self._unit) + 1) % len(self.units)]
        elif key == "tare":
            self._tare_kg = self._load.felt(self._beat.now_us)
        elif key == "zero":
            self._tare_kg = 0.0

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set body_weight (stands there from now on), unit or what the device has beside them; ValueError if not."""
        if kind == "body_weight":
            self._unit = wire_unit(unit or "kg", self.units)
            self.step_on(number(value, kind) * KG_PER[self._unit])
        elif kind == "unit":
            self._unit = wire_unit(value, self.units)
        elif value in self.switches.get(kind, ()):
            self._switched[kind] = value
        else:
            allowed = ("body_weight", "unit", *(f"{name}={'|'.join(to)}" for name, to in self.switches.items()))
            raise ValueError(f"this scale cannot be set to {kind}={value}{unit} ({', '.join(allowed)})")

    @abstractmethod
    def _said(self, at_us: int) -> bytes:
        """Answer what is sent at this beat."""

    def _shown(self, at_us: int) -> Shown:
        gross_kg = self._load.felt(at_us)
        beyond = 1 if gross_kg > _CAPACITY_KG else -1 if gross_kg < _FLOOR_KG else 0
        per = KG_PER[self._unit]
        return Shown((gross_kg - self._tare_kg) / per, self._tare_kg / per, self._unit, self._load.still(at_us), beyond)
