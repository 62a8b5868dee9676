"""YAML text to plain data, with the line and column of every key and value.

The laws:

1. Text in, nodes and faults out; it never raises for what the text says. Time and memory stay bounded: the tree is
   built from the parser's events, without recursion, and expanded aliases count like what they stand for.
2. No value is turned into something that nobody wrote. What YAML 1.1 reads as octal, base 60, a date or infinity is
   `Odd`: nothing accepts it, and the message can say "put it in quotes". 1e3 is a number, as in YAML 1.2.
   Numbers keep their digits (Decimal).
3. Only plain YAML: no tags (they can name types to be built), no merge keys, no second document.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import yaml

from gateway import yaml_faults

Path = tuple[str | int, ...]

MAX_NODES = 5_000  # a room with a hundred devices has about a thousand
MAX_DEPTH = 32  # our own files nest five deep
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep, counting what aliases repeat: look at the brackets"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where there is one: ten times as fast
_TAG = "tag:yaml.org,2002:"
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FRACTION = re.compile(r"(?=.*[.eE])[-+]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})([eE][-+]?[0-9]{1,2})?")
_DIGITS = re.compile(r"[-+]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Odd:
    """A plain scalar that YAML reads as `reads_as` ("a number", "a date"), and that nobody should have to guess at."""

    text: str
    reads_as: str


@dataclass(frozen=True, slots=True)
class Node:
    """One value. `line` and `column` count from 1. `data`: dict, list, str, int, Decimal, bool, None or Odd.

    `text` is a scalar as it was written. `keys` are the places of a mapping's keys. What an alias stands for has
    the place of its anchor. `size` and `height` count the nodes and the levels below and with this one. `file`: the
    file that it stands in, as whoever read it named it.
    """

    line: int
    column: int
    data: object = field(repr=False)  # it may be a secret, and aliases would make its text explode
    text: str = field(default="", repr=False)
    scalar: bool = True
    children: Mapping[str | int, Node] = field(repr=False, default_factory=dict)
    keys: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    size: int = 1
    height: int = 1
    file: pathlib.Path | None = None

    def at(self, path: Path) -> Node | None:
        """Answer the node at `path` below this one, or None."""
        node: Node | None = self
        for step in path:
            node = node.children.get(step) if node else None
        return node

    def place(self, path: Path, *, of_key: bool = False) -> tuple[int, int]:
        """Line and column of what stands at `path`; where nothing stands there, of the mapping it is missing from."""
        node = self
        for depth, step in enumerate(path):
            if of_key and depth == len(path) - 1 and step in node.keys:
                return node.keys[str(step)]
            below = node.children.get(step)
            if below is None:
                break
            node = below
        return node.line, node.column

    def file_at(self, path: Path) -> pathlib.Path | None:
        """The file of what stands at `path`; where nothing stands there, of the mapping it is missing from."""
        node = self
        for step in path:
            below = node.children.get(step)
            if below is None:
                break
            node = below
        return node.file


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the YAML itself, and where (from 1)."""

    line: int
    column: int
    path: Path
    message: str


def read(text: str, file: pathlib.Path | None = None) -> tuple[Node | None, tuple[Fault, ...]]:
    """Answer the document's root (None: empty, or not to be read) and what is wrong with it. `file`: for its nodes."""
    builder = _Builder(file)
    loader: Any = None
    try:
        loader = _LOADER(text)
        while loader.check_event():
            if not builder.take(loader.get_event(), loader):
                return None, tuple(builder.faults)
    except yaml.MarkedYAMLError as error:
        return None, (*builder.faults, _syntax_fault(error, text, builder.quote))
    except yaml.reader.ReaderError as error:
        return None, (*builder.faults, _unreadable_fault(text, error))
    finally:
        if loader is not None:
            loader.dispose()
    return builder.root, tuple(builder.faults)


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet. `key`: the key that waits for its value."""

    line: int
    column: int
    mapping: bool
    anchor: str | None
    key: str | None = None
    skip: bool = False
    children: dict[str | int, Node] = field(default_factory=dict)
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    size: int = 1
    height: int = 0


class _Builder:
    """Events to nodes. Soft faults (a key twice, a tag) are noted and the rest is read on."""

    def __init__(self, file: pathlib.Path | None) -> None:
        self.root: Node | None = None
        self._file = file
        self.faults: list[Fault] = []
        self.quote: yaml_faults.Quote | None = None  # the last that went on over lines
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._total = 0
        self._documents = 0

    def take(self, event: Any, loader: Any) -> bool:
        """Take one event; False: stop, what has been noted is final."""
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line, column)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._fault(
                    line, column, "a second YAML document begins here (---): one file holds one, take this line away"
                )
                return False
        elif isinstance(event, yaml.ScalarEvent):
            self._tag(event, line, column)
            ends = event.end_mark
            if event.style in ('"', "'") and ends is not None and ends.line >= line:
                self.quote = (line - 1, column - 1), (ends.line, ends.column)
            tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
            plain = event.implicit[0] and not event.tag
            data = _scalar(event.value, tag, plain=plain)
            self._put(Node(line, column, data, event.value, file=self._file), event.anchor, plain=plain)
            return self._count(1, line, column)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._tag(event, line, column)
            if len(self._open) >= MAX_DEPTH:
                self._fault(line, column, _TOO_DEEP)
                return False
            if event.anchor:
                self._anchors[event.anchor] = None
            self._open.append(_Open(line, column, isinstance(event, yaml.MappingStartEvent), event.anchor))
            return self._count(1, line, column)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = self._open.pop()
            below = done.children
            data = {k: n.data for k, n in below.items()} if done.mapping else [n.data for n in below.values()]
            node = Node(
                done.line, done.column, data, "", False, below, done.keys, done.size, done.height + 1, self._file
            )
            self._put(node, done.anchor)
        return True

    def _put(self, node: Node, anchor: str | None, *, plain: bool = False) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        top.size += node.size
        top.height = max(top.height, node.height)
        if not top.mapping:
            top.children[len(top.children)] = node
        elif top.key is None:
            self._key(top, node, merge=plain and node.text == "<<")
        else:
            if not top.skip:
                top.children[top.key] = node
            top.key = None

    def _count(self, more: int, line: int, column: int) -> bool:
        self._total += more
        if self._total > MAX_NODES:
            self._fault(line, column, f"more than {MAX_NODES} values, counting what aliases repeat: shorten the file")
            return False
        return True

    def _key(self, top: _Open, node: Node, *, merge: bool) -> None:
        top.skip = True
        if not node.scalar:
            self._fault(node.line, node.column, "a key must be text: put it in quotes if it begins with [ or {")
        elif merge:
            self._fault(node.line, node.column, "merge keys (<<) are not read here: write the keys out", node.text)
        elif node.text in top.keys:
            first = top.keys[node.text][0]
            message = f"the key stands here a second time (first in line {first}): keep one of them"
            self._fault(node.line, node.column, message, node.text)
        else:
            top.keys[node.text] = (node.line, node.column)
            top.skip = False
        top.key = node.text

    def _alias(self, name: str, line: int, column: int) -> bool:
        node = self._anchors.get(name)
        if node is None:
            within = name in self._anchors
            what = (
                "an alias (*name) within what its anchor stands for" if within else "an alias (*name) without an anchor"
            )
            self._fault(line, column, f"{what}: write the value out")
            return False
        if len(self._open) + node.height > MAX_DEPTH + 1:
            self._fault(line, column, _TOO_DEEP)
            return False
        if self._open and self._open[-1].mapping and self._open[-1].key is None:
            node = replace(node, line=line, column=column)  # a key stands where it is, not where its anchor is
        self._put(node, None)
        return self._count(node.size, line, column)

    def _tag(self, event: Any, line: int, column: int) -> None:
        if event.tag and event.tag != "!":
            self._fault(line, column, "tags (!name) are not read here: take it away, and put text in quotes")

    def _fault(self, line: int, column: int, message: str, *key: str) -> None:
        path: list[str | int] = []
        for frame in self._open:
            if not frame.mapping:
                path.append(len(frame.children))
            elif frame.key is not None:
                path.append(frame.key)
        self.faults.append(Fault(line, column, (*path, *key), message))


def _scalar(text: str, tag: str, *, plain: bool) -> object:
    """Answer what a scalar says: `tag` is what YAML 1.1 takes it for."""
    kind = tag.removeprefix(_TAG)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in {"yes", "true", "on"}
    if kind == "timestamp":
        return Odd(text, "a date")
    if plain and _WHOLE.fullmatch(text):
        return int(text)
    if plain and _FRACTION.fullmatch(text):
        return Decimal(text)
    if kind in {"int", "float"} or (plain and _DIGITS.fullmatch(text)):
        return Odd(text, "a number")
    return text if kind == "str" else Odd(text, "a sign of its own")  # a lone = or <<


def _syntax_fault(error: yaml.MarkedYAMLError, text: str, quote: yaml_faults.Quote | None) -> Fault:
    problem, context = error.problem or error.context or "it cannot be read", error.context or ""
    marks = error.problem_mark, error.context_mark
    at, began = (None if mark is None else (mark.line, mark.column) for mark in marks)
    (line, column), advice = yaml_faults.syntax(problem, context, at or began or (0, 0), began, quote, text)
    return Fault(line + 1, column + 1, (), f"not valid YAML: {advice} (the parser says: {problem})")


def _unreadable_fault(text: str, error: yaml.reader.ReaderError) -> Fault:
    """libyaml tells a byte offset at or after the character: the first character that YAML forbids is looked up."""
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    start = found.start() if found else min(error.position, len(text))
    line = text.count("\n", 0, start) + 1
    column = start - (text.rfind("\n", 0, start) + 1) + 1
    code = f"U+{ord(text[start]):04X}" if start < len(text) else "a character"
    return Fault(line, column, (), f"{code} stands here, a control character that YAML does not allow: take it away")
