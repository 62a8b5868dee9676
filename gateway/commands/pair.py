"""`vitals-gateway pair`: what the person sees. The work is the running service's (gateway/pairing.py)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.commands import FAILED, OK


def add(commands: Any) -> None:
    """Add `pair` to the command line."""
    command = commands.add_parser(
        "pair",
        help="walk a person through bonding a Bluetooth device of the configuration",
        description="Walk a person through bonding a Bluetooth device of the running service's configuration. It is"
        " done when a measurement has come; that one is a test's and reaches no chart.",
    )
    command.add_argument("--model", help="its model, to be sure that it is the one of the configuration")
    command.add_argument("--address", required=True, metavar="ADDRESS")
    command.add_argument("--anew", action="store_true", help="remove an old bond first, which the device has forgotten")
    command.set_defaults(act=_pair)


def _pair(given: argparse.Namespace) -> int:
    from gateway import control

    try:
        return OK if pair(control.default_path(), given.address, given.model, anew=given.anew) else FAILED
    except control.ControlError as error:
        print(f"vitals-gateway pair: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED


def pair(
    path: Path,
    address: str,
    model: str | None,
    *,
    anew: bool,
    say: Callable[[str], None] = print,
    ask: Callable[[str], str] = input,
) -> bool:
    """Walk a person through pairing with the service at `path`; answer whether it was done. Raises ControlError."""
    from gateway import control

    question = {"command": "pair", "address": address, "model": model, "anew": anew}

    def reply(line: Mapping[str, Any]) -> dict[str, object] | None:
        asked = line.get("ask")
        if asked == "passkey":
            return {"passkey": _line(ask, f"{line['text']}: ")}
        if asked == "confirm":
            return {"confirm": _line(ask, f"{line['text']} [y/n] ").strip().lower() in ("y", "yes")}
        return None

    for line in control.converse(path, question, reply, timeout_s=None):
        if "error" in line:
            raise control.ControlError(str(line["error"]))
        if "ask" in line:
            continue
        say(f"{line.get('text', '')}.")
        if "done" in line:
            for vital in line["vitals"]:
                value = f" {vital['value']} {vital['unit']}: is that what it shows?" if "value" in vital else ""
                say(f"  {vital['kind']}{value}")
            return True
        if "failed" in line:
            return False
    raise control.ControlError("the service hung up, before a reading came: systemctl status vitals-gateway")


def _line(ask: Callable[[str], str], prompt: str) -> str:
    try:
        return ask(prompt)
    except EOFError:
        sys.stderr.write("vitals-gateway pair: nobody answers here; pair from a terminal\n")
        return ""
