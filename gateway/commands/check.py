"""`vitals-gateway check`: a configuration's problems, and what is wrong with a good one in practice, one line each."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.commands import BAD_CONFIG, OK, USAGE

if TYPE_CHECKING:
    from gateway.config import Loaded
    from gateway.problems import Problem
    from gateway.settings import Settings


def add(commands: Any) -> None:
    """Add `check` to the command line."""
    check = commands.add_parser(
        "check",
        help="validate a configuration; one line a problem",
        description="Read a configuration with all that it names, and tell each problem with file, line and column. It"
        " says nothing where all is well. The exit status is 0 where nothing but warnings came, 78 otherwise.",
    )
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument("--strict", action="store_true", help="warnings are errors, too")
    check.add_argument(
        "--online", action="store_true", help="look at each broker, too, and who else has the room's name there"
    )
    check.add_argument(
        "--explain",
        metavar="KEY",
        help="where a value comes from: broker.url, devices.cuff.model, timezone; problems go to standard error",
    )
    check.set_defaults(act=_check)


def _check(given: argparse.Namespace) -> int:
    from gateway.config import load

    loaded = load(given.file)
    problems = list(loaded.problems)
    if loaded.settings is not None and given.explain is None:
        from gateway import practice

        problems += practice.doubts(given.file, loaded.settings)
        if given.online:
            problems += _online(given.file, loaded.settings)
    if given.strict:
        problems = [replace(problem, severity="error") for problem in problems]
    for problem in _in_order(problems, loaded):
        print(problem, file=sys.stdout if given.explain is None else sys.stderr)
    if given.explain is not None:
        from gateway.explain import UnknownKey, explain

        try:
            for line in explain(loaded, given.explain):
                print(line)
        except UnknownKey as error:
            print(f"vitals-gateway check: {error}", file=sys.stderr)
            return USAGE if loaded.layers is not None else BAD_CONFIG
    return BAD_CONFIG if any(problem.severity == "error" for problem in problems) else OK


def _in_order(problems: list[Problem], loaded: Loaded) -> list[Problem]:
    """Answer each once: file by file as they were read, by line; then those of other files, as they are."""
    order = {} if loaded.layers is None else loaded.layers.order

    def place(problem: Problem) -> tuple[int, int, int, str]:
        where = order.get(problem.file)
        return (len(order), 0, 0, "") if where is None else (where, problem.line, problem.column, problem.path)

    return sorted(dict.fromkeys(problems), key=place)


def _online(file: Path, settings: Settings) -> list[Problem]:
    import asyncio
    import logging

    from gateway import control, doctor, practice, probe_broker

    logging.disable()  # what the parts log for the service is said here in lines of our own

    async def looks() -> list[probe_broker.Look]:
        return [await probe_broker.look(settings, address) for address in probe_broker.addresses(settings)]

    patient = doctor.admit(file, control.default_path())
    seen = asyncio.run(looks())
    if patient.denied:  # whether it is this machine's gateway that is online, nobody tells us
        seen = [replace(one, gateway=None) for one in seen]
    return practice.doubts_online(file, settings, seen, patient.status)
