"""A good configuration, and what is wrong with it in practice: ports, files, certificates, as this machine has them.

Each is a warning: a port may be plugged in tomorrow, a certificate renewed tonight. `run` says none of it: what it
meets then, it says itself. Nothing is opened but certificates and keys; no port is.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway import config, layers, tls, yaml_places
from gateway.accounts import Account, service_account
from gateway.files import Files
from gateway.last_good import STATE_FOLDER
from gateway.probe_broker import Look, is_ours, since
from gateway.problems import Problem, Report
from gateway.settings import Settings

Note = Callable[[yaml_places.Path, str], None]
"""Takes where in the YAML a warning belongs, and its words."""


def doubts(file: Path, settings: Settings) -> list[Problem]:
    """Answer what is wrong on this machine with the configuration that stands in `file`, with places in it."""
    report = _places(file)
    look(settings, report.warning, datetime.now(UTC), service_account())
    return report.problems


def doubts_online(
    file: Path, settings: Settings, looks: Sequence[Look], status: Mapping[str, Any] | None
) -> list[Problem]:
    """Answer what the brokers say of it. `looks`: one for each url, in order; `status`: of this machine's service."""
    report = _places(file)
    look_online(settings, looks, status, report.warning)
    return report.problems


def _places(file: Path) -> Report:
    """Answer a report on the file and what it includes, without what was wrong with it: that is told elsewhere."""
    report = layers.read(file, Files()).report
    report.problems.clear()
    return report


def look(settings: Settings, note: Note, now: datetime, account: Account | None) -> None:
    """Note what is wrong. `account`: the service's, None where it is not known on this machine."""
    _ports(settings, note, account)
    _secrets(settings, note, account)
    _certificates(settings, note, now)
    _outbox(settings, note, account)
    _metrics(settings, note)


def look_online(settings: Settings, looks: Sequence[Look], status: Mapping[str, Any] | None, note: Note) -> None:
    """Note what the brokers say. `looks`: one for each url, in order; `status`: of the service, if it runs here."""
    several = len(settings.broker.urls) > 1
    for index, seen in enumerate(looks):
        at: yaml_places.Path = ("broker", "urls", index) if several else ("broker", "url")
        if seen.trouble is not None:
            note(at, seen.trouble)
        ends = seen.certificates.get("broker")
        if ends is not None and tls.expiring(ends, datetime.now(UTC)):
            note(at, f"the broker's certificate ends on {ends:%Y-%m-%d}: its operator has to renew it")
    told: set[tuple[yaml_places.Path, str]] = set()  # the nodes of a cluster say the same
    for seen in looks:
        told |= set(_names(settings, seen, status))
    for at, message in sorted(told, key=str):
        note(at, message)


def _names(settings: Settings, seen: Look, status: Mapping[str, Any] | None) -> Iterator[tuple[yaml_places.Path, str]]:
    room: yaml_places.Path = ("room",)
    name = f"{settings.site}/{settings.room}"
    if seen.gateway is not None and not is_ours(seen.gateway, status):
        words = f"another gateway is online as {name} ({since(seen.gateway)}): give one of the two another room or site"
        yield room, words
    why = seen.not_readable.get(f"vitals/v1/{name}/gateway")
    if why is None and seen.gateway is None and _is_at(status, seen):
        why = "our own is there, and is not shown"  # Mosquitto's acl_file refuses no subscription, and delivers nothing
    if why is not None:
        words = f"whether another gateway has this name is not known: let it read vitals/v1/{name}/gateway ({why})"
        yield room, words
    for device in settings.devices:
        for other in seen.claimed_by.get(device.id, ()):
            yield (
                ("devices", device.entry, "address"),
                f"room {other} has it in its configuration, too: one is wrong",
            )


def _is_at(status: Mapping[str, Any] | None, seen: Look) -> bool:
    """Whether our service is connected there, so that its retained state must be there, too."""
    return seen.trouble is None and status is not None and status["broker"]["connected_to"] == seen.address


def _ports(settings: Settings, note: Note, account: Account | None) -> None:
    seen: dict[int, int] = {}
    for device in settings.devices:
        index = device.entry
        if device.port is None:
            continue
        at: yaml_places.Path = ("devices", index, "port")
        path = Path(device.port)
        try:
            node = path.stat()
        except OSError as error:
            why = "there is no such port now" if isinstance(error, FileNotFoundError) else str(error.strerror)
            note(at, f"{why}: plug the adapter in, or compare with ls -l /dev/serial/by-path")
            continue
        if not stat.S_ISCHR(node.st_mode):
            note(at, "this is no port: name one of /dev/serial/by-path")
            continue
        if node.st_rdev in seen:
            other = seen[node.st_rdev]
            note(at, f"it is the port of devices[{other}] under another name ({path.resolve()}): each has its own")
        seen.setdefault(node.st_rdev, index)
        if not _may(path, os.R_OK | os.W_OK, account):
            note(at, "the service may not open it: 60-vitals-gateway.rules gives it to the group vitals-gateway")


def _secrets(settings: Settings, note: Note, account: Account | None) -> None:
    broker = settings.broker
    named: list[tuple[yaml_places.Path, Path | None]] = [
        (("broker", "password_file"), broker.password_file),
        (("broker", "client_key_file"), broker.client_key_file),
        *((("devices", device.entry, "consent_file"), device.consent_file) for device in settings.devices),
    ]
    public: list[tuple[yaml_places.Path, Path | None]] = [
        (("broker", "ca_file"), broker.ca_file),
        (("broker", "client_cert_file"), broker.client_cert_file),
    ]
    for at, file in named:
        if file is None or not _is(Path.is_file, file):
            continue  # its absence is told already (config_rules.py)
        if _mode(file) & 0o007:
            note(at, f"others can read {file}: chmod o= {file}")
        if file.parent != config.CREDSTORE and not _readable(file, account):  # of the store, systemd reads it
            note(at, f"the service cannot read {file}: mode 640, owner root:vitals-gateway")
    for at, file in public:
        if file is not None and _is(Path.is_file, file) and not _readable(file, account):
            note(at, f"the service cannot read {file}: mode 644, and its folder open to it")


def _certificates(settings: Settings, note: Note, now: datetime) -> None:
    broker = settings.broker
    for key, file in (("ca_file", broker.ca_file), ("client_cert_file", broker.client_cert_file)):
        if file is None or not _is(Path.is_file, file):
            continue
        try:
            ends = tls.ends_in_file(file)
        except OSError:
            continue  # for us; whether the service can read it is told above
        at: yaml_places.Path = ("broker", key)
        known = [end for end in ends if end is not None]
        if not known:
            note(at, f"no certificate stands in {file}: it must be PEM (-----BEGIN CERTIFICATE-----)")
            continue
        last = max(known) if key == "ca_file" else known[0]  # of several signers, one that holds is enough
        if last <= now:
            note(at, f"the certificate has expired on {last:%Y-%m-%d}: renew it, or set this machine's clock")
        elif tls.expiring(last, now):
            note(at, f"the certificate ends on {last:%Y-%m-%d}, in {(last - now).days} days: renew it")
    cert, key_file = broker.client_cert_file, broker.client_key_file
    if cert is not None and key_file is not None and _is(Path.is_file, cert) and _is(Path.is_file, key_file):
        _key(cert, key_file, note)


def _key(cert: Path, key: Path, note: Note) -> None:
    try:
        tls.context(None, cert, key)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            note(("broker", "client_key_file"), f"this is not the key of {cert}: name the one it was made with")
        elif b"ENCRYPTED" in key.read_bytes():
            note(("broker", "client_key_file"), "the key has a passphrase, which nobody enters here: take it off")
        else:
            note(("broker", "client_key_file"), f"certificate or key cannot be used ({error.reason}): both must be PEM")
    except OSError:
        return  # not to be read by us


def _outbox(settings: Settings, note: Note, account: Account | None) -> None:
    path = settings.outbox.path
    at: yaml_places.Path = ("outbox", "path")
    folder = path.parent
    if not _is(Path.is_dir, folder):
        if folder != STATE_FOLDER and not _may_make(folder, account):
            note(at, f"there is no folder {folder}: make it, and give it to the user vitals-gateway")
        return
    for place in (folder, path):
        if _is(Path.exists, place) and not _may(place, os.W_OK | (os.X_OK if place is folder else os.R_OK), account):
            note(at, f"the service may not write {place}: chown vitals-gateway: {place}")
            return


def _metrics(settings: Settings, note: Note) -> None:
    file = None if settings.metrics is None else settings.metrics.textfile
    if file is not None and not _is(Path.is_dir, file.parent):
        note(("metrics", "textfile"), f"there is no folder {file.parent}: node_exporter's own is named there")


def _may_make(folder: Path, account: Account | None) -> bool:
    above = next(parent for parent in folder.parents if _is(Path.exists, parent))
    return _may(above, os.W_OK | os.X_OK, account)


def _may(path: Path, want: int, account: Account | None) -> bool:
    """Whether the service may; where its account is not known, nobody can say that it may not."""
    try:
        return account is None or account.may(path, want)
    except OSError:
        return False


def _readable(file: Path, account: Account | None) -> bool:
    return _may(file, os.R_OK, account)


def _is(kind: Callable[[Path], bool], path: Path) -> bool:
    """Ask Path.is_file and the like; what may not be looked at is none."""
    try:
        return kind(path)
    except OSError:
        return False


def _mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)
