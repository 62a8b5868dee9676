"""The faces that simulated serial devices show: what all have, and what a scale and a bedside device have beside it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


class SerialDevice(Protocol):
    """A device stepped by time. It does no I/O and knows no port; the same calls give the same bytes."""

    def advance(self, dt_s: float) -> bytes:
        """Let `dt_s` seconds pass; answer what the device sends in that time."""
        ...

    def receive(self, data: bytes) -> bytes:
        """Take what the host sent, cut anyhow; answer what the device says to it at once."""
        ...

    def press(self, key: str) -> None:
        """Press a key; ValueError names the keys that the device has."""
        ...

    def set_value(self, kind: str, value: str, unit: str = "") -> None:
        """Set `kind` (`body_weight`, `unit`, …) as `--set KIND=VALUE` does; `unit` is UCUM. ValueError if it cannot."""
        ...


@runtime_checkable
class Scale(SerialDevice, Protocol):
    """What is stood on."""

    def step_on(self, kg: float) -> None:
        """Put `kg` kilograms on the platform instead of what is there."""
        ...

    def step_off(self) -> None:
        """Empty the platform."""
        ...


@runtime_checkable
class Bedside(SerialDevice, Protocol):
    """A cuff, a thermometer, an oximeter or all of them. `kinds`: the vitals that `set_value` takes for its patient."""

    kinds: tuple[str, ...]

    def attach(self) -> None:
        """Put it on a patient whose vitals were set, and start: arm in the cuff, probe in the mouth, finger in."""
        ...

    def detach(self) -> None:
        """Take it off."""
        ...
