"""What a bad YAML still says against the last good configuration: then nobody knows what is right, and it is not used.

A gateway that was moved would tell one room's readings as another's. A scale that does not send its unit, and was
switched over, would be read in the old one. Any other difference costs a reading or a setting, and is told.
"""

from __future__ import annotations

import re
from pathlib import Path

from gateway.config import Loaded
from gateway.config_rules import text_of
from gateway.files import Files
from gateway.problems import MAX_BYTES, shown_path
from gateway.settings import LEVEL, UNITS, LeftOut, Settings

_NAMES = ("site", "room")
_NOT_SAID = "is bad, and does not say that this device's unit is still"
_LINE = re.compile(rb"^(site|room):[ \t]*[\"']?([A-Za-z0-9_-]{1,64})[\"']?[ \t]*(#.*)?\r?$", re.MULTILINE)
_UNIT = re.compile(rb"\bunit:[ \t]*([^\s,}#]+)")


def moved(path: Path, bad: Loaded, good: Settings) -> str | None:
    """Answer how a bad YAML names another site or room than the good settings do; None where it does not."""
    said = {name: text_of(bad.layers.report.root, name) for name in _NAMES} if bad.layers else _lines_of(path)
    for name in _NAMES:
        word = said.get(name, "")
        if LEVEL.fullmatch(word) and word != getattr(good, name):
            return f"it says {name}: {word}, the last good configuration says {getattr(good, name)}"
    return None


def in_another_unit(path: Path, bad: Loaded, kept: Loaded) -> tuple[LeftOut, ...]:
    """Answer the devices of the last good configuration, `kept`, whose unit only it says, and the bad YAML not.

    Of a YAML that cannot be read at all: all of them, unless its lines say the same units as before.
    """
    if kept.settings is None:
        return ()
    root = bad.layers.report.root if bad.layers else None
    own = kept.layers.report.root if kept.layers else None
    in_it = own is not None and own.file_at(("devices",)) == path
    if root is None and in_it and _units_of(_bytes(path)) == _units_of(kept.files.get(path.absolute(), b"")):
        return ()
    devices = root.children.get("devices") if root else None
    entries = devices.children.values() if devices else ()
    said = {text_of(entry, "id"): UNITS.get(text_of(entry, "unit")) for entry in entries}
    return tuple(
        LeftOut(device.id, device.model_name, f"{shown_path(path)} {_NOT_SAID} {device.unit}: not read until it does")
        for device in kept.settings.devices
        if device.model.unit == "pinned" and said.get(device.id) != device.unit
    )


def _units_of(data: bytes) -> list[bytes]:
    return _UNIT.findall(data)


def _lines_of(path: Path) -> dict[str, str]:
    """Answer what the lines of a file say that is no YAML."""
    return {found[1].decode(): found[2].decode() for found in _LINE.finditer(_bytes(path))}


def _bytes(path: Path) -> bytes:
    try:
        return Files().read(path, MAX_BYTES).removeprefix(b"\xef\xbb\xbf")
    except (OSError, ValueError):
        return b""
