"""The answer to `trace`: what happened to a reading, step by step, when, and by which version of the software.

Without `values` the answer holds no value, no frame and no keyed-in ID: what became of a reading can be told, and shown
in a ticket, without telling what it was. Asked with `values`, it is patient data, and the log says that it was asked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import simplejson

from drivers import registry
from drivers.contract import Event, Rejected, Sample
from drivers.models import DeviceModel
from gateway import kept
from gateway.catalogue import CatalogueError, load_model
from gateway.kept import Kept, Told
from gateway.outbox import Outbox
from gateway.payload import utc_text
from gateway.settings import Device
from gateway.store import DatabaseError

_log = logging.getLogger(__name__)

AROUND_S = 120.0  # `at`: so much before and after it

_PUBLIC = ("kind", "status", "reasons")  # of a vital


class BadQuestion(Exception):
    """What was asked cannot be answered; `str()` says what can."""


@dataclass(frozen=True, slots=True)
class Tracer:
    """Answers `trace` from one outbox, with the models of the YAML. `zone`: of a time that is asked without one."""

    outbox: Outbox
    devices: Sequence[Device]
    models_dir: Path | None
    zone: tzinfo

    async def answer(self, question: Mapping[str, object]) -> dict[str, object]:
        """Answer a question {"id"} or {"device", "at" or "since"}, with or without "values"."""
        values = question.get("values") is True
        try:
            found, remembered, more = await self._find(question)
        except BadQuestion as error:
            return {"error": str(error)}
        except DatabaseError as error:
            return {"error": f"the outbox cannot be read ({error}): check the disk"}
        if values and found:
            _log.warning("the values of %d readings were shown by `trace`", len(found))
        return {
            "readings": [self._reading(row, values=values) for row in found],
            "remembered": remembered,
            "more": more,
        }

    async def _find(self, question: Mapping[str, object]) -> tuple[list[Kept], bool, bool]:
        if "id" in question:
            reading = uuid_of(question["id"])
            found = await self.outbox.ask(partial(kept.by_id, reading=reading))
            remembered = not found and await self.outbox.ask(partial(kept.is_remembered, reading=reading))
            return found, remembered, False
        device = question.get("device")
        if not isinstance(device, str):
            raise BadQuestion("name a reading's id, or a device and a time")
        if "at" in question:
            at = time_of(question["at"], self.zone)
            since, until = at - AROUND_S, at + AROUND_S
        else:
            since, until = time_of(question.get("since"), self.zone), float("inf")
        found = await self.outbox.ask(partial(kept.by_time, device=device, since=since, until=until))
        return found[: kept.LIMIT], False, len(found) > kept.LIMIT

    def _reading(self, row: Kept, *, values: bool) -> dict[str, object]:
        if not row.is_intact:
            return {"sequence": row.sequence, "device": row.device, "state": row.state, "damaged": True}
        payload = simplejson.loads(row.payload)
        version, time, device = payload["gateway"]["version"], payload["time"], payload["device"]
        model = self._model(device)
        answer: dict[str, object] = {
            "id": payload["id"],
            "revision": payload["revision"],
            "stream": payload["stream"],
            "sequence": row.sequence,
            "topic": row.topic,
            "device": row.device,
            "model": device["model"],
            "captured": {
                "received_at": payload["received_at"],
                "taken_at": payload["taken_at"],
                "time": {"source": time["source"], "quality": time["quality"]},
                "link": None if model is None else model.link,
                "characteristic": row.characteristic,
                "mode": payload["mode"],
                "version": version,
            },
            "validated": {
                "status": payload["status"],
                "disposition": payload["disposition"],
                "reasons": payload["reasons"],
                "vitals": [{name: vital[name] for name in _PUBLIC} for vital in payload["vitals"]],
                "possible_repeat_of": payload["possible_repeat_of"],
                "version": version,
            },
            "committed": {"sequence": row.sequence, "at": _text(row.kept_at), "version": version},
            "state": row.state,
            **_told(row.told, row.state),
            "sent_again": None if row.again is None else {"times": row.times, **_told(row.again, "replayed")},
            "raw": self._redecoded(row, payload, model, values=values),
        }
        if values:
            answer["payload"] = payload
        return answer

    def _model(self, device: Mapping[str, Any]) -> DeviceModel | None:
        """Answer the model as the device of the YAML has it; its catalogue's row where the YAML has it no more."""
        for configured in self.devices:
            if (configured.id, configured.model_name) == (device["id"], device["model"]):
                return configured.model
        try:
            return load_model(device["model"], self.models_dir)
        except CatalogueError:
            return None

    def _redecoded(
        self, row: Kept, payload: Mapping[str, Any], model: DeviceModel | None, *, values: bool
    ) -> dict[str, object]:
        """Answer what the codec of now makes of the frame; `same`: whether it says what was kept. None: not known."""
        events = [] if model is None or not row.raw else _decode(model, row.raw, row.characteristic)
        samples = [event for event in events if isinstance(event, Sample)]
        answer: dict[str, object] = {
            "bytes": len(row.raw),
            "events": [_word(event) for event in events],
            "same": any(_says(sample, payload) for sample in samples) if events else None,
        }
        if values:
            answer["hex"] = row.raw.hex()
            answer["decoded"] = [
                {"kind": one.kind, "value": format(one.value, "f"), "unit": one.unit}
                for sample in samples
                for one in sample.measurements
            ]
        return answer


def uuid_of(value: object) -> UUID:
    """Read a reading's id. Raises BadQuestion."""
    try:
        return UUID(value) if isinstance(value, str) else UUID("")
    except ValueError:
        raise BadQuestion("a reading's id looks like 0f0c0b52-2f0e-5f2c-9d5c-6b0f2f3a9f11") from None


def time_of(value: object, zone: tzinfo) -> float:
    """Read an ISO 8601 date and time, in `zone` where it says none; answer seconds since 1970. Raises BadQuestion."""
    try:
        at = datetime.fromisoformat(value if isinstance(value, str) else "")
        return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise BadQuestion("a time looks like 2026-11-22T13:05 (the room's zone) or 2026-11-22T19:05Z") from None


def _decode(model: DeviceModel, raw: bytes, characteristic: str | None) -> list[Event]:
    if model.link == "serial":
        codec = registry.codec(model.driver, model.quirks)
        return [*codec.feed(raw), *codec.flush()]
    codecs = {
        **registry.characteristics(model.driver, model.quirks),
        **registry.advertisements(model.driver, model.quirks),
    }
    if characteristic is not None:
        return [codecs[characteristic](raw)] if characteristic in codecs else []
    # a row of before its characteristic was kept: whichever reads it
    return [event for codec in codecs.values() if isinstance(event := codec(raw), Sample)]


def _word(event: Event) -> str:
    if isinstance(event, Sample):
        return "sample"
    return f"rejected: {event.reason}" if isinstance(event, Rejected) else f"notice: {event.code}"


def _says(sample: Sample, payload: Mapping[str, Any]) -> bool:
    """Whether all that was measured in a kept reading stands in the sample, digit by digit."""
    said = {(one.kind, format(one.value, "f"), one.unit) for one in sample.measurements}
    measured = [(vital["kind"], vital["measured"]) for vital in payload["vitals"] if vital["measured"] is not None]
    return all((kind, one["value"], one["unit"]) in said for kind, one in measured)


def _told(told: Told, state: str) -> dict[str, object]:
    sent = told.sent_at is not None or told.broker is not None
    return {
        "sent": {"at": _text(told.sent_at), "broker": told.broker, "version": told.version} if sent else None,
        "acknowledged": None
        if state == "waiting"
        else {"at": _text(told.at), "reason": told.reason, "broker": told.broker, "version": told.version},
    }


def _text(at: float | None) -> str | None:
    return None if at is None else utc_text(datetime.fromtimestamp(at, UTC))
