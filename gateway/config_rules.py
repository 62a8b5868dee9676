"""What must fit together in a configuration, beyond what each value alone may be (gateway/settings.py).

The rules look at the YAML's own tree, not at validated settings: one wrong value must not hide the next problem.
So each value is looked at only where it has the type it should have; where not, its problem is told already.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path

from drivers.models import DeviceModel
from gateway import yaml_places
from gateway.problems import Report, shown_path, unknown_model
from gateway.settings import ADDRESS, UNITS, parse_url
from gateway.yaml_places import Node

_BARE_PORT = re.compile(r"/dev/tty(USB|ACM)[0-9]+")
# Each CP210x leaves its maker with the serial number 0001 (STocidlowski/device_reporter docs/devices.md).
_TWIN = re.compile(r"/dev/serial/by-id/.*CP210.*_0001-if.*")
_UNITS_OF: Mapping[str, frozenset[str]] = {
    "scale": frozenset({"kg", "g", "[lb_av]", "[oz_av]", "cm", "m", "[in_i]"}),
    "blood_pressure": frozenset({"mm[Hg]", "kPa"}),
    "thermometer": frozenset({"Cel", "[degF]"}),
    "oximeter": frozenset(),
    "heart_rate": frozenset(),
}


def check(report: Report, names: list[str], models: Mapping[str, DeviceModel], paths: Mapping[str, Path]) -> None:
    """Note in `report` what does not fit. `models`: those that could be read; `paths`: the named files, resolved."""
    root = report.root
    if root is None or not isinstance(root.data, dict):
        return
    if "timezone" not in root.data:
        report.warning(("timezone",), "is not set: the clocks of the devices are read as UTC")
    if root.data.get("publish_raw") is True:
        report.warning(("publish_raw",), "the bytes of a frame may hold an ID that someone keyed in at the device")
    if isinstance(root.data.get("broker"), dict):
        _broker(report, root.children["broker"])
    metrics = root.data.get("metrics")
    if isinstance(metrics, dict) and not {"port", "textfile"} & metrics.keys():
        report.error(("metrics",), "says neither port nor textfile: write one of them, or take metrics away")
    for key, path in paths.items():
        named_file(report, ("broker", key), path)
    if isinstance(root.data.get("devices"), list):
        for index, device in enumerate(root.children["devices"].children.values()):
            if isinstance(device.data, dict):
                _device(report, index, device, names, models)
        _unique(report, root.children["devices"])


def text_of(node: Node | None, key: str) -> str:
    """Answer the text that stands under `key`, or "" where there is none."""
    value = node.data.get(key) if node is not None and isinstance(node.data, dict) else None
    return value if isinstance(value, str) else ""


def _broker(report: Report, broker: Node) -> None:
    keys = broker.children
    if "url" in keys and "urls" in keys:
        report.error(("broker", "urls"), _both_urls(keys["url"], keys["urls"]), of_key=True)
    if "url" not in keys and "urls" not in keys:
        report.error(
            ("broker", "url"), 'the required key "url" is missing: write url: mqtts://… (or urls: a list) here'
        )
    urls = keys.get("urls")
    places: list[tuple[yaml_places.Path, object]] = [(("broker", "url"), text_of(broker, "url"))]
    places += [(("broker", "urls", i), node.data) for i, node in (urls.children.items() if urls else ())]
    for path, text in places:
        _plaintext(report, path, text if isinstance(text, str) else "", allowed=_is_true(broker, "allow_plaintext"))
    if "password_file" in keys and "username" not in keys:
        report.error(
            ("broker", "password_file"), "a password needs a username beside it: write username: …", of_key=True
        )
    for one, other in (("client_cert_file", "client_key_file"), ("client_key_file", "client_cert_file")):
        if one in keys and other not in keys:
            report.error(("broker", one), f"a client certificate needs its key: write {other}: … too", of_key=True)


def _both_urls(url: Node, urls: Node) -> str:
    if url.file == urls.file or url.file is None:
        return "url and urls stand here: keep one of them"
    where = f"{shown_path(url.file)}:{url.line}"
    return f"urls stands here, and url in {where}: write the same key in both files, then the including one wins"


def _is_true(node: Node, key: str) -> bool:
    return isinstance(node.data, dict) and node.data.get(key) is True


def _plaintext(report: Report, path: yaml_places.Path, text: str, *, allowed: bool) -> None:
    try:
        url = parse_url(text)
    except ValueError:
        return
    if url.tls or _loopback(url.host):
        return
    if allowed:
        report.warning(path, "readings and password cross the network unencrypted (allow_plaintext: true)")
    else:
        report.error(path, "mqtt:// is allowed to this machine only: use mqtts://, or say allow_plaintext: true")


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def named_file(report: Report, path: yaml_places.Path, file: Path) -> None:
    """Warn of a named file that is not there."""
    try:
        there = file.is_file()
    except (OSError, ValueError):
        there = False  # a folder that may not be entered, a name too long
    if not there:
        message = f"no such file in {file.parent}, or it may not be looked at: it must be there when the gateway starts"
        report.warning(path, message)


def _device(report: Report, index: int, device: Node, names: list[str], models: Mapping[str, DeviceModel]) -> None:
    at: yaml_places.Path = ("devices", index)
    name = text_of(device, "model")
    if name and name not in names:
        report.error((*at, "model"), unknown_model(name, names))
    model = models.get(name)
    if model is None:
        if "port" not in device.children and "address" not in device.children:
            report.error(
                (*at, "port"), "port (a serial device) or address (a Bluetooth device) is missing: write it here"
            )
    else:
        _link(report, at, device, model)
        _consent(report, at, device, model)
    if _BARE_PORT.fullmatch(text_of(device, "port")):
        message = "this name goes to whichever device is plugged in first: use its name in /dev/serial/by-path"
        report.warning((*at, "port"), message)
    if _TWIN.fullmatch(text_of(device, "port")):
        message = "each adapter with this chip has the serial number 0001: use its name in /dev/serial/by-path"
        report.warning((*at, "port"), message)
    if _is_private(text_of(device, "address")):
        message = (
            "this looks like a private address, which changes every few minutes: write the identity address, which"
            " bluetoothctl devices shows after pairing"
        )
        report.warning((*at, "address"), message)
    if text_of(device, "stored") == "publish":
        message = "what was not measured just now, perhaps another patient's, goes out as usable"
        report.warning((*at, "stored"), message)


def _is_private(address: str) -> bool:
    """Whether an address cannot be one that stays: a random one of the changing kinds (Core, vol. 6, B, 1.3.2).

    Those begin with the bits 00 or 01, as many a public one does, which tells by the next two bits that its maker was
    given it (IEEE: unicast, universally administered). One private address in four looks like such a one.
    """
    if not ADDRESS.fullmatch(address):
        return False
    first = int(address[:2], 16)
    return first < 0x80 and bool(first & 0b11)


def _link(report: Report, at: yaml_places.Path, device: Node, model: DeviceModel) -> None:
    wanted, other, link = ("port", "address", "serial") if model.link == "serial" else ("address", "port", "Bluetooth")
    if wanted not in device.children:
        message = f"{model.maker} {model.model} is a {link} device; write {wanted}: …"
        report.error((*at, wanted), f'the required key "{wanted}" is missing: {message}')
    for key in (other, "serial") if model.link == "ble" else (other,):
        if key in device.children:
            message = f"{model.maker} {model.model} is a {link} device: it has {wanted}, not {key}; take the line away"
            report.error((*at, key), message, of_key=True)
    if model.unit == "pinned" and "unit" not in device.children:
        words = ", ".join(sorted(_UNITS_OF[model.kind]))
        message = f"{model.maker} {model.model} does not send its unit: write what it is set to (allowed: {words})"
        report.error((*at, "unit"), f'the required key "unit" is missing: {message}')
    unit = UNITS.get(text_of(device, "unit"))
    allowed = _UNITS_OF[model.kind]
    if unit and unit not in allowed:
        words = ", ".join(sorted(allowed)) or "none: take the line away"
        report.error((*at, "unit"), f"{unit} is no unit of {model.maker} {model.model} (allowed: {words})")


def _consent(report: Report, at: yaml_places.Path, device: Node, model: DeviceModel) -> None:
    name = f"{model.maker} {model.model}"
    if "consent" not in model.session.steps:
        for key in ("user", "consent_file"):
            if key in device.children:
                report.error((*at, key), f"{name} asks for no consent: take the line away", of_key=True)
    elif "consent_file" not in device.children and model.session.consent is None:
        message = f"{name} tells nothing without the consent code of a user; name the file that holds it"
        report.error((*at, "consent_file"), f'the required key "consent_file" is missing: {message}')
    elif "user" in device.children and "consent_file" not in device.children:
        report.error((*at, "user"), "a user needs a consent_file beside it: the file that holds its code", of_key=True)


def _unique(report: Report, devices: Node) -> None:
    for key in ("id", "port", "address"):
        first: dict[str, int] = {}
        for index, device in enumerate(devices.children.values()):
            text = text_of(device, key).upper() if key == "address" else text_of(device, key)
            if text and text in first:
                message = f"devices[{first[text]}] has the same {key}: each device has its own, correct one of the two"
                report.error(("devices", index, key), message, of_device=False)  # which one is right, nobody knows
            elif text:
                first[text] = index
