"""A reading as the gateway thinks of it: frozen, coded, canonical units, UTC. JSON is payload.py's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from uuid import UUID


class Mode(StrEnum):
    """Whether a patient can be behind it. Only `real` may ever reach a chart."""

    REAL = "real"
    TEST = "test"
    DEMO = "demo"

    @classmethod
    def of(cls, *, demo: bool, real: bool) -> Mode:
        """Answer the mode of a link; `real`: a device of this machine is at its other end, and no simulator."""
        return cls.DEMO if demo else cls.REAL if real else cls.TEST


class Status(StrEnum):
    """How far the data can be believed; about the data, never about the patient."""

    VALID = "valid"
    QUESTIONABLE = "questionable"
    INVALID = "invalid"


class Disposition(StrEnum):
    """Whether the chart may use it (`usable`) or a person must look first (`hold`)."""

    USABLE = "usable"
    HOLD = "hold"


class ClockQuality(StrEnum):
    """What is known of the gateway's own clock."""

    SYNCED = "synced"
    HOLDOVER = "holdover"
    UNSYNCED = "unsynced"


@dataclass(frozen=True, slots=True)
class Measured:
    """What the device said: its digits, its unit (UCUM)."""

    value: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class Vital:
    """One vital in its canonical unit.

    `value` is rounded as contract.md says and is what goes out; `exact` is not rounded and is what is validated.
    `value` is None where there is none, and then `absent` says why.
    """

    kind: str
    value: Decimal | None
    exact: Fraction | None
    unit: str
    measured: Measured | None
    absent: str | None = None
    status: Status = Status.VALID
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Modifier:
    """How it was measured: a word (`oral`) or a quantity (a tare), and who said so."""

    value: str | Decimal
    source: str
    unit: str | None = None
    measured: Measured | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """The device behind a reading. `user` is an ID that someone keyed in at the device: patient data."""

    id: str
    model: str
    maker: str
    hardware: str | None = None
    serial: str | None = None
    firmware: str | None = None
    user: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Times:
    """When it was taken and received (UTC), from which clock, and how far that clock can be believed.

    `instant`: when it was received, in seconds since the machine started, by which its UTC can be put right later.
    """

    taken_at: datetime | None
    received_at: datetime
    source: str
    uncertainty_s: float | None
    quality: ClockQuality
    device_time: datetime | None = None
    clock_offset_s: float | None = None
    instant: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading, before it has a sequence. `reasons` and `disposition` are validate.py's."""

    id: UUID
    device: Device
    mode: Mode
    times: Times
    vitals: tuple[Vital, ...]
    flags: tuple[str, ...] = ()
    modifiers: Mapping[str, Modifier] = field(default_factory=dict)
    raw: bytes = field(default=b"", repr=False)
    revision: int = 1
    status: Status = Status.VALID
    disposition: Disposition = Disposition.USABLE
    reasons: tuple[str, ...] = ()
    possible_repeat_of: UUID | None = None
