"""Reading -> topic and bytes. Pure. The shape is a promise to charts: `vitals.reading/1`.

1. The members are always all there, always in this order; null says "nothing".
2. Numbers carry the device's digits: 184.50 stays 184.50, and none is written with an exponent.
3. Raw bytes go out only where the site asked for them: an ID that someone keyed in may stand in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from uuid import UUID

import simplejson

from gateway.reading import Device, Disposition, Measured, Mode, Modifier, Reading, Times, Vital
from gateway.vocabulary import Coding, reading_codings, vital_codings

# There is no named tuple in what we tell: looking at each value whether it is one takes half of the encoding.
_ENCODER = simplejson.JSONEncoder(
    use_decimal=True, namedtuple_as_object=False, ensure_ascii=False, ignore_nan=True, separators=(",", ":")
)

# What may stand in one member of a reading's JSON.
_Json = object


@dataclass(frozen=True, slots=True)
class Origin:
    """Where readings come from: site and room (topic levels), version, the outbox's `stream`, and `publish_raw`."""

    site: str
    room: str
    version: str
    stream: UUID | None  # None: not known yet, since the outbox could not be opened
    publish_raw: bool = False

    @property
    def gateway_id(self) -> str:
        """The gateway's name: site and room, for there is one a room."""
        return f"{self.site}-{self.room}"

    @property
    def base(self) -> str:
        """The topic under which all of this gateway's topics stand."""
        return f"vitals/v1/{self.site}/{self.room}"


def topic(reading: Reading, origin: Origin) -> str:
    """Answer one of the four reading topics: by disposition, and under `test/` whatever is not real."""
    leaf = "reading" if reading.disposition is Disposition.USABLE else "quarantine"
    return f"{origin.base}/{leaf}" if reading.mode is Mode.REAL else f"{origin.base}/test/{leaf}"


def encode(reading: Reading, origin: Origin, sequence: int) -> bytes:
    """Answer the JSON of a reading, UTF-8. Raises ValueError for a time without a zone: a defect, never guessed at."""
    company = frozenset(vital.kind for vital in reading.vitals)
    return to_bytes(
        {
            "schema": "vitals.reading/1",
            "id": str(reading.id),
            "revision": reading.revision,
            "state": "final" if reading.revision == 1 else "corrected",
            "stream": str(origin.stream),
            "sequence": sequence,
            "disposition": reading.disposition.value,
            "mode": reading.mode.value,
            "gateway": {"id": origin.gateway_id, "version": origin.version},
            "site": origin.site,
            "room": origin.room,
            "session": None,
            "operator": None,
            "device": _device(reading.device),
            "taken_at": utc_text(reading.times.taken_at),
            "received_at": utc_text(reading.times.received_at),
            "time": _time(reading.times),
            "status": reading.status.value,
            "codes": _reading_codes(company),
            "vitals": [_vital(vital, company) for vital in reading.vitals],
            # The device said that it averaged, and not how many: `of` stays open rather than looking like one reading.
            "aggregate": {"statistic": "mean", "of": None} if "averaged" in reading.flags else None,
            "modifiers": {name: _modifier(modifier) for name, modifier in reading.modifiers.items()},
            "series": None,
            "flags": reading.flags,
            "reasons": reading.reasons,
            "possible_repeat_of": None if reading.possible_repeat_of is None else str(reading.possible_repeat_of),
            "raw": reading.raw.hex() if origin.publish_raw and reading.raw else None,
        }
    )


def moved(payload: bytes, stream: UUID, sequence: int) -> bytes:
    """Answer a kept reading's bytes with another place in another stream; all else as it was, digit for digit.

    Raises ValueError for bytes that are no JSON object.
    """
    members = simplejson.loads(payload, parse_float=simplejson.RawJSON)
    if not isinstance(members, dict):
        raise ValueError("a kept reading is a JSON object")  # noqa: TRY004 - one kind of failure for all of it
    return to_bytes({**members, "stream": str(stream), "sequence": sequence})


def to_bytes(members: dict[str, _Json]) -> bytes:
    """Answer compact JSON, UTF-8. Half a surrogate pair, which no UTF-8 can carry, becomes a question mark."""
    return _ENCODER.encode(members).encode("utf-8", "replace")


def utc_text(at: datetime | None) -> str | None:
    """Answer RFC 3339, UTC, milliseconds, Z; None for None. Raises ValueError for a time without a zone."""
    if at is None:
        return None
    if at.tzinfo is not UTC:
        if at.utcoffset() is None:
            raise ValueError("a time without a zone cannot be published: the code that made it must say which it is")
        at = at.astimezone(UTC)
    return at.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _device(device: Device) -> dict[str, _Json]:
    return {
        "id": device.id,
        "model": device.model,
        "maker": device.maker,
        "hardware": device.hardware,
        "serial": device.serial,
        "firmware": device.firmware,
        "user": device.user,
    }


def _time(times: Times) -> dict[str, _Json]:
    shown = times.device_time
    return {
        "source": times.source,
        "device_time": None if shown is None else shown.replace(tzinfo=None).isoformat(),
        "clock_offset_s": None if times.clock_offset_s is None else round(times.clock_offset_s, 3),
        "uncertainty_s": None if times.uncertainty_s is None else round(times.uncertainty_s, 3),
        "quality": times.quality.value,
    }


def _vital(vital: Vital, company: frozenset[str]) -> dict[str, _Json]:
    return {
        "kind": vital.kind,
        "value": None if vital.value is None else _number(vital.value),
        "unit": vital.unit,
        "absent": vital.absent,
        "codes": _vital_codes(vital.kind, company),
        "measured": None if vital.measured is None else _measured(vital.measured),
        "status": vital.status.value,
        "reasons": vital.reasons,
    }


def _modifier(modifier: Modifier) -> dict[str, _Json]:
    if isinstance(modifier.value, str):
        return {"value": modifier.value, "source": modifier.source}
    return {
        "value": _number(modifier.value),
        "unit": modifier.unit,
        "measured": None if modifier.measured is None else _measured(modifier.measured),
        "source": modifier.source,
    }


def _measured(measured: Measured) -> dict[str, _Json]:
    return {"value": format(measured.value, "f"), "unit": measured.unit}


def _number(value: Decimal) -> Decimal | simplejson.RawJSON | None:
    """The encoder writes str(value): the device's digits, but 1E-7 for seven decimals. JSON has no NaN."""
    if not value.is_finite():
        return None
    return simplejson.RawJSON(format(value, "f")) if "E" in str(value) else value


# A gateway sees few kinds in few companies, again and again: their codes are made once. Nobody changes these lists.
@lru_cache(maxsize=256)
def _vital_codes(kind: str, company: frozenset[str]) -> list[dict[str, _Json]]:
    return [_coding(coding) for coding in vital_codings(kind, company)]


@lru_cache(maxsize=256)
def _reading_codes(company: frozenset[str]) -> list[dict[str, _Json]]:
    return [_coding(coding) for coding in reading_codings(company)]


def _coding(coding: Coding) -> dict[str, _Json]:
    if coding.display is None:
        return {"system": coding.system, "code": coding.code}
    return {"system": coding.system, "code": coding.code, "display": coding.display}
