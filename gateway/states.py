"""What the gateway tells beside readings: B/event, B/gateway, B/device/{id}, B/replay. Pure; never a vital's value.

`vitals.event/1` is said once; `vitals.gateway/1` and `vitals.device/1` are retained: each says all, and when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from drivers.contract import Identity
from gateway.account import Account, Counts
from gateway.in_force import InForce
from gateway.payload import Origin, to_bytes, utc_text
from gateway.reading import ClockQuality, Mode
from gateway.selection import Selection

# A driver's sentence or a system's error text; more would be a log, which is the journal's business.
DETAIL_LIMIT = 300
RANGES_TOLD = 50


def event_topic(origin: Origin) -> str:
    """Answer B/event."""
    return f"{origin.base}/event"


def gateway_topic(origin: Origin) -> str:
    """Answer B/gateway (retained)."""
    return f"{origin.base}/gateway"


def device_topic(origin: Origin, device_id: str) -> str:
    """Answer B/device/{id} (retained)."""
    return f"{origin.base}/device/{device_id}"


def replay_request_topic(origin: Origin) -> str:
    """Answer B/in/replay, on which a consumer asks."""
    return f"{origin.base}/in/replay"


def replay_topic(origin: Origin) -> str:
    """Answer B/replay, on which we answer."""
    return f"{origin.base}/replay"


def replay(
    origin: Origin,
    *,
    at: datetime,
    state: str,
    reason: str | None = None,
    request: tuple[int, int, str | None] | None = None,
    selection: Selection | None = None,
    said: Mapping[str, int] | None = None,
) -> bytes:
    """Answer a `vitals.replay/1`: what becomes of a request for kept rows. `said`: rows by the broker's reason.

    Of long lists of ranges the first RANGES_TOLD are told, and `more` is true.
    """
    first, last, word = request if request is not None else (None, None, None)
    waiting = () if selection is None else selection.waiting
    gone = () if selection is None else selection.gone
    return to_bytes(
        {
            "schema": "vitals.replay/1",
            "gateway": {"id": origin.gateway_id, "version": origin.version},
            "site": origin.site,
            "room": origin.room,
            "stream": None if origin.stream is None else str(origin.stream),
            "request": word,
            "from": first,
            "to": last,
            "state": state,
            "reason": reason,
            "rows": None if selection is None else len(selection.sequences),
            "waiting": waiting[:RANGES_TOLD],
            "gone": gone[:RANGES_TOLD],
            "never": None if selection is None else selection.never,
            "more": len(waiting) > RANGES_TOLD or len(gone) > RANGES_TOLD,
            "said": None if said is None else dict(said),
            "at": utc_text(at),
        }
    )


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
    in_force: InForce | None = None,
    clock: ClockQuality | None = None,
    started_at: datetime | None = None,
    outbox_depth: int | None = None,
    outbox_oldest_age_s: float | None = None,
    outbox_parked: int | None = None,
    outbox_file: Mapping[str, object] | None = None,
    refused: Mapping[str, str] | None = None,
    certificates: Mapping[str, datetime] | None = None,
    account: Account | None = None,
) -> bytes:
    """Answer a `vitals.gateway/1`, the will too; what is not known is null.

    `held`: readings that went to quarantine; `not_kept`: readings that the outbox could not take, since `started_at`.
    `config`: which one runs (ConfigNote). `outbox_file`: how its file is (health.py). `account`: account.py's.
    `refused`: topics that the broker does not take, and why; `outbox_parked`: rows that it will never take.
    `in_force`: which configuration runs, and why not the one on disk.
    `certificates`: until when that of the `broker` and of the `client` hold; days are counted from `at`.
    """
    return to_bytes(
        {
            "schema": "vitals.gateway/1",
            "gateway": {"id": origin.gateway_id, "version": origin.version},
            "site": origin.site,
            "room": origin.room,
            "stream": None if origin.stream is None else str(origin.stream),
            "state": state,
            "reason": reason,
            "at": utc_text(at),
            "started_at": utc_text(started_at),
            "config_hash": config_hash,
            "config": None if in_force is None else in_force.members(),
            "clock": None if clock is None else clock.value,
            "outbox": {
                "depth": outbox_depth,
                "oldest_age_s": None if outbox_oldest_age_s is None else round(outbox_oldest_age_s, 3),
                "parked": outbox_parked,
                **(outbox_file or {}),
            },
            "refused": None if refused is None else dict(refused),
            "certificates": None if certificates is None or at is None else certificate_members(certificates, at),
            "held": None if account is None else sum(account.all.held.values()),
            "not_kept": None if account is None else account.all.not_kept,
            "account": None if account is None else account.members(),
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
    also_claimed_by: Sequence[str] = (),
    test_until: datetime | None = None,
) -> bytes:
    """Answer a `vitals.device/1`. `reason` is a code, `detail` says what to do; `battery` is in per cent.

    `also_claimed_by`: other rooms that have this device in their configuration. `test_until`: while it is certified,
    and nothing that it measures reaches a chart.
    """
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
            "also_claimed_by": list(also_claimed_by),
            "test_until": utc_text(test_until),
            "at": utc_text(at),
        }
    )
