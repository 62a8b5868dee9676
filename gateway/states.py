"""What the gateway tells beside readings: B/event, B/gateway, B/device/{id}. Pure; never the value of a vital.

`vitals.event/1` is said once; `vitals.gateway/1` and `vitals.device/1` are retained: each says all, and when.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from drivers.contract import Identity
from gateway.payload import Origin, to_bytes, utc_text
from gateway.reading import ClockQuality, Mode

# A driver's sentence or a system's error text; more would be a log, which is the journal's business.
DETAIL_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Counts:
    """What came of a device's bytes since the service started; `rejected` by reason.

    `repeats`: samples of records that were kept before, and are no new readings.
    """

    frames: int = 0
    samples: int = 0
    notices: int = 0
    repeats: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)

    def members(self) -> dict[str, object]:
        """Answer them as JSON has them."""
        return {
            "frames": self.frames,
            "samples": self.samples,
            "notices": self.notices,
            "repeats": self.repeats,
            "rejected": dict(self.rejected),
        }


def event_topic(origin: Origin) -> str:
    """Answer B/event."""
    return f"{origin.base}/event"


def gateway_topic(origin: Origin) -> str:
    """Answer B/gateway (retained)."""
    return f"{origin.base}/gateway"


def device_topic(origin: Origin, device_id: str) -> str:
    """Answer B/device/{id} (retained)."""
    return f"{origin.base}/device/{device_id}"


def event(
    origin: Origin, *, device_id: str, model: str, code: str, at: datetime, mode: Mode, detail: str = ""
) -> bytes:
    """Answer a `vitals.event/1`: what a device told that is not a reading. `detail` is for people, without values."""
    return to_bytes(
        {
            "schema": "vitals.event/1",
            "gateway": {"id": origin.gateway_id, "version": origin.version},
            "site": origin.site,
            "room": origin.room,
            "device": {"id": device_id, "model": model},
            "code": code,
            "detail": detail[:DETAIL_LIMIT],
            "at": utc_text(at),
            "mode": mode.value,
        }
    )


def gateway_state(
    origin: Origin,
    *,
    state: Literal["online", "offline"],
    at: datetime | None,
    reason: str | None = None,
    config_hash: str | None = None,
    clock: ClockQuality | None = None,
    started_at: datetime | None = None,
    outbox_depth: int | None = None,
    outbox_oldest_age_s: float | None = None,
    outbox_parked: int | None = None,
    refused: Mapping[str, str] | None = None,
    certificates: Mapping[str, datetime] | None = None,
    held: int | None = None,
    not_kept: int | None = None,
) -> bytes:
    """Answer a `vitals.gateway/1`, the will too; what is not known is null.

    `held`: readings that went to quarantine; `not_kept`: readings that the outbox could not take, since `started_at`.
    `refused`: topics that the broker does not take, and why; `outbox_parked`: rows that it will never take.
    `certificates`: until when that of the `broker` and of the `client` hold; days are counted from `at`.
    """
    return to_bytes(
        {
            "schema": "vitals.gateway/1",
            "gateway": {"id": origin.gateway_id, "version": origin.version},
            "site": origin.site,
            "room": origin.room,
            "stream": str(origin.stream),
            "state": state,
            "reason": reason,
            "at": utc_text(at),
            "started_at": utc_text(started_at),
            "config_hash": config_hash,
            "clock": None if clock is None else clock.value,
            "outbox": {
                "depth": outbox_depth,
                "oldest_age_s": None if outbox_oldest_age_s is None else round(outbox_oldest_age_s, 3),
                "parked": outbox_parked,
            },
            "refused": None if refused is None else dict(refused),
            "certificates": None if certificates is None or at is None else certificate_members(certificates, at),
            "held": held,
            "not_kept": not_kept,
        }
    )


def certificate_members(certificates: Mapping[str, datetime], at: datetime) -> dict[str, object]:
    """Answer when each ends, and the whole days until then: negative once it has."""
    return {whose: {"not_after": utc_text(ends), "days_left": (ends - at).days} for whose, ends in certificates.items()}


def device_state(
    origin: Origin,
    *,
    device_id: str,
    model: str,
    state: Literal["online", "offline", "unknown"],
    at: datetime,
    reason: str | None = None,
    detail: str = "",
    battery: int | None = None,
    identity: Identity | None = None,
    last_seen: datetime | None = None,
    last_reading_id: UUID | None = None,
    held: int = 0,
    last_held_reason: str | None = None,
    counts: Counts | None = None,
) -> bytes:
    """Answer a `vitals.device/1`. `reason` is a code, `detail` says what to do; `battery` is in per cent."""
    counts = counts if counts is not None else Counts()
    identity = identity if identity is not None else Identity()
    return to_bytes(
        {
            "schema": "vitals.device/1",
            "gateway": {"id": origin.gateway_id, "version": origin.version},
            "site": origin.site,
            "room": origin.room,
            "device": {"id": device_id, "model": model},
            "state": state,
            "reason": reason,
            "detail": detail[:DETAIL_LIMIT],
            "battery": battery,
            "information": {
                "maker": identity.maker,
                "model": identity.model,
                "serial": identity.serial,
                "firmware": identity.firmware,
            },
            "last_seen": utc_text(last_seen),
            "last_reading_id": None if last_reading_id is None else str(last_reading_id),
            "held": held,
            "last_held_reason": last_held_reason,
            "counts": counts.members(),
            "at": utc_text(at),
        }
    )
