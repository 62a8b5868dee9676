"""`vitals-gateway check`: a configuration's problems, one line each."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from gateway.commands import BAD_CONFIG, OK, USAGE


def add(commands: Any) -> None:
    """Add `check` to the command line."""
    check = commands.add_parser("check", help="validate a configuration; one line a problem")
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument(
        "--explain",
        metavar="KEY",
        help="where a value comes from: broker.url, devices.cuff.model, timezone; problems go to standard error",
    )
    check.set_defaults(act=_check)


def _check(given: argparse.Namespace) -> int:
    from gateway.config import load

    loaded = load(given.file)
    for problem in loaded.problems:
        print(problem, file=sys.stdout if given.explain is None else sys.stderr)
    if given.explain is not None:
        from gateway.explain import UnknownKey, explain

        try:
            for line in explain(loaded, given.explain):
                print(line)
        except UnknownKey as error:
            print(f"vitals-gateway check: {error}", file=sys.stderr)
            return USAGE if loaded.layers is not None else BAD_CONFIG
    return BAD_CONFIG if loaded.settings is None else OK
