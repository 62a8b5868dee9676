"""`vitals-gateway simulate`: serves one simulated device on a pty or by Bluetooth."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from gateway.commands import FAILED, OK, USAGE
from gateway.commands.arguments import seconds

_SIMULATE = """\
Serve one simulated device until Ctrl-C or SIGTERM. What comes of it is never `real`.

A serial device prints the path of its port, for `port:` in the YAML:
  --set body_weight=83.7, --set body_weight=184.5[lb_av]; without it, and without a story, people come and go
  --fault drop, split, merge, garble, stall, unplug, replug, out_of_range, noise: again and again, by chance

A Bluetooth device prints the environment for the gateway's process, then its address and name. It is on a simulated
air, which ends with it; with --dongle it is on a real one, and there is no environment to print.
  --set systolic=, diastolic=, pulse_rate= (mmHg, /min); body_temperature= (degrees Celsius);
        oxygen_saturation= (percent); heart_rate=; body_weight= (kg; a Detecto: pounds)
  --fault vanish, hang_up, refuse_pairing, lose_bond, nan_flood, repeat_last, clock_2010, clock_write_error,
        demonstration, reserved_bits, not_paired, wrong_check: every time
"""

_STOP_S = 3.0


def add(commands: Any) -> None:
    """Add `simulate` to the command line."""
    simulate = commands.add_parser(
        "simulate",
        help="serve one simulated device",
        description=_SIMULATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    simulate.add_argument("model", metavar="MODEL", help="an id of `vitals-gateway models`")
    simulate.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KIND=VALUE",
        dest="settings",
        help="a value that stays; may be given again",
    )
    simulate.add_argument("--fault", action="append", default=[], metavar="NAME", dest="faults", help="see above")
    simulate.add_argument("--story", type=Path, metavar="FILE", help="what happens when (serial devices)")
    simulate.add_argument("--every", type=seconds, metavar="SECONDS", help="measure this often (Bluetooth; 60)")
    simulate.add_argument("--address", metavar="ADDRESS", help="its random static address (Bluetooth)")
    simulate.add_argument(
        "--dongle", metavar="TRANSPORT", help="a real controller by bumble's name for it, such as usb:0 (Bluetooth)"
    )
    simulate.set_defaults(act=_simulate)


def _simulate(given: argparse.Namespace) -> int:
    import asyncio
    import logging

    async def serve_until_told() -> None:
        from simulators.serve import serve

        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        serving = asyncio.ensure_future(
            serve(
                given.model,
                given.settings,
                given.story,
                given.faults,
                dongle=given.dongle,
                address=given.address,
                every_s=given.every,
            )
        )
        try:
            await asyncio.wait({serving})
            serving.result()
        finally:
            logging.disable()  # bumble complains of answers that nobody awaits now
            while not serving.done():
                serving.cancel()  # again: asyncio.wait_for, by which bumble waits, may swallow it in Python 3.11
                await asyncio.wait({serving}, timeout=_STOP_S)

    try:
        asyncio.run(serve_until_told())
    except ValueError as error:
        print(f"vitals-gateway simulate: {error}", file=sys.stderr)
        return USAGE
    except RuntimeError as error:
        print(f"vitals-gateway simulate: {error}", file=sys.stderr)
        return FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        return OK
    return OK
