"""`vitals-gateway run`: the service, in the foreground."""

from __future__ import annotations

import argparse
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

from gateway.commands import BAD_CONFIG


def add(commands: Any) -> None:
    """Add `run` to the command line."""
    run = commands.add_parser(
        "run",
        help="the service, in the foreground",
        description="The service, in the foreground, until SIGTERM or Ctrl-C; SIGHUP reads the configuration again."
        " With a bad configuration the last good one runs; where there is none, the exit status is 78.",
    )
    run.add_argument("--config", type=Path, required=True, metavar="FILE")
    run.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")
    run.set_defaults(act=_run)


def _run(given: argparse.Namespace) -> int:
    from gateway import boot, last_good, log
    from gateway.config import load

    # Until somebody listens to it (runner.py): it would end us, and systemd take that for a stop that was asked for.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    log.configure(given.log_level)
    start = boot.choose(given.config, lambda problem: print(problem, file=sys.stderr))
    if start is None:
        return BAD_CONFIG
    from gateway import runner

    return runner.run(
        start.settings,
        partial(load, given.config),
        in_force=start.in_force,
        on_good=lambda loaded: last_good.remember(given.config, loaded or start.loaded),
    )
