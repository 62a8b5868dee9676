"""The command line: `vitals-gateway`. Its commands are in gateway/commands/, one file each."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from gateway.commands import USAGE, check, decode, demo, discover, kept, models, pair, run, simulate, status

_COMMANDS = (run, check, discover, status, pair, kept, models, decode, simulate, demo)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit status."""
    given = _parser().parse_args(arguments)
    if given.command != "run":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `vitals-gateway models | head` is no error
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # demo and simulate clean up after themselves
    status: int = given.act(given)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="vitals-gateway", description="Brings an exam room's vitals to the chart system.")
    parser.add_argument("--version", action="version", version=version("vitals-gateway"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
