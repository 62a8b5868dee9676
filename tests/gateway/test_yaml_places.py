"""The YAML reader: plain data, the place of everything, and bounds that hold."""

from __future__ import annotations

from decimal import Decimal

import pytest
import yaml

from gateway import yaml_places
from gateway.yaml_places import Odd

MIB = 1 << 20


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_both_parsers_of_pyyaml_say_the_same(monkeypatch: pytest.MonkeyPatch, loader: str) -> None:
    monkeypatch.setattr(yaml_places, "_LOADER", getattr(yaml, loader))
    root, faults = yaml_places.read("é: [ü, 1.50]\nb: &x {c: 'no'}\nb: 2\nd: *x\n")
    assert root is not None
    assert str(root.data) == "{'é': ['ü', Decimal('1.50')], 'b': {'c': 'no'}, 'd': {'c': 'no'}}"
    assert [(fault.line, fault.column, fault.path) for fault in faults] == [(3, 1, ("b",))]
    assert [root.place(("é", 1)), root.place(("d", "c")), root.place(("d",), of_key=True)] == [(1, 8), (2, 11), (4, 1)]
    assert [fault.column for fault in yaml_places.read("a: 'x")[1]] == [4]
    assert [fault.column for fault in yaml_places.read("a: x\x07")[1]] == [5]


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("3", 3),
        ("-3", -3),
        ("2.50", Decimal("2.50")),
        (".5", Decimal("0.5")),
        ("1e3", Decimal("1e3")),
        ("'3'", "3"),
        ("3.1.1", "3.1.1"),
        ("on", True),
        ("n", "n"),
        ("~", None),
        ("", None),
        ('""', ""),
        ("007", Odd("007", "a number")),
        ("09", Odd("09", "a number")),
        ("0x1F", Odd("0x1F", "a number")),
        ("1_000", Odd("1_000", "a number")),
        ("12:30", Odd("12:30", "a number")),
        (".inf", Odd(".inf", "a number")),
        ("1.0e+999", Odd("1.0e+999", "a number")),
        ("9" * 5000, Odd("9" * 5000, "a number")),
        ("2026-11-22", Odd("2026-11-22", "a date")),
        ("=", Odd("=", "a sign of its own")),
        ("'<<'", "<<"),
    ],
)
def test_a_scalar_is_what_anyone_would_read_or_odd(text: str, data: object) -> None:
    root, faults = yaml_places.read(f"a: {text}")
    assert faults == ()
    assert root is not None
    assert root.data == {"a": data}
    assert type(root.children["a"].data) is type(data)


@pytest.mark.parametrize(
    "text",
    [
        "[" * MIB,
        "- " * (MIB // 2),
        "{a: " * (MIB // 4),
        "? " * (MIB // 2),
        "x: y\n" * 200_000,
        "&a [*a]",
        "a: &a [x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 8)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "".join(f"k{i}: &k{i} [" + (f"*k{i - 1}" if i else "") + "]\n" for i in range(50)),
    ],
    ids=["lists", "entries", "mappings", "keys", "same", "itself", "bomb", "deep"],
)
def test_a_bomb_is_bounded(text: str) -> None:
    root, faults = yaml_places.read(text)
    assert root is None
    assert 0 < len(faults) <= yaml_places.MAX_NODES


def test_a_node_does_not_show_what_it_holds() -> None:
    root, _ = yaml_places.read("token: [hunter2]")
    assert root is not None
    assert "hunter2" not in repr(root) + repr(root.at(("token", 0)))
