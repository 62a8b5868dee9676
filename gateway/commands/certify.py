"""`vitals-gateway certify`: what the person sees, and the report. The work is the service's (gateway/certify.py)."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gateway.commands import FAILED, OK, USAGE
from gateway.terminal import printable


def add(commands: Any) -> None:
    """Add `certify` to the command line."""
    command = commands.add_parser(
        "certify",
        help="measure once with each device of the room, see it arrive, and sign off",
        description="After a change: measure once with each device, see it kept and acknowledged by the broker, and"
        " sign off in a report. Meanwhile, for at most five minutes a device, nothing that it measures reaches the"
        " chart.",
    )
    command.add_argument(
        "--device", action="append", metavar="ID", help="only this one; may stand there several times (all of the YAML)"
    )
    command.add_argument("--report", type=Path, metavar="FILE", help="write the report there, too")
    command.add_argument("--json", action="store_true", help="the report as JSON; what happens goes to stderr")
    command.add_argument(
        "--unattended", action="store_true", help="ask nothing: wait for the next reading of all, side by side"
    )
    command.add_argument(
        "--within", type=float, default=300.0, metavar="SECONDS", help="for each device, 5 to 300 (%(default).0f)"
    )
    command.add_argument("--values", action="store_true", help="write what was measured into the report, too")
    command.set_defaults(act=_certify)


def _certify(given: argparse.Namespace) -> int:
    from gateway import control

    if not given.unattended and not sys.stdin.isatty():
        print("vitals-gateway certify: nobody can answer here: use a terminal, or --unattended", file=sys.stderr)
        return USAGE
    if not 5 <= given.within <= 300:
        print("vitals-gateway certify: --within takes 5 to 300 seconds", file=sys.stderr)
        return USAGE
    question = {
        "command": "certify",
        "devices": given.device,
        "unattended": given.unattended,
        "within_s": given.within,
        "values": given.values,
    }
    try:
        if given.report is not None:
            given.report.open("a").close()  # now, and not when everybody has stepped off the scale
        report = certify(control.default_path(), question, say=partial(print, file=sys.stderr, flush=True))
        text = json.dumps(report, ensure_ascii=False, indent=2) if given.json else "\n".join(lines(report))
        print(text)
        if given.report is not None:
            given.report.write_text(text + "\n", encoding="utf-8")
    except control.ControlError as error:
        print(f"vitals-gateway certify: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"vitals-gateway certify: {given.report} cannot be written ({error.strerror})", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(
            "\nvitals-gateway certify: stopped; no device is in test any more, nothing is signed off", file=sys.stderr
        )
        return FAILED
    return OK if report["passed"] else FAILED


def certify(
    path: Path,
    question: Mapping[str, Any],
    *,
    say: Callable[[str], None] = print,
    ask: Callable[[str], str] = input,
) -> dict[str, Any]:
    """Go through it with the service at `path`; answer the report. Raises ControlError."""
    from gateway import control

    names = not question.get("devices") or len(question["devices"]) > 1

    def reply(line: Mapping[str, Any]) -> dict[str, object] | None:
        if line.get("ask") == "ready":
            return {"ready": _answer(ask, f"\n{line['text']}. Begin? [y, or n to skip it] ")}
        if line.get("ask") == "shown":
            for shown in line["values"]:
                say(f"    {printable(shown)}")
            return {"shown": _answer(ask, f"  {line['text']} [y/n] ")}
        return None

    for line in control.converse(path, question, reply, timeout_s=None):
        if "error" in line:
            raise control.ControlError(str(line["error"]))
        if "done" in line:
            report: dict[str, Any] = {**line["report"], "run_by": _user()}
            return report
        if "step" in line:
            say(f"  {line['device'] + ': ' if names else ''}{printable(line['text'])}.")
    raise control.ControlError("the service hung up: nothing is signed off. systemctl status vitals-gateway")


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Answer the report as text."""
    gateway = report["gateway"]
    yield f"{gateway['id']}: {'PASSED' if report['passed'] else 'NOT PASSED'}"
    how = "" if report["attended"] else ", unattended"
    yield f"from {report['from']} to {report['to']}, by {report['run_by']}{how}"
    yield f"gateway {gateway['version']}, configuration {gateway['config_hash']}, stream {gateway['stream']}"
    yield f"clock {gateway['clock']}, broker {gateway['broker'] or 'away'}"
    for device in report["devices"]:
        yield ""
        yield from map(printable, _device(device))


def _device(device: Mapping[str, Any]) -> Iterator[str]:
    yield f"{device['id']}  {device['result'].upper()}{': ' + device['text'] if device['result'] != 'passed' else ''}"
    if device["do"]:
        yield f"  do            {device['do']}"
    where = f" ({device['maker']}), {device['link']} {device['port'] or device['hardware']}" if device["maker"] else ""
    yield f"  model         {device['model']}{where}"
    told = {name: device[name] for name in ("serial", "firmware", "battery") if device[name] is not None}
    if told:
        yield f"  it says       {', '.join(f'{name} {said}' for name, said in told.items())}"
    reading = device["reading"]
    yield f"  proof         {_PROOFS[device['proof']]}"
    if reading is not None:
        yield f"  reading       {reading['id']}, sequence {reading['sequence']}, {reading['topic']}"
        held = f"hold: {', '.join(reading['reasons'])}" if reading["reasons"] else reading["disposition"]
        yield f"                {reading['mode']}, {held}, clock {reading['time_quality']}"
        for name in ("captured", "committed"):
            yield f"  {name:<13} {reading[f'{name}_at'] or 'not'}"
        unknown = "at a time that nobody knows: the clock was not synchronized"
        if reading["broker"] is not None:
            yield f"  sent          to {reading['broker']}, {reading['sent_at'] or unknown}"
        if device["proof"] in ("acknowledged", "seen"):
            yield f"  acknowledged  {reading['broker_said']}, {reading['acknowledged_at'] or unknown}"
    yield f"  display       {_DISPLAYS[device['display']]}"
    for value in device.get("values", ()):
        yield f"  value         {value}"
    for remark in device["remarks"]:
        yield f"  remark        {remark}"


_PROOFS = {
    "none": "none: no reading of the test came",
    "captured": "it was read",
    "committed": "it was read and is on disk",
    "acknowledged": "it was read, is on disk, and the broker has acknowledged it",
    "seen": "it was read, is on disk, the broker has acknowledged it, and it came back from the broker byte for byte",
}
_DISPLAYS = {
    "agrees": "the person saw the same on the device",
    "differs": "the person saw something else on the device",
    "not_asked": "nobody compared it",
}


def _answer(ask: Callable[[str], str], prompt: str) -> bool | None:
    """Answer yes or no; None if nobody answers any more."""
    while True:
        try:
            said = ask(prompt).strip().lower()
        except EOFError:
            return None
        if said in ("y", "yes", "n", "no"):
            return said.startswith("y")


def _user() -> str:
    """Answer who runs it: the Unix user, and who became that user by sudo."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    behind = os.environ.get("SUDO_USER")
    return f"{user} (sudo by {behind})" if behind else user
