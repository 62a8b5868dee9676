"""Layers of the configuration: a room's file and what it includes, merged into one tree.

The laws:

1. The including file wins over what it includes, a later name of the list over an earlier one.
2. Mappings merge key by key. All else is replaced whole: a value, a list (`urls`, `devices`), an empty value.
3. Each node of the merged tree knows its file: problems and relative paths are that file's.
4. A file that includes nothing is its own tree, untouched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.files import Files
from gateway.problems import MAX_BYTES, Report, shown, shown_path, why
from gateway.yaml_places import Node, Odd

KEY = "include"
MAX_DEPTH = 4  # one site, one floor, one room: three
MAX_FILES = 20


@dataclass(frozen=True, slots=True)
class Layers:
    """`report`: of the room's file, its root the merged tree; `roots`: each file's own, the strongest first.

    `order`: the files as they were read, as problems name them. `whole` False: one could not be read, so what is
    missing may stand in it.
    """

    report: Report
    roots: tuple[Node, ...]
    order: Mapping[str, int]
    whole: bool


def read(path: Path, files: Files) -> Layers:
    """Read the room's file and all that it includes; what is wrong is in the report."""
    reader = _Reader(files)
    report = Report(path, files)
    roots = reader.take(report, ())
    if roots and reader.any:
        root = roots[-1]
        for over in reversed(roots[:-1]):
            root = _merged(over, root)
        report.root = _without_key(root)
    return Layers(report, tuple(roots), reader.order, reader.whole)


class _Reader:
    def __init__(self, files: Files) -> None:
        self.order: dict[str, int] = {}
        self.whole = True
        self.any = False
        self._count = 0
        self._files = files

    def take(self, report: Report, chain: tuple[Path, ...]) -> list[Node]:
        """Read one file, noting in `report`, and what it includes; answer the roots, the strongest first."""
        self.order.setdefault(shown_path(report.file), len(self.order))
        report.read()
        root = report.root
        if root is None:
            self.whole = False
            return []
        if chain and not isinstance(root.data, dict):
            report.error((), 'an included file must hold keys and values ("key: value"), as the room\'s own does')
            self.whole = False
            return []
        roots = [root]
        here = _normal(report.file)
        below = [self._include(report, index, name, (*chain, here)) for index, name in self._names(report, root)]
        for included in reversed(below):
            roots += included
        return roots

    def _names(self, report: Report, root: Node) -> Iterator[tuple[int | None, str]]:
        """Answer the names that a file includes, each with its place in the list, if it is one."""
        said = root.children.get(KEY) if isinstance(root.data, dict) else None
        if said is None:
            return
        self.any = True
        if isinstance(said.data, dict) or said.data == []:
            self._refuse(report, None, "must be the name of a file, or a list of names: include: site.yaml")
            return
        entries = [(None, said)] if said.scalar else [(int(i), node) for i, node in said.children.items()]
        for index, node in entries:
            if not isinstance(node.data, str) or not node.data.strip() or not node.data.isprintable():
                quoted = f': "{shown(node.text)}"' if isinstance(node.data, Odd | int) else ""
                self._refuse(report, index, f"must be the name of a file: write it in quotes{quoted}")
            else:
                yield index, node.data

    def _include(self, report: Report, index: int | None, name: str, chain: tuple[Path, ...]) -> list[Node]:
        """Read one included file; what is wrong with its name is told where the name stands."""
        file = report.file.parent / name  # as problems name it: a relative path stays one
        if _normal(file) in chain:
            way = " → ".join(shown(step.name) for step in (*chain[chain.index(_normal(file)) :], _normal(file)))
            return self._refuse(report, index, f"the files include each other ({way}): take one of these lines away")
        if len(chain) >= MAX_DEPTH:
            return self._refuse(report, index, f"more than {MAX_DEPTH} files, each in another: include fewer")
        self._count += 1
        if self._count > MAX_FILES:
            return self._refuse(report, index, f"more than {MAX_FILES} files: put them together")
        try:
            self._files.read(file, MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            return self._refuse(report, index, f"{shown_path(file)} cannot be read ({why(error)})")
        included = Report(file, self._files)
        roots = self.take(included, chain)
        report.problems += included.problems
        return roots

    def _refuse(self, report: Report, index: int | None, message: str) -> list[Node]:
        self.whole = False
        report.error((KEY,) if index is None else (KEY, index), message)
        return []


def _normal(file: Path) -> Path:
    return Path(os.path.normpath(file.absolute()))


def _merged(over: Node, base: Node) -> Node:
    """Answer `over` with what only `base` has, mapping by mapping."""
    if not isinstance(over.data, dict) or not isinstance(base.data, dict):
        return over
    children = dict(base.children)
    for key, node in over.children.items():
        children[key] = _merged(node, base.children[key]) if key in base.children else node
    data = {key: node.data for key, node in children.items()}
    return replace(over, data=data, children=children, keys={**base.keys, **over.keys})


def _without_key(root: Node) -> Node:
    if not isinstance(root.data, dict):
        return root
    children = {key: node for key, node in root.children.items() if key != KEY}
    data = {key: node.data for key, node in children.items()}
    return replace(root, data=data, children=children, keys={k: at for k, at in root.keys.items() if k != KEY})
