"""A device model, as data. Its YAML is read by gateway/config.py; here is only what it may say.

A new model of a known protocol is one file in config/devices/ and no line of code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Literal

_STRICT = {"extra": "forbid"}

# The notices of the codecs that say something of the load, or of how far a measurement has come. Codes are those of the
# vectors, so that two mean an empty scale and two one that shows less than nothing.
LoadNotice = Literal[
    "zero",
    "zero_weight",
    "below_zero",
    "negative_weight",
    "unstable",
    "overload",
    "underload",
    "busy",
    "not_a_weight",
    "out_of_range",
    "zero_error",
    "no_data",
    "measuring",
    "measurement_failed",
    "no_final_temperature",
    "no_answer",
]

# The notices of oximeters after which a finger may be another's.
SensorNotice = Literal[
    "no_sensor",
    "sensor_off",
    "sensor_disconnected",
    "pulse_search",
    "loss_of_pulse",
    "no_data",
    "standby",
    "unplugged",
    "defective_sensor",
    "unrecognized_sensor",
    "interference",
    "ambient_light",
    "out_of_track",
    "sensor_alarm",
]

# What is said to a Bluetooth device, in order (drivers/ble/session.py).
SessionStep = Literal["bond", "information", "battery", "site", "read_clock", "set_clock", "consent", "subscribe"]

Evidence = Literal["manual", "capture", "independent-test", "derived", "hardware"]


@dataclass(frozen=True, slots=True)
class LineSettings:
    """The serial line: baud, data bits, parity, stop bits. No flow control unless the manual asks for it."""

    __pydantic_config__: ClassVar = _STRICT

    baud: Literal[300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200] = 9600
    data_bits: Literal[7, 8] = 8
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    flow_control: Literal["none", "xonxoff", "rtscts"] = "none"


@dataclass(frozen=True, slots=True)
class Settling:
    """Which frames make one reading, and what ends it.

    `frames`: how many equal frames in a row are needed. `silence_s`: silence this long is a break.
    `breaks`: notices that are a break: what comes next is a new reading, even with an equal value.
    `doubts`: notices after which an equal value may be a new reading or the old one: it is told, and marked.
    `lone`: what fewer frames than `frames` are when a break comes: `recall` (the device showed an old value
    again: told and marked as stored) or `transient` (the load was on its way: a notice).
    """

    __pydantic_config__: ClassVar = _STRICT

    frames: int = 1
    silence_s: float = 2.5
    breaks: tuple[LoadNotice, ...] = ("zero",)
    doubts: tuple[LoadNotice, ...] = ()
    lone: Literal["recall", "transient"] = "transient"

    def __post_init__(self) -> None:
        if self.frames < 1 or self.silence_s <= 0:
            raise ValueError("frames must be 1 or more, silence_s more than 0")


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """Which frames of a sensor that streams make the one reading of a spot check; drivers/spot_check.py has its laws.

    `frames`: how many in a row, that differ by no more than `spread` (by kind, in the unit sent). `silence_s`: silence
    this long is a break. `breaks`: notices that are one.
    """

    __pydantic_config__: ClassVar = _STRICT

    frames: int = 5
    spread: Mapping[str, Decimal] = field(default_factory=dict)
    silence_s: float = 10.0
    breaks: tuple[SensorNotice, ...] = ("sensor_off", "sensor_disconnected", "pulse_search", "no_data")

    def __post_init__(self) -> None:
        if self.frames < 2 or self.silence_s <= 0:
            raise ValueError("frames must be 2 or more, silence_s more than 0")


@dataclass(frozen=True, slots=True)
class Polling:
    """When a polled device is asked, and when no answer is none. Seconds."""

    __pydantic_config__: ClassVar = _STRICT

    interval_s: float = 0.5
    answer_s: float = 5.0

    def __post_init__(self) -> None:
        if self.interval_s <= 0 or self.answer_s <= 0:
            raise ValueError("interval_s and answer_s must be more than 0")


@dataclass(frozen=True, slots=True)
class Consent:
    """A slot of a scale's memory and the code that opens it. The code is never shown."""

    __pydantic_config__: ClassVar = _STRICT

    user: int
    code: int = field(repr=False)

    def __post_init__(self) -> None:
        if self.user not in range(255) or self.code not in range(10_000):
            raise ValueError("user is a number from 0 to 254, the consent code one from 0 to 9999")


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """How a Bluetooth device's clock is read and set.

    `told`: it is heard rather than read, in the first notification that it makes of it, and takes a setting only then.
    `off_by_s`: by how much it must be off to be set; it refuses what is less.
    """

    __pydantic_config__: ClassVar = _STRICT

    told: bool = False
    off_by_s: float = 0.0

    def __post_init__(self) -> None:
        if self.off_by_s < 0:
            raise ValueError("off_by_s must be 0 or more")


@dataclass(frozen=True, slots=True)
class Session:
    """How a Bluetooth device is spoken to: `steps` in order, and how long it may then be silent before we hang up.

    `silence_s` counts from the last record, or from subscribing. Most devices hang up by themselves, and sooner.
    `clock`: how its clock is read and set. `pause_s`: how long nothing is said to it before its records are subscribed
    to.
    `consent`: what the step of that name says where all devices of this model want the same; else the site says it.
    `records`: the characteristics to subscribe to, where its driver knows several; left out, all of them. A stream or
    records, never both: one finger would be two readings (docs/decisions/0015).
    `rest_s`: how long it is left alone after a session, where a second is too little: one that keeps its records and
    goes on advertising would be read again and again, which empties its battery.
    """

    __pydantic_config__: ClassVar = _STRICT

    steps: tuple[SessionStep, ...] = ("information", "battery", "subscribe")
    silence_s: float = 20.0
    clock: DeviceClock = field(default_factory=DeviceClock)
    pause_s: float = 0.0
    consent: Consent | None = None
    records: tuple[str, ...] = ()
    rest_s: float = 0.0

    def __post_init__(self) -> None:
        if self.steps[-1:] != ("subscribe",) or len(set(self.steps)) != len(self.steps):
            raise ValueError("steps stand there once each, and subscribe comes last")
        if "set_clock" in self.steps and "read_clock" not in self.steps[: self.steps.index("set_clock")]:
            raise ValueError("read_clock stands before set_clock: what the clock showed is evidence")
        if self.silence_s <= 0 or min(self.rest_s, self.pause_s) < 0:
            raise ValueError("silence_s must be more than 0, rest_s and pause_s not less")


@dataclass(frozen=True, slots=True)
class MeasuringRange:
    """What the device can measure, both ends included, in `unit` (UCUM)."""

    __pydantic_config__: ClassVar = _STRICT

    low: Decimal
    high: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class Eeprom:
    """Where in the memory of an Omron cuff what stands, and how it is reached (drivers/ble/omron_eeprom.py).

    `words`: the order of the two bytes in its words. `record_bytes`: the length of a slot. `summed`: a record ends in
    its check sum. `users`: the address of each user's first slot, of `slots` each. `index`: where it says which slot
    is written next, `clock`: where its clock stands. `channels`: over how many characteristics a frame is spread.
    `unlock`: what it wants to hear first.
    """

    __pydantic_config__: ClassVar = _STRICT

    words: Literal["little", "big"] = "little"
    record_bytes: Literal[14, 16] = 14
    summed: bool = False
    users: tuple[int, ...] = ()
    slots: int = 0
    index: int = 0
    clock: int = 0
    channels: Literal[1, 4] = 1
    unlock: Literal["none", "token", "key"] = "none"


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where a model departs from its protocol.

    `bmi_check: false`: its BMI need not follow from weight and height. `trust_height: false`: what it sends as
    height may be garbage, so height and BMI are left out. `unit`: what a frame is in that does not say it (UCUM);
    where the row says `unit: pinned`, the gateway's YAML says it. `pressure_record`: how 2A35 is laid out; `beurer`:
    a user always, whatever the flags say, pulse and status big-endian, and a mean pressure of 0 for none. `eeprom`: the
    memory of an Omron cuff. Of Bluetooth scales: `kg_step`, `lb_step`: what one count of a mass is worth; null: no
    source tells, and a weight in that unit is refused. `below_zero_bit`: bit 4 of a weight says that less than nothing
    is on the scale. `composition_unread`: its body composition is laid out otherwise than its flags say, and is told
    but not read. `user_profile`: height, BMI and body fat are worked out from the person in the scale's memory, whoever
    stands on it.
    """

    __pydantic_config__: ClassVar = _STRICT

    bmi_check: bool = True
    trust_height: bool = True
    unit: str | None = None
    pressure_record: Literal["standard", "beurer"] = "standard"
    eeprom: Eeprom = field(default_factory=Eeprom)
    kg_step: Decimal | None = Decimal("0.005")
    lb_step: Decimal | None = Decimal("0.01")
    below_zero_bit: bool = False
    composition_unread: bool = False
    user_profile: bool = False


@dataclass(frozen=True, slots=True)
class Advertising:
    """How a Bluetooth device can be told by what it advertises, beyond its driver's services; for who looks for it.

    `names`: how its name begins, whatever the case. `company`: its maker's number (Bluetooth SIG, Assigned Numbers,
    section 7), in manufacturer data. `services`: those that it advertises, where not all of its driver's.
    """

    __pydantic_config__: ClassVar = _STRICT

    names: tuple[str, ...] = ()
    company: int | None = None
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """One row of the catalogue.

    `evidence` and `sources`: on what the row rests. `steps`: the display's step by kind and unit; where it is
    not known the digits that arrive tell it. `unit`: whether a frame says its unit (`sent`) or the site must
    (`pinned`). `memory`: whether the device may send what was not measured just now: `none`; `unfenced`, without a word
    of when; `stamped`, with the time of its own clock; `kept`, likewise, and each record stays in its memory and is
    read again at the next connection. A stamped record is live if it is at most `live_window_s` old when it arrives.
    `broadcast`: it is only heard, and says its last measurement on; live is what was heard to settle, without a silence
    of more than `live_window_s` (drivers/broadcasts.py). `pairing`: how a person brings it into pairing mode. `notes`:
    what IT or an MA should know, traps included.
    """

    __pydantic_config__: ClassVar = _STRICT

    maker: str
    model: str
    kind: Literal["scale", "blood_pressure", "thermometer", "oximeter", "heart_rate"]
    link: Literal["serial", "ble"]
    driver: str
    evidence: tuple[Evidence, ...]
    sources: tuple[str, ...]
    line: LineSettings = field(default_factory=LineSettings)
    settling: Settling = field(default_factory=Settling)
    polling: Polling = field(default_factory=Polling)
    spot_check: SpotCheck = field(default_factory=SpotCheck)
    unit: Literal["sent", "pinned"] = "sent"
    ranges: Mapping[str, tuple[MeasuringRange, ...]] = field(default_factory=dict)
    steps: Mapping[str, Mapping[str, Decimal]] = field(default_factory=dict)
    memory: Literal["none", "unfenced", "stamped", "kept", "broadcast"] = "none"
    live_window_s: float = 120.0
    session: Session = field(default_factory=Session)
    advertised: Advertising = field(default_factory=Advertising)
    quirks: Quirks = field(default_factory=Quirks)
    pairing: str = ""
    notes: tuple[str, ...] = ()
