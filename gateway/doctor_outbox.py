"""What `doctor` says of the outbox: the service's own word, or a glance at the file where no service runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway import database
from gateway.findings import Finding, found, good
from gateway.machine import MEGABYTE
from gateway.settings import Settings

GLANCE_S = 6.0
WAITING_S = 300.0  # the oldest of what waits; a broker that was restarted is back by then


def outbox(settings: Settings, status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Say how the outbox is."""
    yield from _of_the_service(status["outbox"]) if status is not None else _of_the_file(settings)


def _of_the_service(told: Mapping[str, Any]) -> Iterator[Finding]:
    waits = f"{told['depth'] + told['held_back']} waiting, {told['parked']} parked"
    words = f"{waits}; {told['used_mb']} of {told['max_mb']} MB"
    troubles = []
    if told["trouble"]:
        worse = told["held_back"] or told["not_kept"] or told["used_mb"] is None
        troubles.append(found("outbox_trouble" if worse else "outbox_worry", str(told["trouble"])))
    if told["not_kept"]:
        troubles.append(found("outbox_trouble", f"{told['not_kept']} readings are lost since the start"))
    if told["parked"]:
        troubles.append(found("outbox_parked", f"{told['parked']} readings"))
    if (told["oldest_age_s"] or 0.0) > WAITING_S:
        troubles.append(found("outbox_waiting", f"{waits}, the oldest for {told['oldest_age_s'] / 60:.0f} minutes"))
    yield from troubles or [good("outbox", words)]


def _of_the_file(settings: Settings) -> Iterator[Finding]:
    path = settings.outbox.path
    try:
        seen = database.glance(path, GLANCE_S)
    except FileNotFoundError:
        yield good("outbox", f"{path} is not there yet: the service makes it at its first start")
        return
    except OSError as error:
        yield found("outbox_unreadable", f"{path}: {error.strerror}")
        return
    except database.DatabaseError as error:
        damaged = database.is_damage(error) or path.stat().st_size == 0
        yield found("outbox_damaged" if damaged else "outbox_unreadable", f"{path}: {error}")
        return
    rows = ", ".join(f"{count} {state}" for state, count in sorted(seen.rows.items())) or "no rows"
    words = f"{rows}; {seen.size // MEGABYTE} MB, schema {seen.schema}"
    if seen.behind:
        words += f"; and what is in {seen.behind} bytes of its log"
    if seen.schema > seen.newest_schema:
        yield found("outbox_newer", f"{words}; this version knows {seen.newest_schema}")
    elif seen.wrong is not None:
        yield found("outbox_damaged", f"{words}: {seen.wrong}")
    else:
        yield good("outbox", words)
