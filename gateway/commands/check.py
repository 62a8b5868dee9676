"""`vitals-gateway check`: a configuration's problems, and what is wrong with a good one in practice, one line each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.commands import BAD_CONFIG, OK

if TYPE_CHECKING:
    from gateway.problems import Report
    from gateway.settings import Settings


def add(commands: Any) -> None:
    """Add `check` to the command line."""
    check = commands.add_parser("check", help="validate a configuration; one line a problem")
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument("--strict", action="store_true", help="warnings are errors, too")
    check.add_argument(
        "--online", action="store_true", help="look at each broker, too, and who else has the room's name there"
    )
    check.set_defaults(act=_check)


def _check(given: argparse.Namespace) -> int:
    from gateway.config import load
    from gateway.problems import Report

    loaded = load(given.file)
    problems = list(loaded.problems)
    if loaded.settings is not None:
        report = Report(given.file)
        report.read()
        _look(loaded.settings, report, online=given.online)
        said = {(p.line, p.column, p.message) for p in problems}
        problems += [p for p in report.problems if (p.line, p.column, p.message) not in said]
    if given.strict:
        problems = [replace(problem, severity="error") for problem in problems]
    for problem in sorted(problems, key=lambda p: (p.file != str(given.file), p.line, p.column, p.path)):
        print(problem)
    return BAD_CONFIG if any(problem.severity == "error" for problem in problems) else OK


def _look(settings: Settings, report: Report, *, online: bool) -> None:
    import asyncio
    import logging
    from datetime import UTC, datetime

    from gateway import practice, probe_broker
    from gateway.accounts import service_account

    practice.look(settings, report.warning, datetime.now(UTC), service_account())
    if not online:
        return
    logging.disable()  # what the parts log for the service is said here in lines of our own

    async def all_of_them() -> list[probe_broker.Look]:
        return [await probe_broker.look(settings, address) for address in probe_broker.addresses(settings)]

    status = _status()
    if isinstance(status, str):
        report.warning(("room",), f"whether it is this machine's gateway that is online is not known: {status}")
    looks = asyncio.run(all_of_them())
    if isinstance(status, str):
        looks = [replace(seen, gateway=None) for seen in looks]
    practice.look_online(settings, looks, None if isinstance(status, str) else status, report.warning)


def _status() -> Mapping[str, Any] | str | None:
    """Answer the running service's status, None where none runs here, and words where it may not be asked."""
    from gateway import control

    try:
        return control.ask(control.default_path(), "status")
    except control.ControlError as error:
        return str(error) if isinstance(error.__cause__ or error.__context__, PermissionError) else None
