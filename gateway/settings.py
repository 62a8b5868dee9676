"""The gateway's settings: what may stand in the YAML (contract.md, section 2), and what the service gets of it.

`GatewayFile` and its parts say what each single value may be; gateway/config_rules.py says what must fit together.
`Settings` and its parts are what comes out: resolved, frozen, with nothing left to look up.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, StrictBool, StrictInt
from pydantic_core import PydanticCustomError

from drivers.models import DeviceModel, LineSettings
from gateway.problems import nearest, not_allowed, shown
from gateway.ranges import Ranges

Stored = Literal["quarantine", "publish"]
DEFAULT_TIMEZONE = "UTC"
MAX_KEEP_DAYS = 3650
MIN_MAX_MB, MAX_MAX_MB = 16, 1_000_000  # the records that are remembered take up to 10
DEFAULT_USER = 1  # the first slot of a scale's memory
UNITS: Mapping[str, str] = {
    **{code: code for code in ("kg", "g", "[lb_av]", "[oz_av]", "Cel", "[degF]", "mm[Hg]", "kPa", "cm", "m", "[in_i]")},
    "lb": "[lb_av]",
    "oz": "[oz_av]",
    "degC": "Cel",
    "C": "Cel",
    "degF": "[degF]",
    "F": "[degF]",
    "mmHg": "mm[Hg]",
    "in": "[in_i]",
}

_STRICT = {"extra": "forbid"}
_Entry = TypeVar("_Entry")
LEVEL = re.compile(r"[A-Za-z0-9_-]{1,64}")
ADDRESS = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_URL = re.compile(r"(?P<scheme>[a-z]+)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?/?")
_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """Where a broker listens. `tls`: mqtts."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_url(text: str) -> BrokerUrl:
    """Read mqtt://host[:port] or mqtts://host[:port]; ValueError says what is wrong, without showing the text."""
    if "@" in text:  # a password may stand in it: it is not shown
        raise ValueError("user name and password do not stand in the url: use username and password_file")
    found = _URL.fullmatch(text)
    if not found or found["scheme"] not in _DEFAULT_PORTS:
        raise ValueError(
            "must be mqtts://host or mqtt://host, with a port where it is not 8883 or 1883, and nothing else"
        )
    port = int(found["port"] or _DEFAULT_PORTS[found["scheme"]])
    if not 1 <= port <= 65535:
        raise ValueError("the port must be from 1 to 65535")
    return BrokerUrl(found["host"].strip("[]"), port, found["scheme"] == "mqtts")


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker, or the members of its cluster in the order in which they are tried. Paths are absolute."""

    urls: tuple[BrokerUrl, ...]
    protocol: Literal[5, "3.1.1"] = 5
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Outbox:
    """Where what is committed stands, how many days a delivered reading stays, how much the file may take."""

    path: Path
    keep_days: int = 7
    max_mb: int = 512


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where Prometheus finds the account: a port of loopback, a file for its node_exporter, or both."""

    port: int | None = None
    textfile: Path | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """One device: its model's row, and what the site says of it. `unit` is a UCUM code; `address` is upper case.

    `port` is set for a serial model, `address` for a BLE one. `line`: the model's, with the site's `serial` over it.
    `user` and `consent_file`: the slot of a scale's memory that is asked for, and the file that holds its code.
    `entry`: where it stands in the list `devices`, from 0.
    """

    id: str
    model_name: str
    model: DeviceModel
    line: LineSettings
    port: str | None = None
    address: str | None = None
    stored: Stored = "quarantine"
    unit: str | None = None
    user: int = DEFAULT_USER
    consent_file: Path | None = None
    entry: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A device that the YAML has and that cannot be attended: `problem` is the first of what is wrong with it."""

    id: str
    model_name: str
    problem: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the service is told. `config_hash`: 12 hex digits of SHA-256, of all files that it is made of.

    `limits`: what stands in `ranges`; None: the packaged limits. `run_others`: whether a device that is wrong is left
    out; `left_out`: those that are.
    """

    site: str
    room: str
    timezone: str
    broker: Broker
    outbox: Outbox
    publish_raw: bool
    devices: tuple[Device, ...]
    ranges: Path | None
    models_dir: Path | None
    config_hash: str
    metrics: Metrics | None = None
    limits: Ranges | None = None
    run_others: bool = False
    left_out: tuple[LeftOut, ...] = ()


def _wrong(message: str) -> PydanticCustomError:
    # the message goes in as a value: braces in it are no template
    return PydanticCustomError("wrong", "{words}", {"words": message})


def _topic_level(text: str) -> str:
    if not LEVEL.fullmatch(text):
        quotes = "; take the curly quotes away" if set(text) & set("“”„‘’‚«»") else ""
        words = "must be 1 to 64 letters (A to Z), digits, - and _: it becomes a topic level"
        raise _wrong(f'"{shown(text)}" {words}{quotes}')
    return text


def _filled(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise _wrong("must be text on one line, not empty")
    return text


def _timezone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        if not known:
            raise _wrong("this machine has no time zone data: install the package tzdata") from None
        place = name.rpartition("/")[2].lower()
        same = sorted(one for one in known if one.rpartition("/")[2].lower() == place)
        advice = f"a name such as America/Chicago{nearest(name, same) or nearest(name, known)}"
        raise _wrong(f'"{shown(name)}" is no time zone (allowed: {advice})') from None
    return name


def _url(text: str) -> str:
    try:
        parse_url(text)
    except ValueError as error:
        raise _wrong(str(error)) from None
    return text


def _some(entries: tuple[_Entry, ...]) -> tuple[_Entry, ...]:
    if not entries:
        raise _wrong("the list is empty: at least one entry must stand here")
    return entries


def _days(number: int) -> int:
    if not 1 <= number <= MAX_KEEP_DAYS:
        raise _wrong(f"must be from 1 to {MAX_KEEP_DAYS} days")
    return number


def _megabytes(number: int) -> int:
    if not MIN_MAX_MB <= number <= MAX_MAX_MB:
        raise _wrong(f"must be from {MIN_MAX_MB} to {MAX_MAX_MB} megabytes")
    return number


def _port(text: str) -> str:
    if not text.startswith("/") or not text.isprintable():
        raise _wrong(f'"{shown(text)}" must be the whole path of a port, such as /dev/serial/by-path/…')
    return text


def _tcp_port(number: int) -> int:
    if not 1024 <= number <= 65535:
        raise _wrong("must be from 1024 to 65535: the service has no right to lower ones")
    return number


def _prom(text: str) -> str:
    if not text.endswith(".prom") or not text.isprintable():
        raise _wrong("must end in .prom: the textfile collector reads no other files")
    return text


def _address(text: str) -> str:
    if not ADDRESS.fullmatch(text):
        raise _wrong(f'"{shown(text)}" must be a Bluetooth address: six pairs of hex digits, as in "C8:1E:8E:00:00:01"')
    return text.upper()


def _user(number: int) -> int:
    if number not in range(255):
        raise _wrong("must be from 0 to 254: the number under which the scale has the user")
    return number


def _unit(text: str) -> str:
    if text not in UNITS:
        raise _wrong(not_allowed(text, UNITS))
    return UNITS[text]


TopicLevel = Annotated[str, AfterValidator(_topic_level)]
Filled = Annotated[str, AfterValidator(_filled)]
Url = Annotated[str, AfterValidator(_url)]


@dataclass(frozen=True, slots=True)
class BrokerEntry:
    """`broker:` as it may stand in the YAML. Empty text and an empty list: the key is not there."""

    __pydantic_config__: ClassVar = _STRICT

    url: Url = ""
    urls: Annotated[tuple[Url, ...], AfterValidator(_some)] = ()
    protocol: Literal[5, "3.1.1", "5"] = 5
    username: Filled = ""
    password_file: Filled = ""
    ca_file: Filled = ""
    client_cert_file: Filled = ""
    client_key_file: Filled = ""
    allow_plaintext: StrictBool = False


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """`outbox:` as it may stand in the YAML."""

    __pydantic_config__: ClassVar = _STRICT

    path: Filled
    keep_days: Annotated[StrictInt, AfterValidator(_days)] = 7
    max_mb: Annotated[StrictInt, AfterValidator(_megabytes)] = 512


@dataclass(frozen=True, slots=True)
class MetricsEntry:
    """`metrics:` as it may stand in the YAML. 0 and empty text: the key is not there."""

    __pydantic_config__: ClassVar = _STRICT

    port: Annotated[StrictInt, AfterValidator(_tcp_port)] = 0
    textfile: Annotated[str, AfterValidator(_prom)] = ""


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """One of `devices:` as it may stand in the YAML. Empty text: the key is not there."""

    __pydantic_config__: ClassVar = _STRICT

    id: TopicLevel
    model: Filled
    port: Annotated[str, AfterValidator(_port)] = ""
    address: Annotated[str, AfterValidator(_address)] = ""
    stored: Stored = "quarantine"
    unit: Annotated[str, AfterValidator(_unit)] = ""
    user: Annotated[StrictInt, AfterValidator(_user)] = DEFAULT_USER
    consent_file: Filled = ""
    serial: LineSettings = field(default_factory=LineSettings)


@dataclass(frozen=True, slots=True)
class GatewayFile:
    """The whole YAML file, key by key. `include` is gateway/layers.py's, which takes it out when it has read them."""

    __pydantic_config__: ClassVar = _STRICT

    site: TopicLevel
    room: TopicLevel
    broker: BrokerEntry
    outbox: OutboxEntry
    devices: Annotated[tuple[DeviceEntry, ...], AfterValidator(_some)]
    version: Literal[1] = 1
    timezone: Annotated[str, AfterValidator(_timezone)] = DEFAULT_TIMEZONE
    publish_raw: StrictBool = False
    ranges: Filled = ""
    models_dir: Filled = ""
    metrics: MetricsEntry = field(default_factory=MetricsEntry)
    include: Filled | Annotated[tuple[Filled, ...], AfterValidator(_some)] = ""
    on_device_error: Literal["stop", "run_others"] = "stop"
