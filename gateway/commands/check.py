"""`vitals-gateway check`: a configuration's problems, one line each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gateway.commands import BAD_CONFIG, OK


def add(commands: Any) -> None:
    """Add `check` to the command line."""
    check = commands.add_parser("check", help="validate a configuration; one line a problem")
    check.add_argument("file", type=Path, metavar="FILE")
    check.set_defaults(act=_check)


def _check(given: argparse.Namespace) -> int:
    from gateway.config import load

    loaded = load(given.file)
    for problem in loaded.problems:
        print(problem)
    return BAD_CONFIG if loaded.settings is None else OK
