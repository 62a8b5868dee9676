"""What `certify` found, as it stands in the report: no value of a vital unless it was asked for. Pure.

How far a reading was followed (`proof`), each step including those before it:

- `captured`: the device said it, and it was read as what it is.
- `committed`: it is on disk.
- `acknowledged`: the broker has it (PUBACK, reason success).
- `seen`: a subscriber got it, byte for byte: this gateway itself, through the broker.

That the chart's own account may read, nothing here can show: the test topics are not its.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from drivers.contract import Identity
from gateway.kept import Kept
from gateway.payload import utc_text
from gateway.reading import Reading
from gateway.settings import Device, LeftOut

Outcome = Literal["passed", "failed", "skipped"]
Proof = Literal["none", "captured", "committed", "acknowledged", "seen"]

_UNITS = {"mm[Hg]": "mmHg", "Cel": "°C", "[degF]": "°F", "[lb_av]": "lb", "[oz_av]": "oz", "[in_i]": "in"}

# What to do about a device's state, or about a reading that is held: in the words of docs/it.md.
_DO: Mapping[str, str] = {
    "not_opened_yet": "wait a moment, then again",
    "not_heard_yet": "step on it; switch its output on; measure once",
    "silent": "is it on, is this its port, are the line settings its own?",
    "unreadable": "compare `model` (and `serial`, on a serial port) in the YAML with the device",
    "port_absent": "plug the adapter in, into the socket that the YAML names; compare ls -l /dev/serial/by-path",
    "port_busy": "fuser -v on the port; end that program",
    "port_denied": "ls -l on the port must show the group vitals-gateway; after a first install restart the service",
    "clock_unverifiable": "the device's clock: measure once more, it is set at each connection",
    "unit_conflict": "the device measures in another unit than `unit` in the YAML says: set the device, or correct it",
    "possible_repeat": "measure once more",
    "stored_record": "it was measured earlier: measure once more",
    "test_overlap": "measure once more",
}


@dataclass(slots=True)
class Finding:
    """What is known of one device so far; `reason` is a code, `text` says it in words, `do` what to do about it."""

    device: Device
    result: Outcome = "failed"
    reason: str | None = None
    text: str = ""
    do: str = ""
    proof: Proof = "none"
    display: Literal["agrees", "differs", "not_asked"] = "not_asked"
    reading: Reading | None = None
    kept: Kept | None = None
    remarks: list[str] = field(default_factory=list)

    def ended(self, result: Outcome, reason: str | None, text: str, do: str = "") -> Finding:
        """Answer itself, with how it ended."""
        self.result, self.reason, self.text, self.do = result, reason, text, do
        return self


def advice(reason: str | None, detail: str = "") -> str:
    """Answer what to do about a device's reason, or a reading's; `detail` where there are no words of ours."""
    return _DO.get(reason or "", detail)


def shown(reading: Reading) -> list[str]:
    """Answer what the device should show, in its own digits and unit. Patient data."""
    return [
        f"{vital.kind.replace('_', ' ')} {one.value:f} {_UNITS.get(one.unit, one.unit)}"
        for vital in reading.vitals
        if (one := vital.measured) is not None
    ]


def members(finding: Finding, identity: Identity, battery: int | None, *, values: bool) -> dict[str, object]:
    """Answer a device's part of the report."""
    device = finding.device
    answer: dict[str, object] = {
        "id": device.id,
        "model": device.model_name,
        "maker": device.model.maker,
        "link": device.model.link,
        "port": device.port,
        "hardware": device.address,
        "serial": identity.serial,
        "firmware": identity.firmware,
        "battery": battery,
        "result": finding.result,
        "reason": finding.reason,
        "text": finding.text,
        "do": finding.do,
        "proof": finding.proof,
        "display": finding.display,
        "remarks": finding.remarks,
        "reading": None if finding.reading is None else _reading(finding.reading, finding.kept),
    }
    if values and finding.reading is not None:
        answer["values"] = shown(finding.reading)
    return answer


def missing(device: LeftOut) -> dict[str, object]:
    """Answer the part of a device that the configuration has and that nobody attends: it cannot pass."""
    return {
        **dict.fromkeys(("maker", "link", "port", "hardware", "serial", "firmware", "battery", "reading")),
        "id": device.id,
        "model": device.model_name,
        "result": "failed",
        "reason": "misconfigured",
        "text": "its entry in the YAML is wrong: it is left out",
        "do": device.problem,
        "proof": "none",
        "display": "not_asked",
        "remarks": [],
    }


def report(
    devices: Sequence[Mapping[str, object]],
    *,
    gateway: Mapping[str, object],
    since: datetime,
    until: datetime,
    attended: bool,
) -> dict[str, object]:
    """Answer the report: passed only if each device that was asked for has passed."""
    return {
        "schema": "vitals.certificate/1",
        "gateway": dict(gateway),
        "from": utc_text(since),
        "to": utc_text(until),
        "attended": attended,
        "passed": bool(devices) and all(device["result"] == "passed" for device in devices),
        "devices": list(devices),
    }


def _reading(reading: Reading, kept: Kept | None) -> dict[str, object]:
    delivered = kept is not None and kept.state == "delivered"
    return {
        "id": str(reading.id),
        "mode": reading.mode.value,
        "disposition": reading.disposition.value,
        "reasons": list(reading.reasons),
        "time_quality": reading.times.quality.value,
        "taken_at": utc_text(reading.times.taken_at),
        "captured_at": utc_text(reading.times.received_at),
        "sequence": None if kept is None else kept.sequence,
        "topic": None if kept is None else kept.topic,
        "committed_at": None if kept is None else _utc(kept.kept_at),
        "sent_at": None if kept is None else _utc(kept.told.sent_at),
        "acknowledged_at": _utc(kept.told.at) if kept is not None and delivered else None,
        "broker": None if kept is None else kept.told.broker,
        "broker_said": None if kept is None else kept.told.reason,
    }


def _utc(at: float | None) -> str | None:
    return None if at is None else utc_text(datetime.fromtimestamp(at, UTC))
