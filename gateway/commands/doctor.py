"""`vitals-gateway doctor`: one page on what is well and what to do, and a support file without patient data."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gateway.commands import FAILED, OK

DEFAULT_CONFIG = Path("/etc/vitals-gateway/gateway.yaml")


def add(commands: Any) -> None:
    """Add `doctor` to the command line."""
    doctor = commands.add_parser(
        "doctor",
        help="one page: what is well, and what to do about the rest",
        description="Looks at power, clock, disk, outbox, broker, Bluetooth and each device. Changes nothing, publishes"
        " nothing. The exit status is 0 where nothing is bad, 1 otherwise.",
    )
    doctor.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help=f"default: {DEFAULT_CONFIG}"
    )
    form = doctor.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument(
        "--bundle",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FILE.tar.gz",
        help="write a support file, too; without patient data or secrets",
    )
    doctor.set_defaults(act=_doctor)


def _doctor(given: argparse.Namespace) -> int:
    import logging

    from gateway import control, doctor

    logging.disable()  # what the parts log for the service is said here in lines of our own
    patient = doctor.admit(given.config, control.default_path())
    findings = []
    for finding in doctor.examine(doctor.checks(patient)):
        findings.append(finding)
        if not given.json:
            print(*finding.lines(), sep="\n", flush=True)
    if given.json:
        print(json.dumps([finding.members() for finding in findings], ensure_ascii=False, indent=2))
    if given.bundle is not None:
        from gateway import bundle

        try:
            print(f"written: {bundle.write(given.bundle, patient, findings)}")
        except OSError as error:
            print(f"vitals-gateway doctor: the support file cannot be written: {error}", file=sys.stderr)
            return FAILED
    return FAILED if any(finding.state == "bad" for finding in findings) else OK
