"""A power cut, made of what a process did to its files (disk.c's journal): what was not synced is there, or not.

A file's synced content is sure. Of what was written since its last fsync any part may be there: none, all, some
writes and not others, some sectors of a write and not others. A write never changes bytes beside it (SQLite relies on
it: https://www.sqlite.org/psow.html). Names (create, rename, unlink) are sure once their folder is synced; of those
since then the first ones may be there, in their order.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
_HEAD = struct.Struct("<c3xIqq")


@dataclass(frozen=True, slots=True)
class Change:
    """W(rite), T(runcate), S(ync), C(reate), U(nlink), R(ename to `data`), or D: the folder was synced."""

    what: str
    name: str
    offset: int
    data: bytes


def read_journal(journal: Path) -> list[Change]:
    """Answer the changes in their order."""
    return list(_changes(journal.read_bytes()))


def _changes(text: bytes) -> Iterator[Change]:
    at = 0
    while at < len(text):
        what, name_length, offset, length = _HEAD.unpack_from(text, at)
        name_at = at + _HEAD.size
        data_at = name_at + name_length
        at = data_at + (length if what in b"WR" else 0)
        yield Change(what.decode(), text[name_at:data_at].decode(), offset, text[data_at:at])


@dataclass(eq=False)
class _File:
    sure: bytearray = field(default_factory=bytearray)
    unsure: list[Change] = field(default_factory=list)


class Disk:
    """The files as they are on the disk, while changes come in."""

    def __init__(self) -> None:
        self._sure: dict[str, _File] = {}
        self._names: dict[str, _File] = {}
        self._unsure_names: list[tuple[str, str, _File]] = []

    def apply(self, change: Change) -> None:
        """Take one change."""
        if change.what in "WTS":
            file = self._names[change.name]  # the journal begins before the first file
            if change.what == "S":
                for earlier in file.unsure:
                    _carry_out(file.sure, earlier)
                file.unsure.clear()
            else:
                file.unsure.append(change)
        elif change.what == "D":
            for what, name, file in self._unsure_names:
                _rename(self._sure, what, name, file)
            self._unsure_names.clear()
        elif change.what == "C":
            self._name("C", change.name, _File())
        elif change.what == "U":
            self._name("U", change.name, self._names[change.name])
        else:
            file = self._names[change.name]
            self._name("U", change.name, file)
            self._name("C", change.data.decode(), file)

    def cut(self, chance: random.Random) -> dict[str, bytes]:
        """Answer what is found when the power is back."""
        names = dict(self._sure)
        for what, name, file in self._unsure_names[: chance.randrange(len(self._unsure_names) + 1)]:
            _rename(names, what, name, file)
        likelihood = chance.choice([0.0, 1.0, chance.random()])
        return {name: _after_cut(file, likelihood, chance) for name, file in names.items()}

    def _name(self, what: str, name: str, file: _File) -> None:
        _rename(self._names, what, name, file)
        self._unsure_names.append((what, name, file))


def _rename(names: dict[str, _File], what: str, name: str, file: _File) -> None:
    if what == "C":
        names[name] = file
    else:
        names.pop(name, None)


def _carry_out(content: bytearray, change: Change) -> None:
    if change.what == "T":
        del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data


def _after_cut(file: _File, likelihood: float, chance: random.Random) -> bytes:
    content = bytearray(file.sure)
    for change in file.unsure:
        if chance.random() < likelihood:
            _carry_out(content, change)
        elif change.what == "W" and chance.random() < likelihood:
            for sector in _sectors(change):
                if chance.random() < 0.5:
                    _carry_out(content, sector)
    return bytes(content)


def _sectors(change: Change) -> Iterator[Change]:
    """Answer the parts of a write that lie in one sector each."""
    at, end = change.offset, change.offset + len(change.data)
    while at < end:
        stop = min(end, (at // SECTOR + 1) * SECTOR)
        yield Change("W", change.name, at, change.data[at - change.offset : stop - change.offset])
        at = stop
