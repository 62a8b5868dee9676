"""Where a value of the configuration comes from: in force, its file and line, and what it overrode.

Read from the same tree that the settings are made of. Files that hold secrets are named, never read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from drivers.models import LineSettings
from gateway import yaml_places
from gateway.catalogue import model_file
from gateway.config import Loaded
from gateway.config_rules import text_of
from gateway.layers import Layers
from gateway.problems import Report, nearest, shown, shown_path
from gateway.settings import DeviceEntry, GatewayFile, Settings
from gateway.yaml_places import Node

_NOTHING = ("''", "()", "0")  # what stands for a key that is not there; false is a value
_STEP = re.compile(r"[^.\[\]]+|\[[0-9]+\]")


class UnknownKey(Exception):
    """There is no such key; `str()` says which there are."""


def explain(loaded: Loaded, key: str) -> Iterator[str]:
    """Answer the lines that explain `key` (broker.url, devices.cuff.model, devices[0]). Raises UnknownKey."""
    if loaded.layers is None:
        raise UnknownKey("nothing can be read of the file: correct it first")
    layers = loaded.layers
    path, shape = _path(layers, key)
    return _lines(layers, loaded.settings, path, shape)


def _path(layers: Layers, key: str) -> tuple[yaml_places.Path, Any]:
    """Answer the path that `key` means and what may stand there: a dataclass, or its field."""
    steps = [step.strip("[]") for step in _STEP.findall(key)]
    path: list[str | int] = []
    shape: Any = GatewayFile
    while steps:
        step = steps.pop(0)
        known = [one for one in fields(shape) if one.name != "include"] if is_dataclass(shape) else []
        found = next((one for one in known if one.name == step), None)
        if found is None:
            words = ", ".join(one.name for one in known) or "none below this one"
            raise UnknownKey(
                f'there is no key "{shown(step)}" here (allowed: {words}{nearest(step, words.split(", "))})'
            )
        path.append(step)
        shape = _below(shape, found)
        if path == ["devices"] and steps:
            path.append(_device(layers, steps.pop(0)))
            shape = DeviceEntry
    return tuple(path), shape


def _below(shape: Any, found: Field[Any]) -> Any:
    kind = get_type_hints(shape)[found.name]
    return kind if is_dataclass(kind) else found


def _device(layers: Layers, name: str) -> int:
    """Answer the place of a device by its id, else by its number."""
    devices = layers.report.root.children.get("devices") if layers.report.root else None
    ids = [text_of(entry, "id") for entry in devices.children.values()] if devices else []
    if name in ids:
        return ids.index(name)
    if name.isascii() and name.isdigit() and int(name) < len(ids):
        return int(name)
    raise UnknownKey(f'there is no device "{shown(name)}" (allowed: {", ".join(map(shown, ids))}{nearest(name, ids)})')


def _lines(layers: Layers, settings: Settings | None, path: yaml_places.Path, shape: Any) -> Iterator[str]:
    """Explain one value, or each one below."""
    node = layers.report.root.at(path) if layers.report.root else None
    name = _name(layers, path)
    if shape is LineSettings and node is None and _row(settings, (*path, "baud")) is None:
        words = "no file says it" if settings is not None else "the model's row says it, once the rest is right"
        yield from (f"{name}: not set", f"  {words}")
    elif is_dataclass(shape) and (node is None or isinstance(node.data, dict)):
        for one in fields(shape):
            yield from _lines(layers, settings, (*path, one.name), _below(shape, one))
    elif node is None:
        yield from _unsaid(settings, path, name, shape)
    else:
        yield f"{name}: {_text(node, path)}"
        yield f"  from {_at(node)}"
        used = _used(settings, path)
        if used is not None and used != node.text:
            yield f"  used as {used}"
        yield from _overridden(layers, path)
        if path == ("devices",) and isinstance(node.data, list):
            for index in range(len(node.data)):
                yield from _lines(layers, settings, (*path, index), DeviceEntry)


def _name(layers: Layers, path: yaml_places.Path) -> str:
    """Answer the path in words, a device by its id."""
    entry = layers.report.root.at(path[:2]) if layers.report.root and path[:1] == ("devices",) else None
    words = [*path[:1], text_of(entry, "id") or path[1], *path[2:]] if len(path) > 1 and entry else path
    return ".".join(shown(str(step)) for step in words)


def _unsaid(settings: Settings | None, path: yaml_places.Path, name: str, shape: Any) -> Iterator[str]:
    """Explain what no file says: the model's row does, or a default, or nothing."""
    row = _row(settings, path)
    if row is not None:
        yield from (f"{name}: {row[0]}", f"  from the model's row, {row[1]}")
    elif not isinstance(shape, Field) or shape.default is MISSING or repr(shape.default) in _NOTHING:
        yield from (f"{name}: not set", "  no file says it")
    else:
        yield from (f"{name}: {_plain(shape.default)}", "  from the default: no file says it")


def _overridden(layers: Layers, path: yaml_places.Path) -> Iterator[str]:
    """Tell what weaker files say there. What is below a list has no value of its own: the list is replaced whole."""
    unit = path[: next((depth for depth, step in enumerate(path) if isinstance(step, int)), len(path))]
    said = {found.file: found for root in layers.roots if (found := root.at(unit)) is not None}
    for found in list(said.values())[1:]:
        yield f"  instead of {_text(found, unit)} in {_at(found)}"


def _row(settings: Settings | None, path: yaml_places.Path) -> tuple[str, str] | None:
    """Answer what the model's row says of a serial line, and where."""
    if settings is None or len(path) != 4 or path[2] != "serial":
        return None
    device = next((device for device in settings.devices if device.entry == path[1]), None)
    found = None if device is None else model_file(device.model_name, settings.models_dir)
    if device is None or found is None or device.model.link != "serial":
        return None
    report = Report(found[0])
    report.read()
    line = report.root.at(("line", path[3])) if report.root else None
    where = f"{shown_path(found[0])} (by default)" if line is None else _at(line)
    return _plain(getattr(device.line, str(path[3]))), where


def _used(settings: Settings | None, path: yaml_places.Path) -> str | None:
    """Answer what a file's name or a unit is used as."""
    part: Any = settings
    for step in path:
        if isinstance(step, int):
            part = next((device for device in part if device.entry == step), None)
        else:
            part = getattr(part, step, None)
    if isinstance(part, Path):
        return shown_path(part)
    return str(part) if part is not None and path[-1] == "unit" else None


def _text(node: Node, path: yaml_places.Path) -> str:
    if isinstance(node.data, list):
        if path == ("devices",):
            return f"a list of {len(node.data)}"
        return f"[{', '.join(_text(child, path) for child in node.children.values())}]"
    if isinstance(node.data, dict):
        return "keys and values"
    if "@" in node.text and path[-1] in ("url", "urls"):
        return "(not shown: a password may stand in it)"
    return "empty" if node.data is None else shown(node.text)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _at(node: Node) -> str:
    return f"{shown_path(node.file) if node.file else '?'}:{node.line}:{node.column}"
