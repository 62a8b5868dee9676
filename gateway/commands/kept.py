"""The commands `trace` and `resend`: what they take, what they ask the service, what they show."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gateway.commands import FAILED, OK, USAGE
from gateway.terminal import printable

_RANGE = re.compile(r"([0-9]{1,18})(?:\.\.([0-9]{1,18}))?")


def add(commands: Any) -> None:
    """Add `trace` and `resend` to the command line."""
    _add_trace(commands)
    _add_resend(commands)


def _add_trace(commands: Any) -> None:
    trace = commands.add_parser(
        "trace",
        help="what happened to a reading, step by step",
        description="What happened to a reading, step by step; without --values, nothing that was measured is shown."
        " With --values it is patient data on your screen, and the service's log says that it was asked for.",
    )
    trace.add_argument("id", nargs="?", metavar="ID", help="a reading's id")
    trace.add_argument("--device", metavar="ID", help="a device of the YAML, with --at or --since")
    when = trace.add_mutually_exclusive_group()
    when.add_argument("--at", metavar="TIME", help="kept within two minutes of it: 2026-11-22T13:05, the room's zone")
    when.add_argument("--since", metavar="TIME", help="kept since then, at most 100")
    trace.add_argument("--values", action="store_true", help="show values and frames, too: patient data")
    trace.add_argument("--json", action="store_true")
    trace.set_defaults(act=lambda given: _ask(given, _trace))


def _add_resend(commands: Any) -> None:
    resend = commands.add_parser(
        "resend",
        help="send kept readings again, marked as replayed",
        description="Send kept readings again: the same ids and bytes, marked with the MQTT 5 user property `replayed`."
        " Fresh readings go first. `vitals-gateway status` shows how far it is.",
    )
    resend.add_argument("ids", nargs="*", metavar="ID", help="readings' ids")
    resend.add_argument(
        "--since", metavar="TIME", help="all that was kept since then: 2026-11-22T13:05, the room's zone"
    )
    resend.add_argument("--sequence", type=_range, metavar="A..B", help="sequences of the present stream")
    resend.add_argument(
        "--unmarked", action="store_true", help="with MQTT 3.1.1, which has no mark: send it all the same"
    )
    resend.add_argument("--json", action="store_true")
    resend.set_defaults(act=lambda given: _ask(given, _resend))


class _UsageError(Exception):
    """What was asked for cannot be; `str()` says what can."""


def _ask(given: argparse.Namespace, lines: Callable[[argparse.Namespace], Iterator[str]]) -> int:
    from gateway import control

    try:
        for line in lines(given):
            print(line)
    except _UsageError as error:
        print(f"vitals-gateway {given.command}: {error}", file=sys.stderr)
        return USAGE
    except control.ControlError as error:
        print(f"vitals-gateway: {error}", file=sys.stderr)
        return FAILED
    return OK


def _trace(given: argparse.Namespace) -> Iterator[str]:
    by_id, by_device = given.id is not None, given.device is not None and (given.at or given.since)
    if by_id == bool(by_device) or (by_id and (given.device or given.at or given.since)):
        raise _UsageError("name a reading's ID, or --device ID with --at TIME or --since TIME")
    asked = {"id": given.id, "device": given.device, "at": given.at, "since": given.since}
    from gateway import control

    members = {name: value for name, value in asked.items() if value is not None}
    answer = control.ask(control.default_path(), "trace", 15.0, **members, values=given.values)
    return iter([json.dumps(answer, ensure_ascii=False, indent=2)]) if given.json else _trace_lines(answer)


def _resend(given: argparse.Namespace) -> Iterator[str]:
    if sum(map(bool, (given.ids, given.since, given.sequence))) != 1:
        raise _UsageError("name IDs, or --since TIME, or --sequence A..B")
    from gateway import control

    members: dict[str, object] = {"unmarked": given.unmarked}
    if given.ids:
        members["ids"] = given.ids
    elif given.since:
        members["since"] = given.since
    else:
        members["from"], members["to"] = given.sequence
    answer = control.ask(control.default_path(), "resend", 30.0, **members)
    return iter([json.dumps(answer, ensure_ascii=False, indent=2)]) if given.json else _resend_lines(answer)


def _trace_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    if not answer["readings"]:
        yield (
            "its row is gone: it was delivered and its keeping time is over"
            if answer["remembered"]
            else "nothing is kept that answers to this: another gateway's, purged, or never read"
        )
    for reading in answer["readings"]:
        yield from map(printable, _reading_lines(reading))
    if answer["more"]:
        yield "… and more: name a later time"


def _reading_lines(reading: Mapping[str, Any]) -> Iterator[str]:
    if reading.get("damaged"):
        yield f"sequence {reading['sequence']}  {reading['device']}: its bytes are not those that were kept; never sent"
        return
    captured, validated, committed = reading["captured"], reading["validated"], reading["committed"]
    yield f"{reading['id']}  revision {reading['revision']}  {reading['device']} ({reading['model']})"
    link = " ".join(str(word) for word in (captured["link"], captured["characteristic"]) if word)
    yield (
        f"  captured     {captured['received_at']}  by {link or 'an unknown link'}, mode {captured['mode']}"
        f", taken at {captured['taken_at']} ({captured['time']['source']}, {captured['time']['quality']})"
        f"  [{captured['version']}]"
    )
    reasons = ", ".join(validated["reasons"]) or "no reason to hold it"
    yield f"  validated    {validated['status']}, {validated['disposition']}: {reasons}  [{validated['version']}]"
    for vital in validated["vitals"]:
        if vital["reasons"]:
            yield f"               {vital['kind']} {vital['status']}: {', '.join(vital['reasons'])}"
    yield f"  committed    {committed['at']}  sequence {committed['sequence']}  [{committed['version']}]"
    yield from _told_lines(reading, "sent", reading["state"])
    if reading["sent_again"] is not None:
        yield from _told_lines(reading["sent_again"], "sent again", f"{reading['sent_again']['times']} times")
    raw = reading["raw"]
    same = {True: "says the same", False: "DOES NOT SAY THE SAME", None: "cannot tell"}[raw["same"]]
    events = ", ".join(raw["events"]) or "no model, no frame"
    yield f"  frame        {raw['bytes']} bytes; the codec of now {same} ({events})"
    if "payload" in reading:
        for vital in reading["payload"]["vitals"]:
            yield f"  value        {vital['kind']} {_value(vital)}"
        yield f"  flags        {', '.join(reading['payload']['flags']) or 'none'}"
        yield f"  bytes        {raw['hex']}"


def _value(vital: Mapping[str, Any]) -> str:
    """Say the canonical value, and what the device itself showed."""
    value = f"none ({vital['absent']})" if vital["value"] is None else f"{vital['value']} {vital['unit']}"
    if (said := vital["measured"]) is None:
        return value
    return f"{value}, measured {' '.join(str(said[name]) for name in ('value', 'unit') if said[name] is not None)}"


def _told_lines(told: Mapping[str, Any], word: str, state: str) -> Iterator[str]:
    sent, said = told["sent"], told["acknowledged"]
    if sent is not None:
        yield f"  {word:<12} {sent['at'] or 'at an unknown time'}  to {sent['broker']}  [{sent['version']}]"
    elif state == "waiting":
        yield f"  {word:<12} it waits: no broker has acknowledged it"
    if said is not None:
        at = said["at"] or "at an unknown time"
        yield f"  {'acknowledged' if state != 'parked' else 'parked':<12} {at}  {said['reason']}  [{said['version']}]"


def _resend_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    yield f"{answer['sent_again']} readings go out again" + ("" if answer["connected"] else ", once a broker is there")
    for name, what in (
        ("waiting", "not delivered yet, and go out by themselves"),
        ("gone", "gone: purged after their keeping time"),
    ):
        if answer[name]:
            yield f"{what}: {', '.join(_words(first, last) for first, last in answer[name])}"
    if answer["never"]:
        yield f"not given yet: {_words(*answer['never'])}"
    for reading in answer["unknown"]:
        yield f"nothing is kept under {reading}"


def _words(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}..{last}"


def _range(text: str) -> Sequence[int]:
    found = _RANGE.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no range of sequences, such as 200..250")
    return int(found[1]), int(found[2] or found[1])
