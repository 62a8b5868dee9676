"""Devices that are left out: where IT chose `on_device_error: run_others`, one wrong entry does not stop the others.

An entry is left out when what is wrong is that entry's alone, or its model's row, and its `id` can be told of. What
contradicts another entry (the same id, port or address) stops the service: nobody knows which of the two is right.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace

from gateway.config_rules import text_of
from gateway.problems import Problem, Report, shown
from gateway.settings import LEVEL, LeftOut
from gateway.yaml_places import Node


def apply(report: Report, rows: MutableMapping[str, tuple[Problem, ...]]) -> dict[int, LeftOut]:
    """Answer which entries are left out, by their place; their errors become warnings, those of `rows` too.

    `rows`: what is wrong with the rows of models, by their names.
    """
    if report.root is None or text_of(report.root, "on_device_error") != "run_others":
        return {}
    devices = report.root.children.get("devices")
    entries = dict(enumerate(devices.children.values())) if devices and isinstance(devices.data, list) else {}
    wrong = {index: told for index, entry in entries.items() if (told := _wrong(report, index, entry, rows))}
    if wrong and len(wrong) == len(entries):
        report.error(("devices",), "each device is wrong: on_device_error: run_others needs one that is right")
        return {}
    left_out = {
        index: LeftOut(text_of(entries[index], "id"), shown(text_of(entries[index], "model")), str(told[0]))
        for index, told in wrong.items()
        if LEVEL.fullmatch(text_of(entries[index], "id"))
    }
    for index in left_out:
        name = text_of(entries[index], "model")
        if name in rows:
            where = rows[name][0]
            words = f"what {where.file} says of it is wrong (line {where.line})"
            report.error(("devices", index, "model"), words)
            rows[name] = tuple(replace(problem, severity="warning") for problem in rows[name])
    report.problems = [_softened(problem) if problem.device in left_out else problem for problem in report.problems]
    return left_out


def _wrong(report: Report, index: int, entry: Node, rows: MutableMapping[str, tuple[Problem, ...]]) -> list[Problem]:
    own = [problem for problem in report.problems if problem.device == index and problem.severity == "error"]
    return sorted(own, key=lambda p: (p.line, p.column)) + list(rows.get(text_of(entry, "model"), ()))


def _softened(problem: Problem) -> Problem:
    if problem.severity == "warning":
        return problem
    return replace(problem, severity="warning", message=f"this device is left out: {problem.message}")
