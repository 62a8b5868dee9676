"""The support file of `doctor --bundle`: what a maker needs to see, and nothing of a patient.

Laws:

1. Nothing is copied as it stands. Each member is made of what is named here: numbers, codes, names of ours. What a
   device, a broker or a person may have written freely stays out: comments, user names, device text, error words.
2. No row of the outbox is read, no secret's file opened: its mode and size are told.
3. Written once, for its owner alone (0600), and never over another file.
"""

from __future__ import annotations

import io
import json
import os
import platform
import re
import tarfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gateway import database, programs
from gateway.doctor import UNIT, Patient
from gateway.doctor_outbox import GLANCE_S
from gateway.findings import Finding
from gateway.settings import Device, Settings

JOURNAL_LINES = 2_000
METRICS_LIMIT, METRICS_S = 1_000_000, 3.0
_USB = Path("/sys/bus/usb/devices")

# Of `status`, by section; a device's `detail` and a broker's words stay out.
_STATUS: Mapping[str, tuple[str, ...]] = {
    "gateway": ("id", "version", "started_at", "at", "config_hash", "clock", "stream"),
    "broker": ("connected_to", "certificates", "blocked", "taken", "delivered", "events_dropped"),
    "outbox": ("depth", "oldest_age_s", "parked", "held_back", "not_kept", "used_mb", "max_mb", "damaged", "discarded"),
    "replays": ("left", "refused"),
    "claims": ("refused",),
}
_DEVICE = ("model", "port", "address", "state", "reason", "battery", "last_seen", "readings", "held")
_ACCOUNT = (
    *("frames", "samples", "notices", "repeats", "rejected", "usable", "held", "committing", "not_kept", "revisions"),
    *("waiting_at_start", "replaced", "waiting", "delivered", "parked", "damaged"),
)
_COUNTS = _ACCOUNT[:9]

# Of doctor's page: a line of the YAML, or a driver's sentence, may stand in what these say.
_NOT_TOLD = ("configuration", "device")

# Our own lines (log.py); of a traceback where it was, never the words: they may hold what a device sent.
_OURS = re.compile(r"(?P<time>\S+) (?P<text>(gateway|drivers)(\.\w+)*: .*)")
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in ([\w<>]+)')
_METRIC = re.compile(r"(# (HELP|TYPE) )?vitals_gateway_\w+.*")


def write(to: Path, patient: Patient, findings: Sequence[Finding]) -> Path:
    """Write the file and answer its path; a folder gets a name of its own in it. Raises OSError."""
    now = datetime.now(UTC)
    path = to / f"vitals-gateway-support-{now:%Y%m%dT%H%M%SZ}.tar.gz" if to.is_dir() else to
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in members(patient, findings):
            data = text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"vitals-gateway-support/{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return path


def members(patient: Patient, findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    """Yield each file of the bundle: its name and its text."""
    settings, status = patient.loaded.settings, patient.status
    yield "doctor.json", _json([_finding(finding) for finding in findings])
    yield "status.json", _json(None if status is None else status_of(status))
    yield "machine.json", _json(_machine())
    yield "usb.json", _json(list(_usb()))
    yield "journal.txt", _lines(journal_lines(_journal()))
    if settings is None:
        yield "configuration.json", _json(_problems(patient))
        return
    yield "configuration.json", _json(_configuration(settings, patient.file))
    yield "models.json", _json([_model(device) for device in settings.devices])
    yield "outbox.json", _json(_outbox(settings))
    if settings.metrics is not None and settings.metrics.port is not None:
        yield "metrics.txt", _lines(line for line in _metrics(settings.metrics.port) if _METRIC.fullmatch(line))


def status_of(status: Mapping[str, Any]) -> dict[str, Any]:
    """Answer what of a status goes into the file."""
    answer: dict[str, Any] = {
        section: _only(keys, status[section]) for section, keys in _STATUS.items() if status.get(section) is not None
    }
    answer["account"] = {**_only(_ACCOUNT, status["account"]), "unbalanced": len(status["account"]["unbalanced"])}
    answer["devices"] = {
        name: {**_only(_DEVICE, device), "counts": _only(_COUNTS, device["counts"])}
        for name, device in status["devices"].items()
    }
    return answer


def journal_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield of a journal (-o short-iso-precise, without host and unit) our own lines, tracebacks as places alone."""
    for line in lines:
        found = _OURS.fullmatch(line)
        if found is None:
            continue
        text, traced, trace = found["text"].partition("Traceback (most recent call last)")
        places = " ".join(f"{Path(file).name}:{number} {name}" for file, number, name in _FRAME.findall(trace))
        yield f"{found['time']} {text}{f'traceback: {places}' if traced else ''}"


def _only(keys: Iterable[str], members: Mapping[str, Any]) -> dict[str, Any]:
    return {key: members[key] for key in keys if key in members}


def _finding(finding: Finding) -> dict[str, str]:
    members = finding.members()
    if finding.check.startswith(_NOT_TOLD):
        members["detail"] = ""
    return members


def _machine() -> dict[str, Any]:
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    system = os.uname()
    return {
        "vitals_gateway": version("vitals-gateway"),
        "python": platform.python_version(),
        "kernel": f"{system.sysname} {system.release} {system.machine}",
        "os": {key: release.get(key) for key in ("ID", "VERSION_ID", "VERSION_CODENAME")},
        "bluetoothctl": (programs.said("bluetoothctl", "--version") or "").strip()[:80],
        "libraries": {name: version(name) for name in ("paho-mqtt", "bleak", "dbus-fast", "pyserial", "pydantic")},
        "unit": programs.unit(UNIT),
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "user_is_root": os.geteuid() == 0,
    }


def _configuration(settings: Settings, file: Path) -> dict[str, Any]:
    broker, metrics = settings.broker, settings.metrics
    files = ("password_file", "ca_file", "client_cert_file", "client_key_file")
    return {
        "file": _file(file),
        "config_hash": settings.config_hash,
        "site": settings.site,
        "room": settings.room,
        "timezone": settings.timezone,
        "publish_raw": settings.publish_raw,
        "broker": {
            "urls": [str(url) for url in broker.urls],
            "protocol": broker.protocol,
            "username": broker.username is not None,
            **{key: _file(getattr(broker, key)) for key in files},
        },
        "outbox": {
            **_file_members(settings.outbox.path),
            "keep_days": settings.outbox.keep_days,
            "max_mb": settings.outbox.max_mb,
        },
        "metrics": None if metrics is None else {"port": metrics.port, "textfile": metrics.textfile is not None},
        "ranges": settings.ranges is not None,
        "models_dir": settings.models_dir is not None,
        "devices": [
            {
                "id": device.id,
                "model": device.model_name,
                "port": device.port,
                "address": device.address,
                "stored": device.stored,
                "unit": device.unit,
                "line": repr(device.line),
                "consent_file": _file(device.consent_file),
            }
            for device in settings.devices
        ],
    }


def _problems(patient: Patient) -> dict[str, Any]:
    """Where the YAML is wrong; not what stands there, for it may be a password in the wrong place."""
    return {"problems": [f"line {p.line}, column {p.column}: {p.severity}" for p in patient.loaded.problems]}


def _model(device: Device) -> dict[str, Any]:
    row = device.model
    return {
        "model": device.model_name,
        **{key: getattr(row, key) for key in ("maker", "kind", "link", "driver", "memory", "unit")},
        "evidence": list(row.evidence),
        "steps": list(row.session.steps),
        "records": list(row.session.records),
    }


def _outbox(settings: Settings) -> dict[str, Any]:
    """Answer schema and counts of the file, as far as it may be read; never a row."""
    try:
        return asdict(database.glance(settings.outbox.path, GLANCE_S))
    except (OSError, database.DatabaseError) as error:
        return {"not_read": type(error).__name__}


def _file(path: Path | None) -> dict[str, Any] | None:
    return None if path is None else _file_members(path)


def _file_members(path: Path) -> dict[str, Any]:
    try:
        node = path.stat()
    except OSError as error:
        return {"name": path.name, "there": error.strerror}
    return {
        "name": path.name,
        "mode": f"{node.st_mode & 0o7777:o}",
        "owner": node.st_uid,
        "group": node.st_gid,
        "bytes": node.st_size,
    }


def _usb() -> Iterator[dict[str, Any]]:
    """Yield what lsusb shows, but for the texts: they are the device's own."""
    for device in sorted(_USB.glob("*-*")) if _USB.is_dir() else []:
        ids = {key: _text(device / key) for key in ("idVendor", "idProduct", "bcdDevice", "bDeviceClass")}
        if ids["idVendor"]:
            drivers = sorted({link.resolve().name for link in device.glob("*/driver")})
            ttys = sorted(tty.name for tty in device.glob("*/tty*") if tty.name != "tty")
            yield {"at": device.name, **ids, "drivers": drivers, "ttys": ttys}


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def _journal() -> Iterator[str]:
    """Answer the unit's lines as `time text`; each is without the host's name."""
    said = programs.said(
        "journalctl",
        "-u",
        UNIT,
        "-o",
        "json",
        "--no-pager",
        "-q",
        "-n",
        str(JOURNAL_LINES),
        "--output-fields=MESSAGE,__REALTIME_TIMESTAMP",
        limit_s=10.0,
    )
    for line in (said or "").splitlines():
        try:
            entry = json.loads(line)
            at = datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, UTC)
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(entry.get("MESSAGE"), str):  # else bytes that are no text: not ours
            yield f"{at:%Y-%m-%dT%H:%M:%S.%fZ} {entry['MESSAGE']}"


def _metrics(port: int) -> list[str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=METRICS_S) as answer:
            said: bytes = answer.read(METRICS_LIMIT)
    except (OSError, ValueError):
        return []
    return said.decode("utf-8", "replace").splitlines()


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n"
