"""What is wrong in a YAML file: each problem with its place, in words that an IT generalist can act on.

The laws:

1. Every problem of a file in one run: nothing here stops at the first.
2. A message says what is allowed, and for a word that is nearly right, the right one. No library's wording.
3. What stands in the file is shown escaped and cut short, and never where it could be a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateway import yaml_places
from gateway.files import Files
from gateway.yaml_places import Node, Odd

MAX_BYTES = 1 << 20  # a configuration has a few kilobytes
SECRET_KEYS = frozenset(
    {"password", "passwd", "passphrase", "pass", "pwd", "secret", "token", "credentials", "auth"}
    | {"api_key", "apikey", "key", "private_key", "client_key"}
)

_SHOWN = 60
_SHOWN_PATH = 200
_Shape = TypeVar("_Shape")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. `line` and `column` count from 1; `path` is `devices[1].port`, or `(file)` for the whole.

    `device`: the entry of `devices` that it is about; without that entry it would not be there.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    severity: Literal["error", "warning"] = "error"
    device: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        mark = "warning: " if self.severity == "warning" else ""
        return f"{self.file}:{self.line}:{self.column}: {self.path}: {mark}{self.message}"


class Report:
    """One file's root and the problems found in it so far. `files`: where its bytes come from."""

    def __init__(self, file: Path, files: Files | None = None) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._files = Files() if files is None else files

    def error(self, path: yaml_places.Path, message: str, *, of_key: bool = False, of_device: bool = True) -> None:
        """Note an error at the value that stands at `path` (`of_key`: at its key).

        `of_device` False: it stands at an entry of `devices`, and is not that entry's alone.
        """
        self.problems.append(self._problem(path, message, "error", of_key=of_key, of_device=of_device))

    def warning(self, path: yaml_places.Path, message: str, *, of_key: bool = False) -> None:
        """Note a warning at the value that stands at `path` (`of_key`: at its key)."""
        self.problems.append(self._problem(path, message, "warning", of_key=of_key))

    def read(self) -> bytes | None:
        """Read the file into `root`; answer its bytes, or None where it cannot be read as YAML at all."""
        try:
            data = self._files.read(self.file, MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            self._whole(1, 1, f"the file cannot be read ({why(error)})")
            return None
        if len(data) > MAX_BYTES:
            words = "this is no configuration of the gateway: look at the path"
            self._whole(1, 1, f"the file has more than {MAX_BYTES} bytes: {words}")
            return None
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = data[: error.start].decode("utf-8-sig", "replace")
            line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
            self._whole(line, column, "the file is not UTF-8 text from here on: save it as UTF-8")
            return None
        self.root, faults = yaml_places.read(text, self.file)
        for fault in faults:
            path, device = _dotted(fault.path), _device_at(fault.path)
            self.problems.append(
                Problem(shown_path(self.file), fault.line, fault.column, path, fault.message, device=device)
            )
        if self.root is None and not faults:
            self._whole(1, 1, "the file is empty: write the configuration into it, from gateway.example.yaml")
        return data if self.root is not None else None

    def validated(self, shape: type[_Shape], *, without: Collection[int] = (), missing: bool = True) -> _Shape | None:
        """Answer the document as a `shape` (a dataclass), or note every place where it is none, and answer None.

        `without`: entries of `devices` that are left out. `missing`: whether a key that is not there is noted.
        """
        if self.root is None:
            return None
        data = self.root.data
        if without and isinstance(data, dict):
            data = {**data, "devices": [entry for i, entry in enumerate(data["devices"]) if i not in without]}
        try:
            # the ignore: mypy takes the __hash__ of a dataclass's instances for that of the class
            document: _Shape = _adapter(shape).validate_python(data)  # type: ignore[arg-type]
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                if missing or detail["type"] != "missing":
                    self._shape_problem(shape, detail)
            return None
        return document

    def _whole(self, line: int, column: int, message: str) -> None:
        self.problems.append(Problem(shown_path(self.file), line, column, _dotted(()), message))

    def _problem(
        self,
        path: yaml_places.Path,
        message: str,
        severity: Literal["error", "warning"],
        *,
        of_key: bool,
        of_device: bool = True,
    ) -> Problem:
        line, column = self.root.place(path, of_key=of_key) if self.root else (1, 1)
        file = (self.root.file_at(path) if self.root else None) or self.file
        device = _device_at(path) if of_device else None
        return Problem(shown_path(file), line, column, _dotted(path), message, severity, device)

    def _shape_problem(self, shape: Any, detail: ErrorDetails) -> None:
        path = detail["loc"]
        node = self.root.at(path) if self.root else None
        if detail["type"] == "missing":
            self.error(path, f'the required key "{path[-1]}" is missing: write "{path[-1]}: …" here')
        elif detail["type"] == "unexpected_keyword_argument":
            known = [field.name for field in fields(_inside(shape, path[:-1]))]
            self.error(path, unknown_key(str(path[-1]), known), of_key=True)
        elif detail["type"] == "literal_error":
            self.error(path, _literal_words(list(dict.fromkeys(map(str, get_args(_inside(shape, path))))), node))
        else:
            self.error(path, _words(detail, node))


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)  # built once a shape: it costs more than a file's validation


def shown(text: str) -> str:
    """Answer untrusted text for a message: printable, at most 60 characters."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:_SHOWN]) + (
        "…" if len(text) > _SHOWN else ""
    )


def shown_path(path: Path) -> str:
    """Answer a file's name for a message: printable, otherwise as it was given."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))


def nearest(word: str, known: Iterable[str]) -> str:
    """Answer `; did you mean "…"?` with the known word nearest to `word`, or nothing where none is near."""
    by_lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(word.lower()[:_SHOWN], by_lower, n=1, cutoff=0.6)
    return f'; did you mean "{by_lower[close[0]]}"?' if close else ""


def not_allowed(word: str, allowed: Iterable[str]) -> str:
    """Answer the message for a word that is none of the allowed ones."""
    words = list(allowed)
    return f'"{shown(word)}" is not known here (allowed: {", ".join(words)}{nearest(word, words)})'


def unknown_model(name: str, names: Iterable[str]) -> str:
    """Answer the message for a model that is not in the catalogue: too many to list them all."""
    return f'no model "{shown(name)}" (allowed: the names that "vitals-gateway models" lists{nearest(name, names)})'


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Answer the message for a key that is none of the known ones."""
    words = list(known)
    if key == "include":
        return "include stands at the top of the gateway's YAML only: write what you need here"
    if key.lower() in SECRET_KEYS:
        advice = (
            "name a file that holds it with password_file" if "password_file" in words else "take it out of the file"
        )
        return f"secrets never stand in the YAML: {advice} (allowed keys: {', '.join(words)})"
    return f'unknown key "{shown(key)}" (allowed: {", ".join(words)}{nearest(key, words)})'


def _inside(shape: Any, path: yaml_places.Path) -> Any:
    """Answer the type that stands at `path` in `shape`: dataclasses, tuple[X, ...] and Mapping[str, X]."""
    for step in path:
        if get_origin(shape) is Annotated:
            shape = get_args(shape)[0]
        shape = get_type_hints(shape)[str(step)] if is_dataclass(shape) else get_args(shape)[_ITEM[get_origin(shape)]]
    return shape


_ITEM: Mapping[Any, int] = {tuple: 0, Mapping: 1}


def _literal_words(allowed: list[str], node: Node | None) -> str:
    if node is None or not node.scalar or node.data is None:
        return f"one of these must stand here: {', '.join(allowed)}"
    if node.text in allowed:
        return f"write {shown(node.text)} without quotes: it is a number"
    return not_allowed(node.text, allowed)


def _words(detail: ErrorDetails, node: Node | None) -> str:
    kind = detail["type"]
    if kind == "wrong":  # our own validators' words
        return detail["msg"]
    if kind == "value_error":  # a row's own, in drivers/models.py
        return str(detail["ctx"]["error"])
    expected = next((words for part, words in _EXPECTED.items() if part in kind), "something else")
    if node is None or (node.data is None and node.scalar):
        return f"the value is empty: {expected} must stand here"
    if not node.scalar:
        return (
            f"{'keys and values stand' if isinstance(node.data, dict) else 'a list stands'} here: it must be {expected}"
        )
    if expected is not _TEXT:
        return f'"{shown(node.text)}" stands here: it must be {expected}'
    hint = (
        "" if "password" in str(detail["loc"][-1:]) else f': "{shown(node.text)}"'
    )  # people mistake it for the password
    return f"YAML reads this as {_read_as(node.data)}, not as text: quote it{hint}"


_TEXT = "text"
_EXPECTED: Mapping[str, str] = {
    "string": _TEXT,
    "bool": "true or false",
    "int": "a whole number in plain digits",
    "decimal": "a number",
    "float": "a number",
    "finite": "a number",
    "dataclass": 'keys and values ("key: value")',
    "mapping": 'keys and values ("key: value")',
    "dict": 'keys and values ("key: value")',
    "tuple": 'a list (lines that begin with "- ")',
}


def _read_as(data: object) -> str:
    if isinstance(data, Odd):
        return data.reads_as
    return "yes or no (true or false)" if isinstance(data, bool) else "a number"


def _device_at(path: yaml_places.Path) -> int | None:
    return path[1] if len(path) > 1 and path[0] == "devices" and isinstance(path[1], int) else None


def _dotted(path: yaml_places.Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else ("." if text else "") + shown(step)
    return text[:_SHOWN_PATH] or "(file)"


def why(error: OSError | ValueError) -> str:
    """Answer why a file cannot be read, and what to do."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file: look at the path"
    if isinstance(error, PermissionError):
        return "permission denied: let the service's user read it"
    if isinstance(error, IsADirectoryError):
        return "it is a directory: name the file in it"
    return (error.strerror or "it cannot be opened") if isinstance(error, OSError) else "the name is no file name"
