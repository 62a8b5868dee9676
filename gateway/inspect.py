"""What the commands `decode` and `models` show: lines for people, or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import simplejson

from drivers import registry
from drivers.contract import CharacteristicCodec, Event, Measurement, Notice, Sample
from drivers.models import Quirks
from gateway.catalogue import CatalogueError, load_model, model_names


class UsageError(Exception):
    """What was asked for cannot be answered; `str()` says what can."""


def decoded(
    data: bytes,
    *,
    model: str | None,
    driver: str | None,
    models_dir: Path | None = None,
    characteristic: str | None = None,
    advertisement: str | None = None,
) -> list[Event]:
    """Answer what the codec makes of the bytes, before any settling. Raises UsageError."""
    quirks = Quirks()
    name = driver
    if model is not None:
        try:
            row = load_model(model, models_dir)
        except CatalogueError as error:
            if model not in model_names(models_dir):
                raise UsageError(error.problems[0].message) from None
            raise UsageError(str(error)) from None
        name, quirks = row.driver, row.quirks
    if name is None or name not in registry.names():
        raise UsageError(f"there is no driver {name!r}; the drivers are: {', '.join(registry.names())}")
    if advertisement is not None:
        return [_advertisement(name, quirks, advertisement)(data)]
    if name in registry.ble_names():
        return [_characteristic(name, quirks, characteristic)(data)]
    if characteristic is not None:
        raise UsageError(f"{name} reads a stream of bytes: it has no characteristic")
    codec = registry.codec(name, quirks)
    return [*codec.feed(data), *codec.flush()]


def has_sample(events: Sequence[Event]) -> bool:
    """Answer whether at least one sample came out."""
    return any(isinstance(event, Sample) for event in events)


def event_line(event: Event) -> str:
    """Answer one event as contract.md section 1 shows it."""
    members: dict[str, object]
    if isinstance(event, Sample):
        members = {
            "event": "sample",
            "measurements": [_measurement(measurement) for measurement in event.measurements],
            "flags": list(event.flags),
            "device_time": None if event.device_time is None else event.device_time.isoformat(),
            "device_user": event.device_user,
            "modifiers": {name: _measurement(measurement) for name, measurement in event.modifiers.items()},
            "site": event.site,
        }
    elif isinstance(event, Notice):
        members = {"event": "notice", "code": event.code, "detail": event.detail}
    else:
        members = {"event": "rejected", "reason": event.reason, "raw": event.raw.hex()}
    return simplejson.dumps(members, ensure_ascii=False)


def model_lines(models_dir: Path | None, *, json: bool) -> Iterator[str]:
    """Answer the catalogue. Raises CatalogueError."""
    rows = [(name, load_model(name, models_dir)) for name in model_names(models_dir)]
    if json:
        yield simplejson.dumps(
            [
                {
                    "model": name,
                    "maker": row.maker,
                    "name": row.model,
                    "kind": row.kind,
                    "link": row.link,
                    "driver": row.driver,
                    "evidence": row.evidence,
                    "sources": row.sources,
                    "notes": row.notes,
                }
                for name, row in rows
            ],
            ensure_ascii=False,
            indent=2,
        )
        return
    header = ("model", "kind", "link", "driver", "evidence")
    table = [header, *((name, row.kind, row.link, row.driver, ", ".join(row.evidence)) for name, row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(header))]
    for line in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _characteristic(name: str, quirks: Quirks, uuid: str | None) -> CharacteristicCodec:
    codecs = registry.characteristics(name, quirks)
    codec = None if uuid is None else codecs.get(uuid.upper())
    if codec is None:
        raise UsageError(
            f"{name} reads one value of the characteristic that --characteristic names: {', '.join(codecs)}"
        )
    return codec


def _advertisement(name: str, quirks: Quirks, uuid: str) -> CharacteristicCodec:
    codecs = registry.advertisements(name, quirks) if name in registry.ble_names() else {}
    if not codecs:
        raise UsageError(f"{name} reads no advertisements")
    codec = codecs.get(uuid.upper())
    if codec is None:
        raise UsageError(f"{name} reads the service data that --advertisement names: {', '.join(codecs)}")
    return codec


def _measurement(measurement: Measurement) -> dict[str, str]:
    return {"kind": measurement.kind, "value": format(measurement.value, "f"), "unit": measurement.unit}
