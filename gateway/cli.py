"""The command line: `vitals-gateway`. What a command needs is imported when that command is used.

Exit statuses: 0 done, 1 failed, 3 no sample in what was decoded, 64 wrong usage, 78 bad configuration.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from gateway import trace_command

OK, USAGE, BAD_CONFIG = os.EX_OK, os.EX_USAGE, os.EX_CONFIG  # 0, 64, 78: sysexits.h
FAILED, NO_SAMPLE = 1, 3

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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit status."""
    given = _parser().parse_args(arguments)
    command = given.command
    if command == "run":
        return _run(given.config, given.log_level)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `vitals-gateway models | head` is no error
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # demo and simulate clean up after themselves
    if command == "check":
        return _check(given.file)
    if command == "status":
        return _status(json=given.json)
    if command == "pair":
        return _pair(given.address, given.model, anew=given.anew)
    if command in ("trace", "resend"):
        return _ask(given)
    if command == "models":
        return _models(given.models_dir, json=given.json, markdown=given.markdown)
    if command == "decode":
        return _decode(given)
    if command == "simulate":
        return _simulate(given)
    return _demo(given.seconds, json=given.json)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="vitals-gateway", description="Brings an exam room's vitals to the chart system.")
    parser.add_argument("--version", action="version", version=version("vitals-gateway"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="the service, in the foreground")
    run.add_argument("--config", type=Path, required=True, metavar="FILE")
    run.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")

    check = commands.add_parser("check", help="validate a configuration; one line a problem")
    check.add_argument("file", type=Path, metavar="FILE")

    status = commands.add_parser("status", help="ask the running service how it stands")
    status.add_argument("--json", action="store_true")

    pair = commands.add_parser("pair", help="walk a person through bonding a Bluetooth device of the configuration")
    pair.add_argument("--model", help="its model, to be sure that it is the one of the configuration")
    pair.add_argument("--address", required=True, metavar="ADDRESS")
    pair.add_argument("--anew", action="store_true", help="remove an old bond first, which the device has forgotten")
    trace_command.add_trace(commands)
    trace_command.add_resend(commands)

    models = commands.add_parser("models", help="the device catalogue")
    form = models.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--markdown", action="store_true", help="the page docs/devices.md")
    models.add_argument("--models-dir", type=Path, metavar="DIR", help="a site's own models")

    decode = commands.add_parser("decode", help="what the codec makes of captured bytes")
    what = decode.add_mutually_exclusive_group(required=True)
    what.add_argument("--model")
    what.add_argument("--driver")
    decode.add_argument("--models-dir", type=Path, metavar="DIR", help="a site's own models")
    where = decode.add_mutually_exclusive_group()
    where.add_argument("--characteristic", metavar="UUID16")
    where.add_argument("--advertisement", metavar="UUID16")
    source = decode.add_mutually_exclusive_group(required=True)
    source.add_argument("--hex", metavar="HEX")
    source.add_argument("--file", type=Path, metavar="FILE", help="the bytes themselves")

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
    simulate.add_argument("--every", type=_seconds, metavar="SECONDS", help="measure this often (Bluetooth; 60)")
    simulate.add_argument("--address", metavar="ADDRESS", help="its random static address (Bluetooth)")
    simulate.add_argument(
        "--dongle", metavar="TRANSPORT", help="a real controller by bumble's name for it, such as usb:0 (Bluetooth)"
    )

    demo = commands.add_parser("demo", help="the main job, with nothing configured")
    demo.add_argument("--seconds", type=_seconds, default=60.0, metavar="N")
    demo.add_argument("--json", action="store_true", help="the payloads, one a line")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _run(config: Path, log_level: str) -> int:
    from gateway import log
    from gateway.config import load

    log.configure(log_level)
    loaded = load(config)
    for problem in loaded.problems:
        print(problem, file=sys.stderr)
    if loaded.settings is None:
        return BAD_CONFIG
    from gateway import runner

    return runner.run(loaded.settings)


def _check(file: Path) -> int:
    from gateway.config import load

    loaded = load(file)
    for problem in loaded.problems:
        print(problem)
    return BAD_CONFIG if loaded.settings is None else OK


def _status(*, json: bool) -> int:
    from gateway import control, inspect

    try:
        answer = control.ask(control.default_path(), "status")
    except control.ControlError as error:
        print(f"vitals-gateway: {error}", file=sys.stderr)
        return FAILED
    for line in inspect.status_lines(answer, json=json):
        print(line)
    return OK


def _pair(address: str, model: str | None, *, anew: bool) -> int:
    from gateway import control, pair_command

    try:
        return OK if pair_command.pair(control.default_path(), address, model, anew=anew) else FAILED
    except control.ControlError as error:
        print(f"vitals-gateway pair: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED


def _ask(given: argparse.Namespace) -> int:
    from gateway import control

    try:
        for line in trace_command.trace(given) if given.command == "trace" else trace_command.resend(given):
            print(line)
    except trace_command.UsageError as error:
        print(f"vitals-gateway {given.command}: {error}", file=sys.stderr)
        return USAGE
    except control.ControlError as error:
        print(f"vitals-gateway: {error}", file=sys.stderr)
        return FAILED
    return OK


def _models(models_dir: Path | None, *, json: bool, markdown: bool) -> int:
    from gateway import device_page, inspect
    from gateway.catalogue import CatalogueError

    try:
        lines = device_page.lines(models_dir) if markdown else inspect.model_lines(models_dir, json=json)
        for line in lines:
            print(line)
    except CatalogueError as error:
        print(f"vitals-gateway: {error}", file=sys.stderr)
        return BAD_CONFIG
    return OK


def _decode(given: argparse.Namespace) -> int:
    from gateway import inspect

    try:
        data = given.file.read_bytes() if given.file else bytes.fromhex(given.hex)
        events = inspect.decoded(
            data,
            model=given.model,
            driver=given.driver,
            models_dir=given.models_dir,
            characteristic=given.characteristic,
            advertisement=given.advertisement,
        )
    except inspect.UsageError as error:
        print(f"vitals-gateway decode: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        print(f"vitals-gateway decode: {given.file}: {error.strerror}", file=sys.stderr)
        return USAGE
    except ValueError:
        print("vitals-gateway decode: --hex takes pairs of hex digits, such as 53542c2b", file=sys.stderr)
        return USAGE
    for event in events:
        print(inspect.event_line(event))
    return OK if inspect.has_sample(events) else NO_SAMPLE


def _simulate(given: argparse.Namespace) -> int:
    import asyncio

    async def serve_until_told() -> None:
        from simulators.serve import serve

        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await serve(
            given.model,
            given.settings,
            given.story,
            given.faults,
            dongle=given.dongle,
            address=given.address,
            every_s=given.every,
        )

    try:
        asyncio.run(serve_until_told())
    except (ValueError, OSError) as error:
        print(f"vitals-gateway simulate: {error}", file=sys.stderr)
        return USAGE
    except RuntimeError as error:
        print(f"vitals-gateway simulate: {error}", file=sys.stderr)
        return FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        return OK
    return OK


def _demo(seconds: float, *, json: bool) -> int:
    import asyncio

    from gateway.demo import DemoFailed, demo

    try:
        asyncio.run(demo(seconds, json=json))
    except DemoFailed as error:
        print(f"vitals-gateway demo: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return OK
    return OK


if __name__ == "__main__":
    sys.exit(main())
