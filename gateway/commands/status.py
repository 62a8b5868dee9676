"""`vitals-gateway status`: the room at a glance, as the running service answers it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from gateway.commands import FAILED, OK
from gateway.commands.arguments import seconds
from gateway.terminal import printable

WATCH_S = 2.0
_HEADER = ("DEVICE", "STATE", "LAST READING", "READINGS", "HELD", "BATTERY")
_CLEAR = "\x1b[H\x1b[J"  # to the upper left corner, and erase from there (ECMA-48: CUP, ED)


def add(commands: Any) -> None:
    """Add `status` to the command line."""
    status = commands.add_parser(
        "status",
        help="the room at a glance: ask the running service",
        description="The room at a glance. Without --values nothing that was measured is shown; with it, each device's"
        " last reading is: patient data on your screen, and the service's log says that it was asked for.",
    )
    status.add_argument("--json", action="store_true")
    status.add_argument("--values", action="store_true", help="show the last readings' values, too: patient data")
    status.add_argument(
        "--watch",
        nargs="?",
        type=seconds,
        const=WATCH_S,
        metavar="SECONDS",
        help=f"show it again and again ({WATCH_S:g}), until Ctrl-C",
    )
    status.set_defaults(act=_status)


def _status(given: argparse.Namespace) -> int:
    from gateway import control

    try:
        while given.watch is not None:
            try:
                page = _page(given)
            except control.ControlError as error:  # it may be starting anew
                page = [f"vitals-gateway: {error}"]
            print("\n".join(([_CLEAR] if sys.stdout.isatty() else []) + page), flush=True)
            time.sleep(given.watch)
        print("\n".join(_page(given)))
    except control.ControlError as error:
        print(f"vitals-gateway: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return OK
    return OK


def _page(given: argparse.Namespace) -> list[str]:
    """Answer the lines to be shown. Raises ControlError."""
    from gateway import control

    answer = control.ask(control.default_path(), "status", values=given.values)
    if given.json:
        return [json.dumps(answer, ensure_ascii=False, indent=None if given.watch else 2)]
    return [printable(line) for line in _lines(answer)]


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    gateway = answer["gateway"]
    yield f"{gateway['id']}  version {gateway['version']}  clock {gateway['clock']}  since {gateway['started_at']}"
    yield from _config_lines(gateway["config"])
    yield from _broker_lines(answer["broker"])
    yield from _outbox_lines(answer["outbox"])
    yield from _account_lines(answer["account"], answer["replays"])
    yield ""
    at = datetime.fromisoformat(gateway["at"])
    rows = [_HEADER, *(_row(name, device, at) for name, device in answer["devices"].items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    yield texts[0]
    for text, device in zip(texts[1:], answer["devices"].values(), strict=True):
        yield text
        yield from (f"  {remark}" for remark in _remarks(device))


def _broker_lines(broker: Mapping[str, Any]) -> Iterator[str]:
    from gateway.tls import EXPIRING_DAYS

    yield f"broker  {broker['connected_to'] or 'away: ' + str(broker['trouble'])}"
    if broker["rival"]:
        yield f"        {broker['rival']}"
    for whose, certificate in broker["certificates"].items():
        if certificate["days_left"] < EXPIRING_DAYS:
            yield f"        the certificate of the {whose} ends in {certificate['days_left']} days"
    for topic, reason in broker["blocked"].items():
        yield f"        {topic}: {reason}"


def _outbox_lines(outbox: Mapping[str, Any]) -> Iterator[str]:
    waiting = f"{outbox['depth']} waiting"
    if outbox["oldest_age_s"] is not None:
        waiting += f", the oldest for {_span(outbox['oldest_age_s'])}"
    yield f"outbox  {waiting}, {outbox['parked']} parked{', ' + outbox['trouble'] if outbox['trouble'] else ''}"


def _row(name: str, device: Mapping[str, Any], at: datetime) -> tuple[str, ...]:
    last = device["last_reading"]
    said = "none"
    if last is not None:
        age_s = (at - datetime.fromisoformat(last["received_at"])).total_seconds()
        held = (
            f"held: {last['reasons'][0]}" if last["disposition"] == "hold" and last["reasons"] else last["disposition"]
        )
        said = f"{_span(age_s)} ago, {held}"
        if last["mode"] != "real":
            said += f" ({last['mode']})"
    state = device["state"] + (f": {device['reason']}" if device["reason"] else "")
    battery = "" if device["battery"] is None else f"{device['battery']} %"
    return name, state, said, str(device["readings"]), str(device["held"]), battery


def _remarks(device: Mapping[str, Any]) -> Iterator[str]:
    if device["detail"]:
        yield device["detail"]
    if device["also_claimed_by"]:
        yield f"also in the configuration of: {', '.join(device['also_claimed_by'])}. One of the two is wrong"
    if device["test_until"]:
        yield f"IN TEST until {device['test_until']} (certify): nothing that it measures reaches a chart"
    for vital in (device["last_reading"] or {}).get("vitals", ()):
        yield f"{vital['kind']} {'none' if vital['value'] is None else vital['value']} {vital['unit']}"


def _span(seconds: float) -> str:
    """Answer a span in its largest unit: 12 s, 5 min, 3 h, 2 days; a clock that was moved may have made it negative."""
    for unit, of_them in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= of_them * (2 if unit == "days" else 1):
            return f"{seconds / of_them:.0f} {unit}"
    return f"{seconds:.0f} s"


def _config_lines(config: dict[str, Any]) -> Iterator[str]:
    if config["in_force"] == "last_good":
        yield f"config  THE LAST GOOD ONE RUNS (hash {config['hash']}): the YAML is bad, {config['problems']} problems"
        yield f"        {config['first_problem']}"
    if config["in_force"] == "previous":
        yield f"config  the file on disk is not what runs: {config['problems']} problems. Mend it, then reload"
        yield f"        {config['first_problem']}"
    if config["left_out"]:
        yield f"config  left out, because the YAML is wrong about them: {', '.join(config['left_out'])}"


def _account_lines(account: dict[str, Any], replays: dict[str, Any] | None) -> Iterator[str]:
    rejected, held = sum(account["rejected"].values()), sum(account["held"].values())
    yield (
        f"account {account['frames']} frames = {account['samples']} samples + {account['notices']} notices"
        f" + {rejected} rejected"
    )
    yield (
        f"        {account['samples']} samples = {account['usable']} usable + {held} held + {account['committing']}"
        f" being committed + {account['repeats']} repeats + {account['not_kept']} not kept"
    )
    committed = account["usable"] + held
    replaced = f" + {account['replaced']} by a replaced file" if account["replaced"] else ""
    damaged = f" + {account['damaged']} damaged" if account["damaged"] else ""
    yield (
        f"        {account['waiting_at_start']} at start + {committed} committed + {account['revisions']} revisions"
        f"{replaced} = {account['delivered']} delivered + {account['parked']} parked{damaged}"
        f" + {account['waiting']} waiting"
    )
    for problem in account["unbalanced"]:
        yield f"        DOES NOT ADD UP, report it: {problem}"
    if replays is not None:
        for asked_by, left in replays["left"].items():
            yield f"        {left} rows go out again for the {asked_by}"
        if replays["refused"]:
            yield f"        nobody can ask for rows: the broker refuses in/replay ({replays['refused']})"
