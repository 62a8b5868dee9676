"""`vitals-gateway status`: the room at a glance, as the running service answers it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from gateway.commands import FAILED, OK


def add(commands: Any) -> None:
    """Add `status` to the command line."""
    status = commands.add_parser("status", help="ask the running service how it stands")
    status.add_argument("--json", action="store_true")
    status.set_defaults(act=_status)


def _status(given: argparse.Namespace) -> int:
    from gateway import control

    try:
        answer = control.ask(control.default_path(), "status")
    except control.ControlError as error:
        print(f"vitals-gateway: {error}", file=sys.stderr)
        return FAILED
    for line in [json.dumps(answer, ensure_ascii=False, indent=2)] if given.json else _lines(answer):
        print(line)
    return OK


def _lines(answer: dict[str, Any]) -> Iterator[str]:
    """Answer how the service stands: the room at a glance, without values."""
    from gateway.tls import EXPIRING_DAYS

    gateway, broker, outbox = answer["gateway"], answer["broker"], answer["outbox"]
    yield f"{gateway['id']}  version {gateway['version']}  clock {gateway['clock']}  since {gateway['started_at']}"
    yield f"broker  {broker['connected_to'] or 'away: ' + str(broker['trouble'])}"
    if broker["rival"]:
        yield f"        {broker['rival']}"
    for whose, certificate in broker["certificates"].items():
        if certificate["days_left"] < EXPIRING_DAYS:
            yield f"        the certificate of the {whose} ends in {certificate['days_left']} days"
    for topic, reason in broker["blocked"].items():
        yield f"        {topic}: {reason}"
    waiting = f"{outbox['depth']} waiting"
    if outbox["oldest_age_s"] is not None:
        waiting += f", the oldest for {outbox['oldest_age_s']:.0f} s"
    yield f"outbox  {waiting}, {outbox['parked']} parked{', ' + outbox['trouble'] if outbox['trouble'] else ''}"
    yield from _account_lines(answer["account"], answer["replays"])
    for name, device in answer["devices"].items():
        seen = f", last heard {device['last_seen']}" if device["last_seen"] else ""
        counts = f"{device['readings']} readings, {device['held']} held"
        yield f"{name}  {device['state']}: {device['reason'] or 'well'}{seen}; {counts}"
        if device["also_claimed_by"]:
            others = ", ".join(device["also_claimed_by"])
            yield f"        also in the configuration of: {others}. One of the two is wrong"
        if device["test_until"]:
            yield f"        IN TEST until {device['test_until']} (certify): nothing that it measures reaches a chart"
        if device["detail"]:
            yield f"        {device['detail']}"


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
