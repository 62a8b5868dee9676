"""From one configuration to the next: what changes, in words, and what cannot while the service runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from gateway.prepared import Prepared
from gateway.settings import Device, Settings

RESTART = "systemctl restart vitals-gateway"
_KEYS = {"model_name": "model", "line": "serial"}  # of the YAML, where they are not a Device's own


def impossible(before: Settings, after: Settings) -> list[str]:
    """Answer what only a restart can change: the names that all topics bear, and the file that holds the readings."""
    pairs: list[tuple[str, str | Path, str | Path]] = [
        ("site", before.site, after.site),
        ("room", before.room, after.room),
        ("outbox.path", before.outbox.path, after.outbox.path),
    ]
    return [
        f"{key}: is {was} in the service that runs and {now} in the file: only a restart can change it: {RESTART}"
        for key, was, now in pairs
        if was != now
    ]


def told(before: Prepared, after: Prepared, added: Sequence[str], removed: Sequence[str]) -> list[str]:
    """Answer what changes, a line each; nothing where only comments or places do."""
    return list(_told(before, after, added, removed))


def _told(before: Prepared, after: Prepared, added: Sequence[str], removed: Sequence[str]) -> Iterator[str]:
    was, now = before.settings, after.settings
    yield from (f"device {id_}: added" for id_ in added)
    yield from (f"device {id_}: removed" for id_ in removed)
    earlier = {device.id: device for device in was.devices}
    for device in now.devices:
        if device.id in earlier and (keys := _differing(earlier[device.id], device)):
            yield f"device {device.id}: {', '.join(keys)}"
    if before.route != after.route:
        yield "broker: connects anew"
    if was.timezone != now.timezone:
        yield f"timezone: {now.timezone}"
    if before.ranges != after.ranges:
        yield "ranges: for readings from now on"
    if was.publish_raw != now.publish_raw:
        yield f"publish_raw: {str(now.publish_raw).lower()}"
    if was.outbox != now.outbox:
        yield f"outbox: keep_days {now.outbox.keep_days}, max_mb {now.outbox.max_mb}"
    if was.metrics != now.metrics:
        yield "metrics: " + ("off" if now.metrics is None else "started anew")


def _differing(was: Device, now: Device) -> list[str]:
    """Answer the keys of the YAML that differ; where none does, what they name has."""
    if was == now:
        return []
    names = {field.name for field in fields(Device) if getattr(was, field.name) != getattr(now, field.name)}
    if "model_name" in names:
        names -= {"line"}
    shown = [_KEYS.get(field.name, field.name) for field in fields(Device) if field.name in names - {"model"}]
    return shown or ["what its model or its consent_file says"]
