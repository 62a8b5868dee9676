"""The configuration: a YAML file to frozen settings, or every problem in it with its line and column.

gateway/layers.py reads it with what it includes, gateway/settings.py says what each value may be,
gateway/config_rules.py what must fit together, gateway/problems.py words it, gateway/leaving_out.py says which devices
are left out. Here the parts are put together.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from drivers.models import Consent, DeviceModel
from gateway import config_rules, layers, leaving_out
from gateway.catalogue import CatalogueError, load_model, load_ranges, model_names
from gateway.config_rules import text_of
from gateway.files import Files
from gateway.layers import Layers
from gateway.problems import Problem, Report
from gateway.ranges import Ranges
from gateway.settings import (
    Broker,
    BrokerEntry,
    Device,
    DeviceEntry,
    GatewayFile,
    LeftOut,
    Metrics,
    MetricsEntry,
    Outbox,
    Settings,
    parse_url,
)

__all__ = ["ConfigError", "Loaded", "Problem", "load", "read_password", "with_consent", "with_consents"]

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
    """What came of a configuration: `settings` is None where any of the `problems` is an error.

    `layers`: the tree it was read from, None where nothing could be read. `files`: all that it is made of, by absolute
    path: YAML, the site's own models, ranges; no secrets.
    """

    settings: Settings | None
    problems: tuple[Problem, ...]
    layers: Layers | None = None
    files: Mapping[Path, bytes] = field(repr=False, default_factory=dict)


def load(path: Path, files: Files | None = None) -> Loaded:
    """Read the YAML file at `path`, by `files`; it raises nothing for what the file or the catalogue says."""
    files = Files() if files is None else files
    read = layers.read(path, files)
    report = read.report
    if report.root is None or not read.whole:
        report.validated(GatewayFile, missing=False)
        return Loaded(None, _in_order(report.problems, read), read if report.root else None)
    named = {
        key: _named(text_of(report.root.children.get("broker"), key), key, _folder(report, "broker", key))
        for key in _BROKER_FILES
    }
    paths = {key: file for key, file in named.items() if file is not None}
    models_dir = _named(text_of(report.root, "models_dir"), "models_dir", _folder(report, "models_dir"))
    ranges = _named(text_of(report.root, "ranges"), "ranges", _folder(report, "ranges"))

    entry = report.validated(GatewayFile)
    names = model_names(models_dir, files)
    models, bad_rows = _models(report, names, models_dir, files)
    config_rules.check(report, names, models, paths)
    folder = _folder(report, "devices")
    devices = report.root.children.get("devices")
    for index, device in enumerate(devices.children.values() if devices else ()):
        if (consent := _named(text_of(device, "consent_file"), "consent_file", folder)) is not None:
            config_rules.named_file(report, ("devices", index, "consent_file"), consent)
    if models_dir is not None and not files.is_folder(models_dir):
        report.error(("models_dir",), "there is no such folder, or it may not be looked at: name one with models in it")
    limits, bad_limits = _limits(ranges, files)

    left_out = leaving_out.apply(report, bad_rows)
    elsewhere = [problem for name in sorted(bad_rows) for problem in bad_rows[name]] + bad_limits
    problems = (*_in_order(report.problems, read), *elsewhere)
    if any(problem.severity == "error" for problem in problems):
        return Loaded(None, problems, read)
    if left_out:
        entry = report.validated(GatewayFile, without=left_out)
    if entry is None:
        return Loaded(None, problems, read)
    kept = [index for index in range(len(devices.children) if devices else 0) if index not in left_out]
    settings = Settings(
        site=entry.site,
        room=entry.room,
        timezone=entry.timezone,
        broker=_broker(entry.broker, paths),
        outbox=Outbox(
            _folder(report, "outbox", "path") / entry.outbox.path, entry.outbox.keep_days, entry.outbox.max_mb
        ),
        publish_raw=entry.publish_raw,
        devices=tuple(
            _device(device, models[device.model], report, index, folder)
            for index, device in zip(kept, entry.devices, strict=True)
        ),
        ranges=ranges,
        models_dir=models_dir,
        config_hash=_hash(files.taken.values()),
        metrics=_metrics(entry.metrics, _folder(report, "metrics", "textfile")),
        limits=limits,
        run_others=entry.on_device_error == "run_others",
        left_out=tuple(left_out.values()),
    )
    return Loaded(settings, problems, read, files.taken)


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


def with_consents(settings: Settings) -> Settings:
    """Answer the settings with what each session says of consent; raises ConfigError.

    Where the others are to run, a device whose code cannot be read is left out, as long as one is left.
    """
    devices: list[Device] = []
    left_out = list(settings.left_out)
    for device in settings.devices:
        try:
            devices.append(with_consent(device))
        except ConfigError as error:
            if not settings.run_others or len(left_out) + 1 >= len(settings.devices) + len(settings.left_out):
                raise
            left_out.append(LeftOut(device.id, device.model_name, str(error)))
    return replace(settings, devices=tuple(devices), left_out=tuple(left_out))


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


def _folder(report: Report, *path: str | int) -> Path:
    """Answer what a relative path at `path` is relative to: the folder of the file in which it stands."""
    file = report.root.file_at(path) if report.root else None
    return (file or report.file).absolute().parent


def _in_order(problems: Iterable[Problem], read: Layers) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda p: (read.order[p.file], p.line, p.column, p.path)))


def _hash(contents: Iterable[bytes]) -> str:
    """Answer 12 hex digits: those of the one file, or of each file's in the order of reading."""
    digests = [hashlib.sha256(content) for content in contents]
    whole = digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(one.digest() for one in digests))
    return whole.hexdigest()[:12]


def _models(
    report: Report, names: list[str], models_dir: Path | None, files: Files
) -> tuple[dict[str, DeviceModel], dict[str, tuple[Problem, ...]]]:
    """Read the models that the devices name, each once; what is wrong in them is told with their own places."""
    models: dict[str, DeviceModel] = {}
    wrong: dict[str, tuple[Problem, ...]] = {}
    devices = report.root.children.get("devices") if report.root else None
    wanted = {text_of(device, "model") for device in devices.children.values()} if devices else set()
    for name in sorted(wanted & set(names)):
        try:
            models[name] = load_model(name, models_dir, files)
        except CatalogueError as error:
            wrong[name] = error.problems
    return models, wrong


def _limits(ranges: Path | None, files: Files) -> tuple[Ranges | None, list[Problem]]:
    if ranges is None:
        return None, []
    try:
        return load_ranges(ranges, files), []
    except CatalogueError as error:
        return None, list(error.problems)


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
        entry=index,
    )
