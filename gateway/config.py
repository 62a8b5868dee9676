"""The configuration: a YAML file to frozen settings, or every problem in it with its line and column.

One file at a time: gateway/yaml_places.py reads it, gateway/settings.py says what each value may be,
gateway/config_rules.py what must fit together, gateway/problems.py words it. Here the parts are put together.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from drivers.models import Consent, DeviceModel
from gateway import config_rules
from gateway.catalogue import CatalogueError, load_model, load_ranges, model_names
from gateway.config_rules import text_of
from gateway.problems import Problem, Report
from gateway.settings import (
    Broker,
    BrokerEntry,
    Device,
    DeviceEntry,
    GatewayFile,
    Metrics,
    MetricsEntry,
    Outbox,
    Settings,
    parse_url,
)

__all__ = ["ConfigError", "Loaded", "Problem", "load", "read_password", "with_consent"]

_BROKER_FILES = ("password_file", "ca_file", "client_cert_file", "client_key_file")
_SECRET_FILES = frozenset({"password_file", "consent_file"})
# What the packaged unit hands over as a credential (LoadCredential=), and where systemd finds it; root's alone to read.
CREDSTORE = Path("/etc/credstore")
_UNITS_CREDENTIAL = "mqtt-password"
_CONSENT = re.compile(rb"[0-9]{1,4}\s*")
_MAX_CONSENT = 16  # bytes
_MAX_PASSWORD = 65_535  # bytes: MQTT 5.0, section 3.1.3.6: binary data has a length of two bytes


class ConfigError(Exception):
    """What the configuration names cannot be used; `str()` says what to do."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a configuration: `settings` is None where any of the `problems` is an error."""

    settings: Settings | None
    problems: tuple[Problem, ...]


def load(path: Path) -> Loaded:
    """Read the YAML file at `path`; it raises nothing for what the file or the catalogue says."""
    report = Report(path)
    data = report.read()
    if data is None or report.root is None:
        return Loaded(None, tuple(report.problems))
    folder = path.absolute().parent
    named = {key: _named(text_of(report.root.children.get("broker"), key), key, folder) for key in _BROKER_FILES}
    paths = {key: file for key, file in named.items() if file is not None}
    models_dir = _named(text_of(report.root, "models_dir"), "models_dir", folder)
    ranges = _named(text_of(report.root, "ranges"), "ranges", folder)

    entry = report.validated(GatewayFile)
    names = model_names(models_dir)
    models, elsewhere = _models(report, names, models_dir)
    config_rules.check(report, names, models, paths)
    devices = report.root.children.get("devices")
    for index, device in enumerate(devices.children.values() if devices else ()):
        if (consent := _named(text_of(device, "consent_file"), "consent_file", folder)) is not None:
            config_rules.named_file(report, ("devices", index, "consent_file"), consent)
    elsewhere += _data_files(report, models_dir, ranges)

    problems = (*sorted(report.problems, key=lambda p: (p.line, p.column, p.path)), *elsewhere)
    if entry is None or any(problem.severity == "error" for problem in problems):
        return Loaded(None, problems)
    settings = Settings(
        site=entry.site,
        room=entry.room,
        timezone=entry.timezone,
        broker=_broker(entry.broker, paths),
        outbox=Outbox(folder / entry.outbox.path, entry.outbox.keep_days, entry.outbox.max_mb),
        publish_raw=entry.publish_raw,
        devices=tuple(
            _device(device, models[device.model], report, index, folder) for index, device in enumerate(entry.devices)
        ),
        ranges=ranges,
        models_dir=models_dir,
        config_hash=hashlib.sha256(data).hexdigest()[:12],
        metrics=_metrics(entry.metrics, folder),
    )
    return Loaded(settings, problems)


def read_password(broker: Broker) -> str | None:
    """Answer the broker's password, without the line end of its file; None where none is set; raises ConfigError."""
    file = broker.password_file
    if file is None:
        return None
    data = _read_secret("password_file", file, _MAX_PASSWORD + 3)
    try:
        password = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ConfigError(f"password_file {file}: not UTF-8 text: save the password as UTF-8") from None
    if not password or len(password.encode()) > _MAX_PASSWORD:
        raise ConfigError(f"password_file {file}: empty, or too long for MQTT: it holds the password alone")
    return password


def with_consent(device: Device) -> Device:
    """Answer the device with what its session says of consent, read from its file; raises ConfigError."""
    file = device.consent_file
    if file is None:
        return device
    code = _read_secret("consent_file", file, _MAX_CONSENT + 1)
    if not _CONSENT.fullmatch(code):
        raise ConfigError(f"consent_file {file}: it holds the scale's consent code alone, a number from 0 to 9999")
    session = replace(device.model.session, consent=Consent(device.user, int(code)))
    return replace(device, model=replace(device.model, session=session))


def _read_secret(key: str, file: Path, limit: int) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(limit)
    except OSError as error:
        why = error.strerror or "it cannot be opened"
        raise ConfigError(f"{key} {file}: {why}: the service's user must be able to read it") from None


def _named(text: str, key: str, folder: Path) -> Path | None:
    """Resolve a file's name; a bare one of a secret first where systemd puts credentials (systemd.exec(5)).

    Outside of the service, where `check` and `doctor` run, the unit's own is looked for where systemd takes it from.
    """
    if not text or not text.isprintable():
        return None
    credentials = os.environ.get("CREDENTIALS_DIRECTORY") or (CREDSTORE if text == _UNITS_CREDENTIAL else None)
    if key in _SECRET_FILES and "/" not in text and credentials:
        file = Path(credentials) / text
        try:
            if file.is_file():
                return file
        except OSError:
            pass  # not to be entered: it is looked for beside the YAML, and told there
    return folder / text


def _models(report: Report, names: list[str], models_dir: Path | None) -> tuple[dict[str, DeviceModel], list[Problem]]:
    """Read the models that the devices name, each once; what is wrong in them is told with their own places."""
    models: dict[str, DeviceModel] = {}
    problems: list[Problem] = []
    devices = report.root.children.get("devices") if report.root else None
    wanted = {text_of(device, "model") for device in devices.children.values()} if devices else set()
    for name in sorted(wanted & set(names)):
        try:
            models[name] = load_model(name, models_dir)
        except CatalogueError as error:
            problems += error.problems
    return models, problems


def _data_files(report: Report, models_dir: Path | None, ranges: Path | None) -> list[Problem]:
    if models_dir is not None and not _is_dir(models_dir):
        report.error(("models_dir",), "there is no such folder, or it may not be looked at: name one with models in it")
    if ranges is None:
        return []
    try:
        load_ranges(ranges)
    except CatalogueError as error:
        return list(error.problems)
    return []


def _is_dir(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:
        return False


def _broker(entry: BrokerEntry, paths: Mapping[str, Path]) -> Broker:
    return Broker(
        urls=tuple(parse_url(url) for url in (entry.urls or (entry.url,))),
        protocol="3.1.1" if entry.protocol == "3.1.1" else 5,
        username=entry.username or None,
        password_file=paths.get("password_file"),
        ca_file=paths.get("ca_file"),
        client_cert_file=paths.get("client_cert_file"),
        client_key_file=paths.get("client_key_file"),
    )


def _metrics(entry: MetricsEntry, folder: Path) -> Metrics | None:
    if not entry.port and not entry.textfile:
        return None
    return Metrics(entry.port or None, folder / entry.textfile if entry.textfile else None)


def _device(entry: DeviceEntry, model: DeviceModel, report: Report, index: int, folder: Path) -> Device:
    """Join a device with its model. Of `serial:` only the keys that stand in the YAML go over the model's line.

    A unit that the frames do not say becomes a quirk of this device's model: its driver knows no YAML.
    """
    serial = report.root.at(("devices", index, "serial")) if report.root else None
    said = {str(key): getattr(entry.serial, str(key)) for key in serial.children} if serial else {}
    return Device(
        id=entry.id,
        model_name=entry.model,
        model=replace(model, quirks=replace(model.quirks, unit=entry.unit)) if model.unit == "pinned" else model,
        line=replace(model.line, **said),
        port=entry.port or None,
        address=entry.address or None,
        stored=entry.stored,
        unit=entry.unit or None,
        user=entry.user,
        consent_file=_named(entry.consent_file, "consent_file", folder),
    )
