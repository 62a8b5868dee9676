"""The command line: `vitals-gateway`. Its commands are in gateway/commands/, one file each."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from gateway.commands import (
    FAILED,
    USAGE,
    certify,
    check,
    decode,
    demo,
    discover,
    doctor,
    kept,
    models,
    pair,
    reload,
    run,
    simulate,
    status,
)

_COMMANDS = (run, reload, check, discover, doctor, status, pair, certify, kept, models, decode, simulate, demo)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit status."""
    given = _parser().parse_args(arguments)
    if given.command == "run":
        return _act(given)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # demo and simulate clean up after themselves
    try:
        status = _act(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # `vitals-gateway models | head` is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # which Python flushes once more
        return 128 + signal.SIGPIPE
    except OSError as error:  # a disk that is full, a file that may not be read
        named = "" if error.filename is None else f"{error.filename}: "
        print(f"vitals-gateway {given.command}: {named}{error.strerror or error}", file=sys.stderr)
        return FAILED
    return status


def _act(given: argparse.Namespace) -> int:
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
