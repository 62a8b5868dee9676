"""`vitals-gateway reload`: have the running service read its configuration again, and hear what came of it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from gateway.commands import BAD_CONFIG, FAILED, OK

PATIENCE_S = 60.0  # a device by radio lets go of its link first


def add(commands: Any) -> None:
    """Add `reload` to the command line."""
    reload = commands.add_parser(
        "reload",
        help="have the running service read its configuration again",
        description="Have the running service read its configuration again, and tell what has changed. A file that is"
        " not good changes nothing: its problems are told, and the exit status is 78.",
    )
    reload.add_argument("--json", action="store_true")
    reload.set_defaults(act=_reload)


def _reload(given: argparse.Namespace) -> int:
    from gateway import control

    try:
        answer: dict[str, Any] = control.ask(control.default_path(), "reload", PATIENCE_S)
    except control.ControlError as error:
        print(f"vitals-gateway: {error}", file=sys.stderr)
        return FAILED
    if given.json:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
        return BAD_CONFIG if answer["problems"] else OK
    for problem in (*answer["warnings"], *answer["problems"]):
        print(problem, file=sys.stderr)
    if answer["problems"]:
        print("vitals-gateway: not reloaded: all runs on as before", file=sys.stderr)
        return BAD_CONFIG
    for change in answer["changed"] or ("nothing that matters has changed",):
        print(change)
    return OK
